"""The closure of a selection: which versions of which projects it needs, and who needs them. Pure.

The rules:

1. A *demand* is on one project: versions, an extra or none, and environments. The configuration
   makes the first ones, in all environments.
2. A demand reaches the releases of its versions, pre-releases included. A document of such a
   release counts in those of the environments whose Python is not below its Requires-Python.
3. What such a document requires is a demand in the environments in which its marker holds, for the
   extra that is asked for; and one for each extra that it names. So is what an sdist is built with,
   where that is asked for.
4. What a release requires of its own project concerns that release alone, since no environment has
   two: `a[all]` that requires `a[b,c]` asks for more extras of the same version.
5. No demand is ever taken back, and there are finitely many, so the order does not matter: cycles
   end as well. They are followed in the order in which they come up, so whoever asked first is
   the end of a shortest chain.

A release of which no document is known has no demands: it is in `unknown`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from packaging.version import Version

from pypimirror.domain import bounded
from pypimirror.domain.metadata.dependencies import Parts
from pypimirror.domain.model import PypimirrorError
from pypimirror.select.closure.masks import Masks, names_extra
from pypimirror.select.closure.root import Root


class Document(NamedTuple):
    """What one file of a release requires."""

    python: str  #: versions of Python; "": any
    requires: tuple[Parts, ...]
    build: tuple[Parts, ...] = ()  #: what it is built with
    is_told: bool = True  #: whether it tells what it requires, and not only what builds it


@dataclass(eq=False, slots=True)
class Release:
    """A release that is offered here, and what became of it. For one closure."""

    project: str
    version: Version | None  #: None where its files tell none
    shown: str  #: the version as it is written
    documents: tuple[Document, ...] = ()  #: of its files, each once; none where none is known
    #: Who asked for it first; None: the configuration, or nobody.
    by: Release | None = None
    #: By extra, "" for none: in which environments it is needed.
    needed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """Versions of a project that are needed."""

    by: Release | None  #: who asked first; None: the configuration
    environments: int  #: in which; bits of `Masks`

    @property
    def is_need(self) -> bool:
        """Whether it is not the configuration's own."""
        return self.by is not None


@dataclass
class Closure:
    """What a selection needs."""

    #: By project and versions.
    demands: dict[str, dict[str, Demand]] = field(default_factory=dict)
    unknown: list[Release] = field(default_factory=list)  #: needed, and nobody knows what they need
    releases: Mapping[str, Sequence[Release]] = field(default_factory=dict)

    def of(self, project: str, version: Version | None) -> tuple[Release | None, int] | None:
        """Return who asked first for a version, and in which environments; None: nobody did."""
        first: Demand | None = None
        mask = 0
        for versions, demand in self.demands.get(project, {}).items():
            if reaches(versions, version):
                first = first or demand
                mask |= demand.environments
        return None if first is None else (first.by, mask)


class TooManyError(PypimirrorError):
    """More projects are needed than the configuration allows; the message names a chain."""


def close(
    roots: Iterable[Root],
    releases: Mapping[str, Sequence[Release]],
    masks: Masks,
    *,
    most: int,
    build: bool = False,
) -> Closure:
    """Return what `roots` need, by the `releases` of each project that are known.

    Raises `TooManyError` where they need more than `most` projects beyond themselves. With `build`,
    what sdists are built with counts as well.
    """
    walk = _Walk(releases, masks, most, build=build)
    for root in roots:
        walk.rooted.add(root.project)
        walk.demand(root.project, root.versions, root.extras, masks.all, None)
    walk.run()
    return walk.closure


class _Walk:
    """One computation, by a list of demands that are still to be followed."""

    def __init__(
        self, releases: Mapping[str, Sequence[Release]], masks: Masks, most: int, *, build: bool
    ) -> None:
        self.closure = Closure(releases=releases)
        self.rooted: set[str] = set()
        self._releases = releases
        self._masks = masks
        self._most = most
        self._build = build
        self._masks_of: dict[tuple[str, str, str], int] = {}  # by project, versions and extra
        self._waiting: deque[tuple[str, str, str, int, Release | None]] = deque()
        self._reached: dict[tuple[str, str], list[Release]] = {}
        self._added = 0

    def demand(
        self, project: str, versions: str, extras: Iterable[str], mask: int, by: Release | None
    ) -> None:
        """Note a demand, as far as it is new."""
        for extra in ("", *extras):
            key = (project, versions, extra)
            before = self._masks_of.get(key, 0)
            added = mask & ~before
            if added:
                self._masks_of[key] = before | added
                self._note(project, versions, added, by)
                self._waiting.append((*key, added, by))

    def _note(self, project: str, versions: str, mask: int, by: Release | None) -> None:
        known = self.closure.demands.get(project)
        if known is None:
            known = self.closure.demands[project] = {}
            if project not in self.rooted:
                self._added += 1
                if self._added > self._most:
                    raise TooManyError(_too_many(self._most, project, by))
        old = known.get(versions)
        if old is None:
            known[versions] = Demand(by, mask)
        elif mask & ~old.environments:
            known[versions] = Demand(old.by, old.environments | mask)

    def run(self) -> None:
        """Follow all demands."""
        while self._waiting:
            project, versions, extra, mask, by = self._waiting.popleft()
            for release in self._of(project, versions):
                self._activate(release, extra, mask, by)

    def _of(self, project: str, versions: str) -> Sequence[Release]:
        """Return the releases of some versions."""
        releases = self._releases.get(project, ())
        if not versions or not releases:
            return releases
        known = self._reached.get((project, versions))
        if known is None:
            fits = _fits(versions)
            known = [release for release in releases if fits(release.version)]
            self._reached[project, versions] = known
        return known

    def _activate(self, release: Release, extra: str, mask: int, by: Release | None) -> None:
        added = mask & ~release.needed.get(extra, 0)
        if not added:
            return
        if not release.needed:
            release.by = by
            if not any(document.is_told for document in release.documents):
                self.closure.unknown.append(release)
        release.needed[extra] = release.needed.get(extra, 0) | added
        for document in release.documents:
            admitted = added & self._masks.of_python(document.python)
            if admitted:
                self._follow(release, document.requires, extra, admitted)
                if self._build and not extra:
                    self._follow(release, document.build, extra, admitted)

    def _follow(self, release: Release, requires: Iterable[Parts], extra: str, mask: int) -> None:
        of_marker = self._masks.of_marker
        for name, extras, versions, marker in requires:
            if extra and not (marker and names_extra(marker)):
                continue  # whoever asks for an extra asks for none as well
            met = mask & of_marker(marker, extra)
            if not met:
                continue
            if name != release.project:
                self.demand(name, versions, extras, met, release)
            elif reaches(versions, release.version):
                for further in extras:
                    self._activate(release, further, met, release.by)


def _too_many(most: int, project: str, by: Release | None) -> str:
    chain = " <- ".join([project, *(f"{each.project} {each.shown}" for each in chain_of(by))])
    return f"more than {most:,} projects are needed by what is selected (the last one by {chain})"


def chain_of(release: Release | None) -> Iterator[Release]:
    """Yield a release, who asked for it, who asked for that, to one that is selected."""
    while release is not None:
        yield release
        release = release.by


# Versions


class _Fits:
    """Whether a version is one of those that specifiers name."""

    def __init__(self, versions: str) -> None:
        self._allowed = bounded.specifiers(versions)

    def __call__(self, version: Version | None) -> bool:
        if version is None or self._allowed is None:
            return False
        return self._allowed.contains(version, prereleases=True)


_FITS: dict[str, _Fits] = {}
#: So many distinct specifiers are kept parsed; public indexes have some ten thousand.
_MOST_FITS = 50_000


def _fits(versions: str) -> _Fits:
    known = _FITS.get(versions)
    if known is None:
        if len(_FITS) >= _MOST_FITS:
            _FITS.clear()
        known = _FITS[versions] = _Fits(versions)
    return known


def reaches(versions: str, version: Version | None) -> bool:
    """Whether a demand for some versions, "" for all, is one for this version."""
    return not versions or _fits(versions)(version)
