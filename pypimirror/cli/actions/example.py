"""Finds a project that can be installed from the mirror, for the example that a sync prints.

It reads pages as an installer on this machine would: it takes the newest release that is not
yanked and a wheel that fits, and checks whether the mirror has the dependencies. It reads no
catalog.
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

#: How many projects to look at. In a large mirror, some of any fifty will do.
_LOOKED_AT = 50


@dataclass(frozen=True)
class Example:
    """What to install."""

    project: str
    lacking: tuple[str, ...] = ()  #: dependencies that the mirror does not have


def find(simple: Path) -> Example | None:
    """Return a project that can be installed, else one that lacks the fewest dependencies."""
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
        """The order of candidates: installers choose the greatest."""
        return not self.version.is_prerelease, self.version, self.tags is not None


class _Index:
    """The pages of a mirror; each is read once."""

    def __init__(self, simple: Path) -> None:
        self._simple = simple
        self._chosen: dict[str, list[_Candidate]] = {}

    def lacking(self, project: str) -> tuple[str, ...] | None:
        """Return the dependencies that a project lacks; None if it cannot be installed at all.

        A project that has only sdists gives None: nobody can foresee what its build needs.
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
            continue  # no current installer takes it


def _runs_here(python: str | None) -> bool:
    try:
        return SpecifierSet(python or "").contains(python_version(), True)
    except InvalidSpecifier:
        return True


def _files(page: Path) -> Iterator[tuple[str, str, bool, str | None]]:
    """Yield a page's files: name, link, whether it is yanked, and `requires-python`."""
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
    except (OSError, ValueError, KeyError):  # a run replaces the page, or it is not ours
        return


class _Links(HTMLParser):
    """Reads our own pages."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, bool, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a link; the file's name is the last part of its address."""
        said = dict(attrs)
        if tag == "a" and (url := said.get("href")):
            name = unquote(urlsplit(url).path.rpartition("/")[2])
            python = said.get("data-requires-python")
            self.found.append((name, url, "data-yanked" in said, python))


def _needs(wheel: Path, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what a wheel with these extras requires on this machine, by its `.metadata` file."""
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
