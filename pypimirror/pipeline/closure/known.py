"""Compute the closure from the catalog: the needed projects, who needs them, and the gaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.version import Version

from pypimirror.catalog.database import Connection
from pypimirror.catalog.figures.closure import Unsure
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.records import OfferedFile
from pypimirror.catalog.states import PROVEN, State
from pypimirror.config.settings import Config
from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_text
from pypimirror.domain.metadata.dependencies import RequirementParts, split
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import ProjectName
from pypimirror.select.closure.close import Closure, ClosureRelease, FileRequirements, Walk
from pypimirror.select.closure.masks import Masks
from pypimirror.select.closure.versions import fewest
from pypimirror.select.environments import Environments
from pypimirror.select.selection import Selection

_NOT_HERE = "is not here yet"
_NOT_TOLD = "is not here, and no core metadata with a digest could be read at its upstream"


class KnownClosure:
    """The facts in the catalog, and the closure computed from them.

    `learn` reads some projects again and adds their new facts. `compute` starts from nothing.
    """

    def __init__(self, config: Config, selection: Selection) -> None:
        self.masks = masks_of(config)
        #: The needed versions of each project, in as few specifiers as possible.
        self.needed: dict[str, tuple[str, ...]] = {}
        #: By project and version: why its requirements are unknown, if no file states them.
        self.why: dict[tuple[str, str], str] = {}
        self._awaited: set[tuple[str, str]] = set()  # unknown, but the file will come
        #: By project and version: the lines that cannot be read, each once for all files.
        self._faults: dict[tuple[str, str], dict[str, None]] = {}
        self._selection = selection
        self._documents = _Documents()
        self._versions: dict[str, Version | None] = {}
        select = config.select
        self._walk = Walk(self.masks, most=select.max_dependencies, build=select.build_dependencies)

    @property
    def closure(self) -> Closure:
        """The closure of all that is known."""
        return self._walk.closure

    def learn(self, connection: Connection, projects: Mapping[int, str] | None = None) -> set[str]:
        """Read the files of these projects, or of all, and follow what is new in them.

        Return the projects that are needed in other versions than before. Raises
        `close.TooManyError`, and `ShrunkError` if something is no longer known.
        """
        rows: Iterable[OfferedFile]
        if projects is None:
            self._documents.add(requirements.every(connection))
            rows = requirements.offered(connection)
        else:
            rows = list(requirements.offered(connection, list(projects)))
            lacking = self._documents.lacking(row.digest for row in rows)
            self._documents.add(requirements.of_digests(connection, lacking))
            self._forget(set(projects.values()))
        releases = self._releases(rows)
        if projects is not None:
            self._check_growth(projects.values(), releases)
        known = self.closure.releases
        fresh = [ProjectName(name) for name in releases if name not in known]
        self._walk.extend(self._selection.roots(fresh), releases)
        return self._count_needed()

    def _forget(self, names: set[str]) -> None:
        """Forget the gaps of projects whose files are read again."""
        self._awaited = {key for key in self._awaited if key[0] not in names}
        for gaps in (self.why, self._faults):
            for key in [key for key in gaps if key[0] in names]:
                del gaps[key]

    def _releases(self, rows: Iterable[OfferedFile]) -> dict[str, list[ClosureRelease]]:
        """Return the releases of these files, and note the gaps."""
        documents = self._documents
        found: dict[tuple[str, str], dict[bytes, FileRequirements]] = {}
        for row in rows:
            release = row.project, version_text(row.filename, row.project) or ""
            of_release = found.setdefault(release, {})
            document = documents.get(row.digest)
            if document is not None and row.digest is not None:
                of_release[row.digest] = document
                if faults := documents.faults.get(row.digest):
                    self._faults.setdefault(release, {}).update(dict.fromkeys(faults))
            if document is not None and document.is_told:
                continue
            if row.state in PROVEN or row.state == State.LINKED:
                unread = _NOT_TOLD if row.state == State.LINKED else "could not be read yet"
                why = documents.unknown.get(row.digest or b"", unread)
                self.why[release] = f"{row.filename} {why}"
            else:
                self._awaited.add(release)
        releases: dict[str, list[ClosureRelease]] = {}
        versions = self._versions
        for (project, shown), of_release in found.items():
            if shown not in versions:
                versions[shown] = bounded.version(shown)
            release_of = ClosureRelease(project, versions[shown], shown, tuple(of_release.values()))
            releases.setdefault(project, []).append(release_of)
        return releases

    def _check_growth(
        self, projects: Iterable[str], releases: Mapping[str, Sequence[ClosureRelease]]
    ) -> None:
        """Raise `ShrunkError` if a known release or document of these projects is missing now."""
        for project in projects:
            now = {release.shown: release.documents for release in releases.get(project, ())}
            for before in self.closure.releases.get(project, ()):
                documents = now.get(before.shown)
                if documents is None or any(each not in documents for each in before.documents):
                    raise ShrunkError(project)

    def _count_needed(self) -> set[str]:
        """Return the projects that are needed in other versions than before."""
        changed = set()
        for project in self._walk.take_changed():
            demands = self.closure.demands[project]
            asked = [versions for versions, demand in demands.items() if demand.is_need]
            is_whole = "" in demands and "" not in asked  # the configuration wants all of it
            versions = fewest(asked) if asked and not is_whole else ()
            if versions != self.needed.get(project, ()):
                changed.add(project)
                if versions:
                    self.needed[project] = versions
                else:
                    del self.needed[project]
        return changed

    def unknown(self) -> Iterator[Unsure]:
        """Yield the needed releases whose requirements are unknown."""
        for release in self.closure.unknown:
            why = self.why.get((release.project, release.shown), _NOT_HERE)
            yield Unsure(release.project, release.shown, why)

    def unreadable(self) -> Iterator[Unsure]:
        """Yield the requirements of needed releases that cannot be read."""
        for releases in self.closure.releases.values():
            for release in releases:
                for fault in self._faults.get((release.project, release.shown), ()):
                    if release.needed:
                        yield Unsure(release.project, release.shown, fault)

    @property
    def is_awaited(self) -> bool:
        """Whether a needed release is not here yet, so that its requirements are unknown."""
        return any((each.project, each.shown) in self._awaited for each in self.closure.unknown)


class ShrunkError(Exception):
    """A known fact is no longer there, so the closure must be computed from the beginning."""


def masks_of(config: Config) -> Masks:
    """Return the environments that the configuration declares."""
    select = config.select
    return Masks(Environments(select.python, select.platforms, select.abi))


def compute(connection: Connection, config: Config, selection: Selection) -> KnownClosure:
    """Compute the projects that selected files need. Raises `close.TooManyError`."""
    known = KnownClosure(config, selection)
    known.learn(connection)
    return known


class _Documents:
    """The requirements of files, by key. Equal requirements share one object, because there are
    many.
    """

    def __init__(self) -> None:
        self._parts: dict[str, RequirementParts] = {}
        self._documents: dict[bytes, FileRequirements] = {}
        self.unknown: dict[bytes, str] = {}
        self.faults: dict[bytes, tuple[str, ...]] = {}

    def add(self, rows: Iterable[tuple[bytes, Requirements]]) -> None:
        """Add requirements. Those that are here stay the same objects."""
        for digest, found in rows:
            if found.faults:
                self.faults[digest] = found.faults
            if found.unknown:
                self.unknown[digest] = found.unknown
            if not found.unknown or found.build:
                requires, build = self._apart(found.requires), self._apart(found.build)
                is_told = not found.unknown
                self._documents[digest] = FileRequirements(found.python, requires, build, is_told)

    def get(self, digest: bytes | None) -> FileRequirements | None:
        """Return the requirements of a file, or None if they are unknown."""
        return None if digest is None else self._documents.get(digest)

    def lacking(self, digests: Iterable[bytes | None]) -> list[bytes]:
        """Return the keys that have no requirements here."""
        return list({each for each in digests if each and each not in self._documents})

    def _apart(self, requires: tuple[str, ...]) -> tuple[RequirementParts, ...]:
        parts = self._parts
        for each in requires:
            if each not in parts:
                parts[each] = split(each)
        return tuple(parts[each] for each in requires)


def told_by(release: ClosureRelease) -> str:
    """Return the name of a release for people."""
    return f"{release.project} {release.shown}".rstrip()


def why_missing(known: KnownClosure, missing: Mapping[str, str]) -> Iterator[Unsure]:
    """Yield the needed projects that are not mirrored, with who needs them."""
    for project, why in missing.items():
        demands = known.closure.demands[project].values()
        by = next((told_by(demand.by) for demand in demands if demand.by is not None), "")
        yield Unsure(project, "", f"is needed by {by}, and {why}")
