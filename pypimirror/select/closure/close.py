"""The closure of a selection: which versions of which projects it needs, and who needs them. Pure.

The rules:

1. A *demand* names one project, versions, an extra or none, and environments. The configuration
   makes the first demands, in all environments.
2. A demand reaches all releases of its versions, pre-releases included. A document of such a
   release counts in the environments whose Python is not below the document's Requires-Python.
3. Each requirement in such a document is a demand, in the environments in which its marker is true
   for the requested extra. Each extra in the requirement is one more demand. With `build`, the
   requirements for building an sdist are demands too.
4. If a release requires its own project, only this release is meant, because an environment has
   only one: if `a[all]` requires `a[b,c]`, it demands more extras of the same version.
5. Demands are never removed, and their number is finite. So the order does not matter, and cycles
   end. Demands are followed first in, first out, so the first demand for a release ends a shortest
   chain.

A release without a known document makes no demands, and is in `unknown`.
"""

from __future__ import annotations

from collections import defaultdict, deque
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
    """The requirements of one file of a release."""

    python: str  #: its Requires-Python; "": any version
    requires: tuple[Parts, ...]
    build: tuple[Parts, ...] = ()  #: the requirements for building it
    is_told: bool = True  #: whether `requires` is known; if not, only `build` is


@dataclass(eq=False, slots=True)
class Release:
    """A release on the mirror, with the results of one closure."""

    project: str
    version: Version | None  #: None if its files' names have no valid version
    shown: str  #: the version as written
    documents: tuple[Document, ...] = ()  #: the known documents of its files, without duplicates
    #: The release that demanded it first; None: the configuration, or nobody.
    by: Release | None = None
    #: By extra, "" for none: the environments that need it, as bits.
    needed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """A demand for versions of a project."""

    by: Release | None  #: the first release that demands them; None: the configuration
    environments: int  #: the environments that need them; bits of `Masks`

    @property
    def is_need(self) -> bool:
        """Whether a release makes this demand, not the configuration."""
        return self.by is not None


@dataclass
class Closure:
    """All that a selection needs."""

    #: By project and versions.
    demands: dict[str, dict[str, Demand]] = field(default_factory=dict)
    unknown: list[Release] = field(default_factory=list)  #: needed, with unknown requirements
    releases: Mapping[str, Sequence[Release]] = field(default_factory=dict)

    def of(self, project: str, version: Version | None) -> tuple[Release | None, int] | None:
        """Return the first to demand a version, and all its environments; None without a demand."""
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
    """Return the closure of `roots`; `releases` has the known releases by project.

    With `build`, it includes the requirements for building sdists. Raises `TooManyError` if `roots`
    need more than `most` projects besides themselves.
    """
    walk = _Walk(releases, masks, most, build=build)
    for root in roots:
        walk.rooted.add(root.project)
        walk.demand(root.project, root.versions, root.extras, masks.all, None)
    walk.run()
    return walk.closure


_NONE = ("",)


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
        self._met_by: dict[str, dict[str, int]] = defaultdict(dict)  # by extra and marker
        self._added = 0

    def demand(
        self, project: str, versions: str, extras: Iterable[str], mask: int, by: Release | None
    ) -> None:
        """Note a demand, as far as it is new."""
        for extra in ("", *extras) if extras else _NONE:
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
        waiting = self._waiting
        while waiting:
            project, versions, extra, mask, by = waiting.popleft()
            for release in self._of(project, versions):
                if mask & ~release.needed.get(extra, 0):  # most are needed already
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
        """Follow what a release requires of who asks for an extra, or for none."""
        met_by = self._met_by[extra]
        for each in requires:
            met = met_by.get(each.marker)
            if met is None:
                met = met_by[each.marker] = self._met(each.marker, extra)
            if not (met := met & mask):
                continue
            if each.name != release.project:
                self.demand(each.name, each.versions, each.extras, met, release)
            elif reaches(each.versions, release.version):
                for further in each.extras:
                    self._activate(release, further, met, release.by)

    def _met(self, marker: str, extra: str) -> int:
        """Return the environments in which a requirement with this marker counts for an extra."""
        if extra and not names_extra(marker):
            return 0  # whoever asks for an extra asks for none as well
        return self._masks.of_marker(marker, extra)


def _too_many(most: int, project: str, by: Release | None) -> str:
    chain = " <- ".join([project, *(f"{each.project} {each.shown}" for each in chain_of(by))])
    return f"more than {most:,} projects are needed by what is selected (the last one by {chain})"


def chain_of(release: Release | None) -> Iterator[Release]:
    """Yield a release, the release that demanded it, and so on, up to a selected one."""
    while release is not None:
        yield release
        release = release.by


# Versions


class _Fits:
    """Says whether specifiers allow a version; pre-releases count."""

    def __init__(self, versions: str) -> None:
        self._allowed = bounded.specifiers(versions)

    def __call__(self, version: Version | None) -> bool:
        if version is None or self._allowed is None:
            return False
        return self._allowed.contains(version, prereleases=True)


_FITS: dict[str, _Fits] = {}
#: The cache keeps at most this number of specifiers; public indexes have some ten thousand.
_MOST_FITS = 50_000


def _fits(versions: str) -> _Fits:
    known = _FITS.get(versions)
    if known is None:
        if len(_FITS) >= _MOST_FITS:
            _FITS.clear()
        known = _FITS[versions] = _Fits(versions)
    return known


def reaches(versions: str, version: Version | None) -> bool:
    """Whether the specifiers `versions`, "" for all, allow this version."""
    return not versions or _fits(versions)(version)
