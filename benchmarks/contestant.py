"""The base of all contestants, and the scenarios of the measurements."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.corpus import Corpus
from benchmarks.measure import Cost
from benchmarks.tools import ROOT
from benchmarks.upstream import Server
from tests.environment import isolated


class Scenario(StrEnum):
    """What is measured. Each starts from where the one before it ended."""

    FIRST = "first sync"
    START = "start-up"  #: the cost of an engine before its first file
    SAME = "nothing changed"
    CHANGED = "1 % changed"
    LOST = "status lost"
    HASH = "verify by hash"
    QUICK = "verify quick"
    PUBLISH = "publish all pages"
    RESUME = "resume after a kill at half"


@dataclass
class Site:
    """What to mirror, and where the contestants may write."""

    corpus: Corpus
    server: Server
    homes: Path  #: of the contestants
    name: str  #: of the corpus in the report
    on_disk: bool = False  #: whether the homes are on a disk, and not in memory


class Contestant:
    """A program that does the work; subclasses say how."""

    name = ""
    note = ""  #: a note that a reader of its row needs
    beside: Sequence[int] = ()  #: process ids of servers that belong to it

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part: a text for its row, or "" for no row; else None."""
        raise NotImplementedError

    def prepare(self, scenario: Scenario, site: Site) -> None:
        """Bring its directory into the initial state of a scenario. Not timed."""

    def command(self, scenario: Scenario, site: Site) -> list[str]:
        """Return what to run."""
        raise NotImplementedError

    def check(self, scenario: Scenario, site: Site, cost: Cost) -> list[str]:
        """Return what is wrong with the result."""
        raise NotImplementedError

    def scale(self, site: Site) -> float:  # noqa: ARG002
        """Return the factor for its seconds, if it did only a part of the work."""
        return 1.0

    def environment(self, site: Site) -> dict[str, str]:
        """Return the environment of its command, without the person's settings."""
        environment = isolated(PYTHONPATH=str(ROOT))
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
            environment.pop(name, None)  # these would win over the variable that is set here
        if site.server.authority:
            environment["SSL_CERT_FILE"] = str(site.server.authority)
        return environment

    def home(self, site: Site) -> Path:
        """Return its directory."""
        return site.homes / self.name.replace(" ", "-").replace("/", "-")

    def clear(self, site: Site) -> None:
        """Make its directory, empty.

        On a disk, the old one stays under another name. For a minute, ext4 gives no inode of a
        removed file to a new one, and looks at all of them again for each new file.
        """
        home = self.home(site)
        if site.on_disk and home.exists():
            home.rename(Path(tempfile.mkdtemp(prefix="old-", dir=site.homes)))
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)

    def start(self) -> None:
        """Start the servers that belong to it."""

    def close(self) -> None:
        """End the servers that belong to it."""


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0))
