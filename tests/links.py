"""Pages of links on simulators, and mirrors of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.mirror import Mirror
from tests.simulator import Simulator

Made = tuple[str, bytes]  #: a file's name and bytes, as `tests.corpus.build` makes them


def put(sim: Simulator, made: Made, path: str = "", content: bytes | None = None) -> str:
    """Offer a file's bytes, or other bytes instead; return the address."""
    path = path or f"/packages/{made[0]}"
    sim.serve(path, made[1] if content is None else content, "application/octet-stream")
    return sim.root + path


def with_digest(url: str, made: Made, algorithm: str = "sha256") -> str:
    """An address with the digest that the file should have."""
    return f"{url}#{algorithm}={hashlib.new(algorithm, made[1]).hexdigest()}"


def page(sim: Simulator, path: str, *links: str, title: str = "Links") -> str:
    """Offer a page with links, given as addresses or as tags; return its address."""
    tags = [link if link.startswith("<") else f'<a href="{link}">link</a>' for link in links]
    body = f"<!DOCTYPE html><title>{title}</title><body>{' '.join(tags)}</body>"
    sim.serve(path, body, "text/html")
    return sim.root + path


def host_of(sim: Simulator) -> str:
    """Return the entry of `hosts` for a simulator."""
    return sim.host


class LinkMirror(Mirror):
    """A mirror whose upstreams are given in full, and which applies removals at once.

    It has no deletion guard: a file that must stay must not even look removed.
    """

    def __init__(self, base: Path, *upstreams: dict[str, Any], **sections: dict[str, Any]) -> None:
        super().__init__(base, delete={"grace": "0s", "max_share": 1.0})
        self.upstreams = [{"name": f"up{n}"} | upstream for n, upstream in enumerate(upstreams)]
        self.configure(**sections)

    def change(self, number: int = 0, **keys: Any) -> None:
        """Set keys of an upstream."""
        self.upstreams[number] |= keys
        self.configure()

    def content(self, filename: str) -> bytes | None:
        """The bytes of a file that its page links to; None if there is no link."""
        for directory in sorted((self.root / "simple").glob("*/")):
            if filename in self.files(directory.name):
                return (self.root / "packages" / directory.name / filename).read_bytes()
        return None

    def has(self, *mades: Made) -> bool:
        """Whether pages link to all of these files, with the right bytes."""
        return all(self.content(made[0]) == made[1] for made in mades)

    def quarantined(self) -> dict[str, str]:
        """The address that each file in quarantine came from, by its name."""
        reports = (self.root / ".pypimirror" / "quarantine").glob("*.json")
        found = [json.loads(path.read_bytes()) for path in reports]
        return {report["file"]: report["url"] for report in found}
