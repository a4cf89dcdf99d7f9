"""Compute the closure from the catalog: the needed projects, who needs them, and the gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from packaging.version import Version

from pypimirror.catalog.database import Connection
from pypimirror.catalog.figures.closure import Unsure
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.states import PROVEN, State
from pypimirror.config.settings import Config
from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_text
from pypimirror.domain.metadata.dependencies import Parts, Requirements, split
from pypimirror.domain.model import ProjectName
from pypimirror.select.closure.close import Closure, Document, Release, close
from pypimirror.select.closure.masks import Masks
from pypimirror.select.closure.versions import fewest
from pypimirror.select.environments import Environments
from pypimirror.select.selection import Selection

_NOT_HERE = "is not here yet"
_NOT_TOLD = "is not here, and no core metadata with a digest could be read at its upstream"


@dataclass
class Known:
    """The facts in the catalog, and the closure computed from them."""

    masks: Masks
    closure: Closure = field(default_factory=Closure)
    #: By project and version: why its requirements are unknown, if no file states them.
    why: dict[tuple[str, str], str] = field(default_factory=dict)
    awaited: set[tuple[str, str]] = field(default_factory=set)  #: of these, those that will come
    #: By project and version: the lines that cannot be read, each once for all files.
    faults: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    def needed(self) -> dict[str, tuple[str, ...]]:
        """Return the needed versions of each project, in as few specifiers as possible."""
        found = {}
        for project, demands in self.closure.demands.items():
            asked = [versions for versions, demand in demands.items() if demand.is_need]
            is_whole = "" in demands and "" not in asked  # the configuration wants all of it
            if asked and not is_whole:
                found[project] = fewest(asked)
        return found

    def unknown(self) -> Iterator[Unsure]:
        """Yield the needed releases whose requirements are unknown."""
        for release in self.closure.unknown:
            why = self.why.get((release.project, release.shown), _NOT_HERE)
            yield Unsure(release.project, release.shown, why)

    def unreadable(self) -> Iterator[Unsure]:
        """Yield the requirements of needed releases that cannot be read."""
        for releases in self.closure.releases.values():
            for release in releases:
                for fault in self.faults.get((release.project, release.shown), ()):
                    if release.needed:
                        yield Unsure(release.project, release.shown, fault)

    @property
    def is_awaited(self) -> bool:
        """Whether a needed release is not here yet, so that its requirements are unknown."""
        return any((each.project, each.shown) in self.awaited for each in self.closure.unknown)


def masks_of(config: Config) -> Masks:
    """Return the environments that the configuration declares."""
    select = config.select
    return Masks(Environments(select.python, select.platforms, select.abi))


def compute(connection: Connection, config: Config, selection: Selection) -> Known:
    """Compute the projects that selected files need. Raises `close.TooManyError`."""
    known = Known(masks_of(config))
    releases = _releases(connection, known)
    known.closure = close(
        selection.roots(ProjectName(name) for name in releases),
        releases,
        known.masks,
        most=config.select.max_dependencies,
        build=config.select.build_dependencies,
    )
    return known


def _releases(connection: Connection, known: Known) -> dict[str, list[Release]]:
    """Read the files and their requirements."""
    documents = _Documents(requirements.every(connection))
    found: dict[tuple[str, str], dict[bytes, Document]] = {}
    for row in requirements.offered(connection):
        release = row.project, version_text(row.filename, row.project) or ""
        of_release = found.setdefault(release, {})
        document = documents.get(row.digest)
        if document is not None and row.digest is not None:
            of_release[row.digest] = document
            if faults := documents.faults.get(row.digest):
                known.faults.setdefault(release, {}).update(dict.fromkeys(faults))
        if document is not None and document.is_told:
            continue
        if row.state in PROVEN or row.state == State.LINKED:
            unread = _NOT_TOLD if row.state == State.LINKED else "could not be read yet"
            why = documents.unknown.get(row.digest or b"", unread)
            known.why[release] = f"{row.filename} {why}"
        else:
            known.awaited.add(release)
    releases: dict[str, list[Release]] = {}
    versions: dict[str, Version | None] = {}
    for (project, shown), of_release in found.items():
        if shown not in versions:
            versions[shown] = bounded.version(shown)
        release_of = Release(project, versions[shown], shown, tuple(of_release.values()))
        releases.setdefault(project, []).append(release_of)
    return releases


class _Documents:
    """The requirements of files, by key. Equal requirements share one object, because there are
    many.
    """

    def __init__(self, rows: Iterator[tuple[bytes, Requirements]]) -> None:
        self._parts: dict[str, Parts] = {}
        self._documents: dict[bytes, Document] = {}
        self.unknown: dict[bytes, str] = {}
        self.faults: dict[bytes, tuple[str, ...]] = {}
        for digest, found in rows:
            if found.faults:
                self.faults[digest] = found.faults
            if found.unknown:
                self.unknown[digest] = found.unknown
            if not found.unknown or found.build:
                requires, build = self._apart(found.requires), self._apart(found.build)
                is_told = not found.unknown
                self._documents[digest] = Document(found.python, requires, build, is_told)

    def get(self, digest: bytes | None) -> Document | None:
        """Return the requirements of a file, or None if they are unknown."""
        return None if digest is None else self._documents.get(digest)

    def _apart(self, requires: tuple[str, ...]) -> tuple[Parts, ...]:
        parts = self._parts
        for each in requires:
            if each not in parts:
                parts[each] = split(each)
        return tuple(parts[each] for each in requires)


def told_by(release: Release) -> str:
    """Return the name of a release for people."""
    return f"{release.project} {release.shown}".rstrip()


def why_missing(known: Known, missing: Mapping[str, str]) -> Iterator[Unsure]:
    """Yield the needed projects that are not mirrored, with who needs them."""
    for project, why in missing.items():
        demands = known.closure.demands[project].values()
        by = next((told_by(demand.by) for demand in demands if demand.by is not None), "")
        yield Unsure(project, "", f"is needed by {by}, and {why}")
