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
6. So a closure can grow: releases and documents that become known later are added to a `Walk`, and
   the result is the same as if they had been known from the beginning. Only the chains may be
   longer. If a release or a document disappears, the closure must be computed from the beginning.

A release without a known document makes no demands, and is in `unknown`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field
from packaging.version import Version

from pypimirror.domain import bounded
from pypimirror.domain.metadata.dependencies import RequirementParts
from pypimirror.domain.model import PypimirrorError
from pypimirror.select.closure.masks import Masks, names_extra
from pypimirror.select.closure.root import Root


class FileRequirements(NamedTuple):
    """The requirements of one file of a release."""

    python: str  #: its Requires-Python; "": any version
    requires: tuple[RequirementParts, ...]
    build: tuple[RequirementParts, ...] = ()  #: the requirements for building it
    is_told: bool = True  #: whether `requires` is known; if not, only `build` is


class ClosureRelease(Struct, eq=False):
    """A release on the mirror, with the results of one closure."""

    project: str
    version: Version | None  #: None if its files' names have no valid version
    shown: str  #: the version as written
    documents: tuple[
        FileRequirements, ...
    ] = ()  #: the known documents of its files, without duplicates
    #: The release that demanded it first; None: the configuration, or nobody.
    by: ClosureRelease | None = None
    #: By extra, "" for none: the environments that need it, as bits.
    needed: dict[str, int] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Whether its requirements are known, from any of its files."""
        return any(document.is_told for document in self.documents)


class VersionDemand(Struct, frozen=True):
    """A demand for versions of a project."""

    by: ClosureRelease | None  #: the first release that demands them; None: the configuration
    environments: int  #: the environments that need them; bits of `Masks`

    @property
    def is_need(self) -> bool:
        """Whether a release makes this demand, not the configuration."""
        return self.by is not None


class Closure(Struct):
    """All that a selection needs."""

    #: By project and versions.
    demands: dict[str, dict[str, VersionDemand]] = field(default_factory=dict)
    unknown: list[ClosureRelease] = field(
        default_factory=list
    )  #: needed, with unknown requirements
    releases: Mapping[str, Sequence[ClosureRelease]] = field(default_factory=dict)

    def of(self, project: str, version: Version | None) -> tuple[ClosureRelease | None, int] | None:
        """Return the first to demand a version, and all its environments; None without a demand."""
        first: VersionDemand | None = None
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
    releases: Mapping[str, Sequence[ClosureRelease]],
    masks: Masks,
    *,
    most: int,
    build: bool = False,
) -> Closure:
    """Return the closure of `roots`; `releases` has the known releases by project.

    With `build`, it includes the requirements for building sdists. Raises `TooManyError` if `roots`
    need more than `most` projects besides themselves.
    """
    walk = Walk(masks, most=most, build=build)
    walk.extend(roots, releases)
    return walk.closure


_NONE = ("",)


class Walk:
    """The computation of a closure that can grow, by a list of demands still to be followed."""

    def __init__(self, masks: Masks, *, most: int, build: bool = False) -> None:
        self._releases: dict[str, list[ClosureRelease]] = {}
        self.closure = Closure(releases=self._releases)
        self._rooted: set[str] = set()
        self._masks = masks
        self._most = most
        self._build = build
        #: By project: by versions and extra, the demanded environments.
        self._asked: dict[str, dict[tuple[str, str], int]] = {}
        self._waiting: deque[tuple[str, str, str, int, ClosureRelease | None]] = deque()
        self._reached: dict[str, dict[str, list[ClosureRelease]]] = {}  # by project and versions
        self._met_by: dict[str, dict[str, int]] = defaultdict(dict)  # by extra and marker
        self._added = 0
        self._changed: set[str] = set()

    def take_changed(self) -> set[str]:
        """Return the projects with new demands since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def extend(
        self, roots: Iterable[Root], releases: Mapping[str, Sequence[ClosureRelease]]
    ) -> None:
        """Add roots and releases, and follow all demands.

        A release that is known already gets the documents that it lacks. Raises `TooManyError`.
        """
        for project, found in releases.items():
            self._learn(project, found)
        for root in roots:
            self._root(root)
        self._run()

    def _learn(self, project: str, found: Sequence[ClosureRelease]) -> None:
        """Add releases of a project, and follow the demands for it again."""
        old = self._releases.get(project)
        if old is None:
            self._releases[project] = list(found)
        else:
            known = {release.shown: release for release in old}
            for release in found:
                if (before := known.get(release.shown)) is None:
                    old.append(release)
                else:
                    self._learn_more(before, release.documents)
            self._reached.pop(project, None)
        demands = self.closure.demands.get(project, {})
        for (versions, extra), mask in self._asked.get(project, {}).items():
            self._waiting.append((project, versions, extra, mask, demands[versions].by))

    def _learn_more(self, release: ClosureRelease, documents: Iterable[FileRequirements]) -> None:
        """Add documents to a release, and follow them as far as it is needed."""
        fresh = tuple(each for each in documents if each not in release.documents)
        was_told = release.is_told
        release.documents += fresh
        if release.is_told and not was_told and release.needed:
            self.closure.unknown.remove(release)
        for extra, mask in list(release.needed.items()):
            self._follow_documents(release, fresh, extra, mask)

    def _root(self, root: Root) -> None:
        """Note a demand of the configuration. It counts as the first demand."""
        project = root.project
        if project not in self._rooted:
            self._rooted.add(project)
            self._added -= project in self.closure.demands
        self._demand(project, root.versions, root.extras, self._masks.all, None)
        self.closure.demands[project][root.versions] = VersionDemand(None, self._masks.all)
        self._changed.add(project)

    def _demand(
        self,
        project: str,
        versions: str,
        extras: Iterable[str],
        mask: int,
        by: ClosureRelease | None,
    ) -> None:
        """Note a demand, as far as it is new."""
        asked = self._asked.get(project)
        if asked is None:
            asked = self._asked[project] = {}
        for extra in ("", *extras) if extras else _NONE:
            key = (versions, extra)
            before = asked.get(key, 0)
            added = mask & ~before
            if added:
                asked[key] = before | added
                self._note(project, versions, added, by)
                self._waiting.append((project, versions, extra, added, by))

    def _note(self, project: str, versions: str, mask: int, by: ClosureRelease | None) -> None:
        known = self.closure.demands.get(project)
        if known is None:
            known = self.closure.demands[project] = {}
            if project not in self._rooted:
                self._added += 1
                if self._added > self._most:
                    raise TooManyError(_too_many(self._most, project, by))
        old = known.get(versions)
        if old is None:
            known[versions] = VersionDemand(by, mask)
            self._changed.add(project)
        elif mask & ~old.environments:
            known[versions] = VersionDemand(old.by, old.environments | mask)

    def _run(self) -> None:
        """Follow all demands."""
        waiting = self._waiting
        while waiting:
            project, versions, extra, mask, by = waiting.popleft()
            for release in self._of(project, versions):
                if mask & ~release.needed.get(extra, 0):  # most are needed already
                    self._activate(release, extra, mask, by)

    def _of(self, project: str, versions: str) -> Sequence[ClosureRelease]:
        """Return the releases of some versions."""
        releases = self._releases.get(project, ())
        if not versions or not releases:
            return releases
        reached = self._reached.get(project)
        if reached is None:
            reached = self._reached[project] = {}
        known = reached.get(versions)
        if known is None:
            fits = _fits(versions)
            known = reached[versions] = [each for each in releases if fits(each.version)]
        return known

    def _activate(
        self, release: ClosureRelease, extra: str, mask: int, by: ClosureRelease | None
    ) -> None:
        added = mask & ~release.needed.get(extra, 0)
        if not added:
            return
        if not release.needed:
            release.by = by
            if not release.is_told:
                self.closure.unknown.append(release)
        release.needed[extra] = release.needed.get(extra, 0) | added
        self._follow_documents(release, release.documents, extra, added)

    def _follow_documents(
        self, release: ClosureRelease, documents: Iterable[FileRequirements], extra: str, mask: int
    ) -> None:
        for document in documents:
            admitted = mask & self._masks.of_python(document.python)
            if admitted:
                self._follow(release, document.requires, extra, admitted)
                if self._build and not extra:
                    self._follow(release, document.build, extra, admitted)

    def _follow(
        self, release: ClosureRelease, requires: Iterable[RequirementParts], extra: str, mask: int
    ) -> None:
        """Follow the requirements of a release for an extra, or for none."""
        met_by = self._met_by[extra]
        for each in requires:
            met = met_by.get(each.marker)
            if met is None:
                met = met_by[each.marker] = self._met(each.marker, extra)
            if not (met := met & mask):
                continue
            if each.name != release.project:
                self._demand(each.name, each.versions, each.extras, met, release)
            elif reaches(each.versions, release.version):
                for further in each.extras:
                    self._activate(release, further, met, release.by)

    def _met(self, marker: str, extra: str) -> int:
        """Return the environments in which a requirement with this marker counts for an extra."""
        if extra and not names_extra(marker):
            return 0  # a request for an extra includes the requirements without extras
        return self._masks.of_marker(marker, extra)


def _too_many(most: int, project: str, by: ClosureRelease | None) -> str:
    chain = " <- ".join([project, *(f"{each.project} {each.shown}" for each in chain_of(by))])
    return f"more than {most:,} projects are needed by what is selected (the last one by {chain})"


def chain_of(release: ClosureRelease | None) -> Iterator[ClosureRelease]:
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
