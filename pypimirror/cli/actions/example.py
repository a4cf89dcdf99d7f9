"""A project that can be installed from a mirror, for the line that shows how.

Looks at pages, as an installer on this machine would: the newest release that is not yanked, a
wheel of it that fits, and all that this needs, here as well. Knows no catalog.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from platform import python_version
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from pypimirror.system import regular

#: Projects that are looked at: a large mirror has some that will do among any so many.
_LOOKED_AT = 50


@dataclass(frozen=True)
class Example:
    """What to install."""

    project: str
    lacking: tuple[str, ...] = ()  #: what it needs and the mirror has not


def find(simple: Path) -> Example | None:
    """Return a project that can be installed, or one that lacks least; None: there is neither."""
    try:
        with os.scandir(simple) as entries:
            names = sorted(e.name for e in islice(entries, _LOOKED_AT * 2) if e.is_dir())
    except OSError:
        return None
    index = _Index(simple)
    best: Example | None = None
    for name in names[:_LOOKED_AT]:
        lacking = index.lacking(name)
        if lacking == ():
            return Example(name)
        if lacking is not None and (best is None or len(lacking) < len(best.lacking)):
            best = Example(name, lacking)
    return best


@dataclass(frozen=True)
class _Candidate:
    """A file that an installer may choose."""

    version: Version
    tags: frozenset[Tag] | None  #: None for an sdist
    path: Path

    @property
    def rank(self) -> tuple[bool, Version, bool]:
        """What is chosen first has the greatest."""
        return not self.version.is_prerelease, self.version, self.tags is not None


class _Index:
    """The pages of a mirror, read once."""

    def __init__(self, simple: Path) -> None:
        self._simple = simple
        self._chosen: dict[str, list[_Candidate]] = {}

    def lacking(self, project: str) -> tuple[str, ...] | None:
        """Return what keeps a project from being installed; None: it cannot be, whatever there is.

        What has to be built first counts as the latter: it needs tools that nobody can foresee.
        """
        seen: set[str] = set()
        lacking: list[str] = []
        todo = [Requirement(project)]
        while todo:
            requirement = todo.pop()
            name = canonicalize_name(requirement.name)
            chosen = self._choose(name, requirement.specifier)
            if chosen is None or chosen.tags is None:
                if name == project:
                    return None
                lacking.append(name)
            elif name not in seen:
                todo += _needs(chosen.path, requirement.extras)
            seen.add(name)
        return tuple(dict.fromkeys(lacking))

    def _choose(self, name: str, specifier: SpecifierSet) -> _Candidate | None:
        if name not in self._chosen:
            self._chosen[name] = list(_candidates(self._simple / name))
        fitting = (c for c in self._chosen[name] if specifier.contains(c.version, True))
        return max(fitting, key=lambda candidate: candidate.rank, default=None)


@cache
def _own_tags() -> frozenset[Tag]:
    return frozenset(sys_tags())


def _candidates(page: Path) -> Iterator[_Candidate]:
    for name, url, is_yanked, python in _files(page):
        if is_yanked or not _runs_here(python):
            continue
        path = (page / unquote(urlsplit(url).path)).resolve()
        try:
            if name.endswith(".whl"):
                _, version, _, tags = parse_wheel_filename(name)
                if not tags.isdisjoint(_own_tags()):
                    yield _Candidate(version, tags, path)
            else:
                yield _Candidate(parse_sdist_filename(name)[1], None, path)
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue  # no installer of today takes it


def _runs_here(python: str | None) -> bool:
    try:
        return SpecifierSet(python or "").contains(python_version(), True)
    except InvalidSpecifier:
        return True


def _files(page: Path) -> Iterator[tuple[str, str, bool, str | None]]:
    """Yield what a page offers: name, link, whether it is yanked, versions of Python."""
    try:
        if (form := page / "index.v1_json").is_file():
            for file in json.loads(regular.read(str(form)))["files"]:
                yield (
                    file["filename"],
                    file["url"],
                    bool(file["yanked"]),
                    file.get("requires-python"),
                )
        else:
            parser = _Links()
            parser.feed(regular.read(str(page / "index.html")).decode())
            yield from parser.found
    except (OSError, ValueError, KeyError):  # of a mirror that is at work, or another's
        return


class _Links(HTMLParser):
    """Reads our own pages."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, bool, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a link; its name is the last part of the address."""
        said = dict(attrs)
        if tag == "a" and (url := said.get("href")):
            name = unquote(urlsplit(url).path.rpartition("/")[2])
            python = said.get("data-requires-python")
            self.found.append((name, url, "data-yanked" in said, python))


def _needs(wheel: Path, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what a wheel, with extras of it, needs here, by the core metadata beside it."""
    try:
        raw: Any = parse_email(regular.read(f"{wheel}.metadata"))[0]
    except OSError:
        return
    for text in raw.get("requires_dist", ()):
        try:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                yield requirement
        except (InvalidRequirement, ValueError):
            continue
