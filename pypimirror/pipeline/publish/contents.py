"""The contents of pages: from rows of the catalog to the bytes of each form.

Nothing is written here. The disk is read only for what the catalog cannot know. `publish` writes
the pages, and `fingerprints` compares those on disk with these contents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import entries, files
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.filenames import version_text
from pypimirror.domain.layout import METADATA_SUFFIX, file_path, page_paths
from pypimirror.domain.model import ProjectStatus, details_of
from pypimirror.pipeline.discover.decisions import keep
from pypimirror.pipeline.run import Run
from pypimirror.render import legacy, rendering
from pypimirror.render.pages import Elsewhere, Page, PageFile, RootEntry
from pypimirror.system.disk_errors import StorageError

#: The highest serial that the catalog can store. Older versions took it over from upstreams.
_MOST = 2**63 - 1

_RENDER = {"html": rendering.page_html, "json": rendering.page_json}

_decode_digests = msgspec.json.Decoder(dict[str, str]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_versions = msgspec.json.Decoder(tuple[str, ...]).decode


def held_by(connection: Connection, ids: Sequence[int]) -> dict[int, list[FileRecord]]:
    """Return the files that belong on the pages of these projects, by project id."""
    held: dict[int, list[FileRecord]] = defaultdict(list)
    for file in files.listed(connection, ids):
        held[file.project_id].append(file)
    return held


def page_of(run: Run, row: ProjectRecord, held: Iterable[FileRecord]) -> Page:
    """Return the page of a project, with the serial of its current page."""
    major, minor = (row.api_version or "1.0").split(".")
    held = list(held)
    return Page(
        project=row.name,
        api_version=(int(major), int(minor)),
        serial=row.page_serial,
        status=ProjectStatus(row.status or ProjectStatus.ACTIVE),
        status_reason=row.status_reason,
        versions=_versions(row, held),
        files=tuple(page_file(run, row.name, file) for file in held),
        extra=_decode_object(row.extra) if row.extra else {},
    )


def _versions(row: ProjectRecord, held: Iterable[FileRecord]) -> tuple[str, ...] | None:
    """Return the versions that a page lists, with those of kept files."""
    if not row.versions:
        return None
    listed = _decode_versions(row.versions)
    kept = (version_text(file.filename, row.name) for file in held if file.kept is not None)
    return (*listed, *dict.fromkeys(v for v in kept if v is not None and v not in listed))


def page_file(run: Run, project: str, file: FileRecord) -> PageFile:
    """Return the entry of a file on its page."""
    digests = _decode_digests(file.digests) if file.digests else {}
    if file.sha256 is not None:
        digests["sha256"] = file.sha256.hex()
    # A linked file has the upstream's metadata beside it, so the upstream's digest applies.
    metadata = file.metadata_claim if file.linked else file.metadata_sha256
    return PageFile(
        filename=file.filename,
        path=file_path(project, file.filename, file.location),
        digests=digests,
        size=file.size,
        core_metadata=metadata.hex() if metadata else None,
        provenance=_is_attested(file) and run.config.publish.provenance,
        elsewhere=Elsewhere(file.url, file.provenance) if file.linked else None,
        extra=_decode_object(file.extra) if file.extra else {},
        **details_of(file) | {"yanked": keep.mark(file.yanked, file.kept)},
    )


def _is_attested(file: FileRecord) -> bool:
    """Whether a page may name attestations: they are here, or can be linked at the upstream.

    A file that is still to come has no attestations yet.
    """
    if file.provenance is None:
        return False
    if file.linked:
        return file.state == State.LINKED or file.state in PROVEN
    return file.provenance_sha256 is not None


def page_forms(run: Run, page: Page) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the path and the content of each form of a page."""
    publish = run.config.publish
    base = publish.base_url or rendering.RELATIVE
    for form, path in page_paths(page.project, publish.formats).items():
        if form == "legacy":
            yield path, [legacy.project_json(page, _metadata(run, page), base)]
        else:
            yield path, [_RENDER[form](page, base)]


def _metadata(run: Run, page: Page) -> bytes | None:
    """Return the core metadata of the newest release that has some here."""
    file = legacy.newest(page)
    if file is None:
        return None
    return run.storage.read(file.path + METADATA_SUFFIX)  # `verify` reports it if it is lost


def page_serial(run: Run, row: ProjectRecord, page: Page) -> int:
    """Return the serial for our page: the upstream's, if that is higher than ours.

    A page that changes for another reason (a late file, another selection) must get a new serial
    too, or a mirror that follows this one would not notice the change.
    """
    before = row.page_serial or _serial_on_disk(run, page.project)
    if before is None:
        return row.serial or 1
    if row.serial is not None and row.serial > before:
        return row.serial
    for path, chunks in page_forms(run, msgspec.structs.replace(page, serial=before)):
        current = run.storage.read(path)
        # A form that cannot be read counts as different.
        there = current is not None or run.storage.has(path)
        if there and current != b"".join(chunks):
            return min(before + 1, _MOST)
    return before


def _serial_on_disk(run: Run, project: str) -> int | None:
    """Return the serial of a page on disk that another catalog wrote."""
    found = []
    there: dict[str, bool] = {}  # a new project has nothing there
    for path in page_paths(project, run.config.publish.formats).values():
        directory = path.rpartition("/")[0]
        try:
            if directory not in there:
                there[directory] = run.storage.has_below(directory)
            if there[directory]:
                found.append(rendering.serial_of(run.storage.read(path) or b""))
        except StorageError:
            continue
    return max((serial for serial in found if serial is not None), default=None)


def root_forms(
    run: Run, connection: Connection, *, with_gone: bool
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield the path and the content of each form of the root index."""
    version, serial = root_head(connection)
    # Read the entries once for all forms: reading takes longer than rendering.
    listed = list(entries.root_entries(connection, with_gone, RootEntry))
    for name, path in page_paths(None, run.config.publish.formats).items():
        form = rendering.ROOT_FORMS[name]
        yield path, rendering.root(form, listed, api_version=version, serial=serial)


def root_head(connection: Connection) -> tuple[tuple[int, int], int | None]:
    """Return the API version and the serial of the root index: the highest of all pages."""
    major, minor = (entries.newest_api(connection) or "1.0").split(".")
    return (int(major), int(minor)), entries.newest_serial(connection)
