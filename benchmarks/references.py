"""References that show what the machine can do: engines without a catalog, and pure hashing.

They get all addresses in advance, so they discover nothing, and they publish nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from benchmarks import check
from benchmarks.contestant import Contestant, Scenario, Site, cores
from benchmarks.corpus import Item
from benchmarks.measure import Cost
from benchmarks.tools import bandersnatch_python, why_no_bandersnatch

HERE = Path(__file__).resolve().parent
CONNECTIONS = 64  #: for each process of an engine
FEW = 64  #: files with which an engine's start-up is measured
_CORPORA = ("long-tail", "tiny", "huge", "latency", "tls")


class Reference(Contestant):
    """An engine that fetches a given list of files, and of pages if pypimirror must, too."""

    pages = True
    fetched = "files"  #: directory below its home

    def why_not(self) -> str | None:
        """Return why it cannot run on this machine."""
        return None

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part."""
        starts = scenario is Scenario.START and site.name == "tiny"
        if site.name not in _CORPORA or (scenario is not Scenario.FIRST and not starts):
            return ""
        return self.why_not()

    def items(self, scenario: Scenario, site: Site) -> list[tuple[Path, Item]]:
        """Return the files to fetch, each with its destination."""
        items = site.corpus.items
        if scenario is Scenario.START:
            items = items[:FEW]
        home = self.home(site) / self.fetched
        return [(home / item.project / item.filename, item) for item in items]

    def page_urls(self, scenario: Scenario, site: Site) -> list[str]:
        """Return the pages that are fetched as well."""
        if not self.pages or scenario is Scenario.START or site.name == "tiny":
            return []
        return [f"{site.server.base}/simple/{name}/" for name in site.corpus.projects]

    def prepare(self, scenario: Scenario, site: Site) -> None:
        """Make the directories and write the list of jobs."""
        self.clear(site)
        items = self.items(scenario, site)
        for directory in {path.parent for path, _ in items}:
            directory.mkdir(parents=True, exist_ok=True)
        self.write_jobs(items, self.page_urls(scenario, site), site)

    def write_jobs(self, items: list[tuple[Path, Item]], pages: list[str], site: Site) -> None:
        """Write the list of jobs."""
        raise NotImplementedError

    def check(self, scenario: Scenario, site: Site, cost: Cost) -> list[str]:
        """Check exit code and files."""
        wrong = [f"exit code {cost.status}: {cost.errors.strip()[-300:]}"] if cost.status else []
        return check.shortened(wrong + check.files(self.items(scenario, site)))


class Curl(Reference):
    """curl with many transfers at once and no hash."""

    name = "curl"
    note = "no hash, addresses known"

    def why_not(self) -> str | None:
        """Return why it cannot run on this machine."""
        return None if shutil.which("curl") else "not installed"

    def write_jobs(self, items: list[tuple[Path, Item]], pages: list[str], site: Site) -> None:
        """Write curl's configuration file."""
        lines = []
        for path, item in items:
            lines += [f'url = "{site.server.base}/{item.path}"', f'output = "{path}"']
        for url in pages:
            lines += [f'url = "{url}"', 'output = "/dev/null"']
        (self.home(site) / "jobs").write_text("\n".join(lines) + "\n")
        (self.home(site) / "names").write_bytes(b"\0".join(os.fsencode(p) for p, _ in items))

    def command(self, scenario: Scenario, site: Site) -> list[str]:  # noqa: ARG002
        """Return the command."""
        many = str(CONNECTIONS * cores())
        command = ["curl", "-q", "--silent", "--show-error", "--fail", "--parallel"]
        command += ["--parallel-max", many, "--config", "jobs"]
        if site.server.authority:
            command += ["--cacert", str(site.server.authority)]
        return command


class CurlAndHash(Curl):
    """curl, then openssl over all files on all cores."""

    name = "curl, then openssl sha256"
    note = "addresses known"

    def why_not(self) -> str | None:
        """Return why it cannot run on this machine."""
        tools = ("curl", "openssl", "xargs")
        absent = [tool for tool in tools if not shutil.which(tool)]
        return f"{', '.join(absent)}: not installed" if absent else None

    def command(self, scenario: Scenario, site: Site) -> list[str]:
        """Return the command."""
        fetch = shlex.join(super().command(scenario, site))
        each = max(1, min(500, len(site.corpus.items) // (2 * cores())))
        hashing = f"xargs -0 -P {cores()} -n {each} openssl dgst -sha256 -r < names > digests"
        return ["sh", "-c", f"{fetch} && {hashing}"]

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part."""
        return "" if scenario is Scenario.START else super().missing(scenario, site)


class Aria(Reference):
    """aria2c, which checks sha256 itself."""

    name = "aria2c"
    note = "with checksums, addresses known"

    def why_not(self) -> str | None:
        """Return why it cannot run on this machine."""
        return None if shutil.which("aria2c") else "not installed; --install does that"

    def write_jobs(self, items: list[tuple[Path, Item]], pages: list[str], site: Site) -> None:
        """Write aria2's input file."""
        lines = []
        for path, item in items:
            lines += [f"{site.server.base}/{item.path}", f" dir={path.parent}"]
            lines += [f" out={path.name}", f" checksum=sha-256={item.sha256}"]
        for number, url in enumerate(pages):
            lines += [url, f" dir={self.home(site)}/pages", f" out={number}"]
        (self.home(site) / "jobs").write_text("\n".join(lines) + "\n")

    def command(self, scenario: Scenario, site: Site) -> list[str]:  # noqa: ARG002
        """Return the command."""
        command = ["aria2c", "--no-conf", "-i", "jobs", "-j", str(CONNECTIONS * cores())]
        command += ["--quiet", "--file-allocation=none", "--split=1", "--no-netrc"]
        command += ["--allow-overwrite", "--auto-file-renaming=false", "--enable-dht=false"]
        if site.server.authority:
            command += [f"--ca-certificate={site.server.authority}"]
        return command

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part."""
        return "" if scenario is Scenario.START else super().missing(scenario, site)


class Scripted(Reference):
    """An engine that one of our scripts runs."""

    script = ""

    def write_jobs(self, items: list[tuple[Path, Item]], pages: list[str], site: Site) -> None:
        """Write the jobs as JSON."""
        jobs = [
            {
                "url": f"{site.server.base}/{item.path}",
                "path": str(path),
                "sha256": item.sha256,
                "size": item.size,
            }
            for path, item in items
        ]
        document = {"base": f"{site.server.base}/simple/", "files": jobs, "pages": pages}
        (self.home(site) / "jobs").write_text(json.dumps(document))

    def python(self) -> str:
        """Return the interpreter."""
        return sys.executable

    def command(self, scenario: Scenario, site: Site) -> list[str]:  # noqa: ARG002
        """Return the command."""
        arguments = ["jobs", str(cores()), str(CONNECTIONS)]
        return [self.python(), str(HERE / self.script), *arguments]


class Engine(Scripted):
    """pypimirror's download engine alone: workers, sockets, hashes, files; no catalog, no pages."""

    name = "pypimirror's engine"
    note = "addresses known"
    script = "engine.py"


class Aiohttp(Scripted):
    """A loop over aiohttp, the library that bandersnatch uses, with hashing."""

    name = "aiohttp loop"
    note = "one process a core, addresses known"
    script = "aiohttp_loop.py"

    def why_not(self) -> str | None:
        """Return why it cannot run: aiohttp comes with bandersnatch's environment."""
        return None if bandersnatch_python() else why_no_bandersnatch()

    def python(self) -> str:
        """Return the interpreter."""
        return str(bandersnatch_python())


class Hashing(Reference):
    """openssl sha256 over the upstream's files, one process for each core, without network."""

    name = "openssl sha256"
    note = "only hashes what is there already"

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part."""
        if scenario is not Scenario.FIRST or site.name not in ("huge", "long-tail"):
            return ""
        return None if shutil.which("openssl") else "not installed"

    def items(self, scenario: Scenario, site: Site) -> list[tuple[Path, Item]]:  # noqa: ARG002
        """Return the upstream's own files."""
        return [(site.corpus.directory / item.path, item) for item in site.corpus.items]

    def prepare(self, scenario: Scenario, site: Site) -> None:
        """Write the names."""
        self.clear(site)
        names = [os.fsencode(path) for path, _ in self.items(scenario, site)]
        (self.home(site) / "names").write_bytes(b"\0".join(names))

    def command(self, scenario: Scenario, site: Site) -> list[str]:  # noqa: ARG002
        """Return the command."""
        each = max(1, min(500, len(site.corpus.items) // cores()))
        command = f"xargs -0 -P {cores()} -n {each} openssl dgst -sha256 -r < names > digests"
        return ["sh", "-c", command]


def everything() -> list[Contestant]:
    """Return one of each."""
    return [Engine(), Curl(), CurlAndHash(), Aria(), Aiohttp(), Hashing()]
