"""Discover: the core metadata that the selection needs to decide on releases.

Metadata is read only if `[select]` names fields of it, and only for releases that pass all other
keys. A release has the metadata of its first wheel, by name, for which the upstream offers core
metadata. It applies to all files of the release, also to sdists. It comes from what was read
for an earlier page, from the files of this mirror, or from the upstream (`<file>.metadata`), with a
size limit and checked against the digest on the page.

If the metadata cannot be read for now, the files of its release stay as they are until the next
run. If releases are counted (`latest` and the like), all files of the project stay: a broken
connection must not add or remove any. If it does not exist, or differs from its digest, it is
refused, and the release counts as one without core metadata.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from pypimirror.catalog.records import FileRecord
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.model import File, Problem, ProjectName, ProjectPage, Reason, Stage
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.pipeline.discover import project_pages
from pypimirror.pipeline.discover.alternates import PageAnswer
from pypimirror.pipeline.run import Run
from pypimirror.select import metadata
from pypimirror.select.metadata import Metadata
from pypimirror.system import regular

#: Bytes of the largest core metadata that is read. Most of it is the description.
_MAX_SIZE = 4 << 20

_numbers = itertools.count()  #: for names in staging

#: Failures that would be the same in the next run.
_LASTING = frozenset(
    {
        Reason.MISSING,
        Reason.DIGEST_MISMATCH,
        Reason.TOO_LARGE,
        Reason.REDIRECT,
        Reason.BAD_RESPONSE,
        Reason.HOST_NOT_ALLOWED,
    }
)

_Facts = dict[str, dict[str, list[str]]]  # by the key of the document: field, values
_decode = msgspec.json.Decoder(_Facts).decode


class ProjectMetadata(Struct):
    """The core metadata of the releases of one project."""

    files: dict[str, Metadata] = field(default_factory=dict)  #: by file name
    facts: _Facts = field(default_factory=dict)  #: to store in the catalog
    refused: list[Problem] = field(default_factory=list)
    undecided: set[str] = field(default_factory=set)  #: files that stay as they are for now
    failed: Problem | None = None  #: the reason

    @property
    def column(self) -> str | None:
        """The value for the catalog."""
        return msgspec.json.encode(self.facts).decode() if self.facts else None


class OfferedPage(NamedTuple):
    """A page to decide on."""

    id: int  #: of the project
    facts: str | None  #: the value in the catalog
    remote: str  #: the place that the page came from
    page: ProjectPage
    locations: Mapping[str, str]  #: of files that do not belong in the project's own directory


class _Release(NamedTuple):
    known: ProjectMetadata
    offer: OfferedPage
    wheel: File
    names: Sequence[str]  #: of all files
    fields: frozenset[str]


def of_answers(
    run: Run, answers: Iterable[PageAnswer], changed: Mapping[int, tuple[int, ProjectPage]]
) -> dict[int, ProjectMetadata]:
    """Read the core metadata that the selection needs, for projects whose pages have changed."""
    by_hash = run.config.mirror.layout == "pypi"
    offers = []
    for row, position, _, place in answers:
        if row.id in changed:
            _, page = changed[row.id]
            remote = place or run.config.upstream[position].name
            where = project_pages.locations(page) if by_hash else {}
            offers.append(OfferedPage(row.id, row.facts, remote, page, where))
    return read(run, offers)


def read(run: Run, offers: Iterable[OfferedPage]) -> dict[int, ProjectMetadata]:
    """Return the core metadata by project id, for projects where the selection needs it."""
    found: dict[int, ProjectMetadata] = {}
    missing: list[_Release] = []
    for offer in offers:
        project = ProjectName(offer.page.project)
        fields = run.selection.fields(project)
        if fields:
            known = found[offer.id] = ProjectMetadata()
            missing.extend(_missing(run, known, offer, fields))
    if missing:
        _fetch(run, missing)
    return found


def before(
    facts: str | None, held: Mapping[str, FileRecord], known_metadata: Mapping[str, Metadata]
) -> dict[str, Metadata]:
    """Return the metadata of files, completed with earlier values for files that are here.

    `facts` is the value in the catalog. `known_metadata` is what this run knows.
    """
    found = dict(known_metadata)
    remembered = _decode(facts) if facts else {}
    for name, old in held.items() if remembered else ():
        if old.metadata_claim and (read := remembered.get(old.metadata_claim.hex())) is not None:
            found[name] = read
    return found


def _missing(
    run: Run, known: ProjectMetadata, offer: OfferedPage, fields: frozenset[str]
) -> Iterator[_Release]:
    """Note the metadata that is known here. Yield the releases whose metadata must be fetched."""
    remembered = _decode(offer.facts) if offer.facts else {}
    project = ProjectName(offer.page.project)
    may_pass = run.selection.may_pass(project, offer.page.files, run.now)
    releases: dict[object, list[File]] = {}
    wanted: set[object] = set()
    for file, is_rival in zip(offer.page.files, may_pass, strict=True):
        version = version_of(file.filename, project) or version_text(file.filename, project)
        releases.setdefault(version, []).append(file)
        if is_rival:
            wanted.add(version)
    for release_of, files in releases.items():
        wheels = [f for f in files if f.core_metadata is not None and f.filename.endswith(".whl")]
        if release_of is None or release_of not in wanted or not wheels:
            continue
        wheel = min(wheels, key=lambda file: file.filename)
        release = _Release(known, offer, wheel, [file.filename for file in files], fields)
        facts = remembered.get(_key(wheel))
        if facts is not None and fields <= facts.keys():
            _note(release, facts)
        elif (document := _held(run, release)) is not None:
            _note(release, metadata.read(document, fields))
        else:
            yield release


def _note(release: _Release, facts: dict[str, list[str]]) -> None:
    release.known.facts[_key(release.wheel)] = facts
    release.known.files.update(dict.fromkeys(release.names, facts))


def _key(wheel: File) -> str:
    """Return the key of a wheel's core metadata: its digest, else the wheel's address."""
    return (wheel.core_metadata or {}).get("sha256") or wheel.url


def _held(run: Run, release: _Release) -> bytes | None:
    """Return the core metadata that this mirror holds, if it matches the digest on the page."""
    wheel, offer = release.wheel, release.offer
    location = offer.locations.get(wheel.filename)
    key = file_path(offer.page.project, wheel.filename, location) + METADATA_SUFFIX
    with run.storage.waiting():
        document = run.storage.read(key, _MAX_SIZE)
    if document is None:
        return None
    return document if hashlib.sha256(document).hexdigest() == _key(wheel) else None


def _fetch(run: Run, missing: Sequence[_Release]) -> None:
    """Fetch metadata from the upstream. Note the failures as well."""
    # Not by the project: a fetcher reads pages of several projects that have no id yet.
    paths = [
        run.workspace.staging / f"{os.getpid()}-{next(_numbers)}{METADATA_SUFFIX}" for _ in missing
    ]
    jobs = (_job(number, release, paths[number]) for number, release in enumerate(missing))
    for result in run.fetch(jobs):
        assert isinstance(result, FileResult)
        release, path = missing[result.id], paths[result.id]
        if result.problem is None:
            _note(release, metadata.read(regular.read(str(path)), release.fields))
        else:
            _tell(release, result.problem)
        run.workspace.unstage(path.name)


def _job(number: int, release: _Release, path: Path) -> FetchFile:
    wheel = release.wheel
    parts = urlsplit(wheel.url)
    return FetchFile(
        id=number,
        remote=release.offer.remote,
        urls=(parts._replace(path=parts.path + METADATA_SUFFIX).geturl(),),
        path=str(path),
        digests=dict(wheel.core_metadata or {}),
        max_size=_MAX_SIZE,
    )


def _tell(release: _Release, problem: Problem) -> None:
    """Note a failure: as a refusal if it will last, else as undecided files."""
    name = release.wheel.filename
    message = f"{name}: its core metadata, which [select] needs, cannot be read: {problem.message}"
    named = msgspec.structs.replace(
        problem, message=message, project=release.offer.page.project, file=name
    )
    if problem.reason in _LASTING:
        release.known.refused.append(named)
    else:
        release.known.undecided.update(release.names)
        release.known.failed = named


def report(run: Run, known: Iterable[ProjectMetadata]) -> None:
    """Report the projects with files that this run cannot decide on."""
    run.ledger.failed(Stage.DISCOVER, [each.failed for each in known if each.failed is not None])
