"""Publish: render the pages that have changed, and at the end of a run take out what has gone.

verified → published for the files of a batch; `finish` does the rest for the mirror as a whole,
in this order: withdraw what is not offered any more (once the deletion guard agrees), the pages
that shrink, the root index, the pages that go, and last the bytes whose grace is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from pypimirror.catalog import files, projects, totals
from pypimirror.catalog.states import PROVEN, State
from pypimirror.model import Problem, ProjectStatus, Reason, Stage
from pypimirror.publish import legacy, render
from pypimirror.publish.pages import Elsewhere, Page, PageFile, RootEntry
from pypimirror.stages import quarantine, withdraw
from pypimirror.stages.run import Run, StoppedError
from pypimirror.tree import METADATA_SUFFIX, file_path, page_paths

#: Pages that are written, flushed and committed together.
_COMMIT = 500

_FORMATS_MARK = "formats"
_ROOT_MARK = "root index"  # its value says that the root index is not what it should be
_ROOT_SEEN = "root index seen"  # its value: stamp and digest of what was on disk
_STALE = "stale"

_RENDER = {"html": render.page_html, "json": render.page_json}
_FORMS = (*_RENDER, "legacy")
_RENDER_ROOT = {"html": render.root_html, "json": render.root_json}

_decode_digests = msgspec.json.Decoder(dict[str, str]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_versions = msgspec.json.Decoder(tuple[str, ...]).decode


def publish(run: Run, ids: Sequence[int]) -> None:
    """Render the pages of those of these projects that have changed.

    A page that files are about to leave waits for `finish`: it would change twice, and with the
    upstream's new serial it would once say what the upstream does not say any more.
    """
    with run.catalog.read() as connection:
        waiting = files.projects_with_leaving(connection, ids)
    render_pages(run, [number for number in ids if number not in waiting])


def render_pages(run: Run, ids: Sequence[int], *, with_gone: bool = False) -> None:
    """Render the pages of those of these projects that have changed, as they stand now.

    Those of projects that are gone only `with_gone`, where they are still on disk.
    """
    with run.catalog.read() as connection:
        rows = [
            row
            for row in projects.get(connection, ids)
            if row.dirty and (row.gone is None or (with_gone and row.live))
        ]
    run.reporter.begin(Stage.PUBLISH, len(rows))
    for chunk in projects.chunks(rows, _COMMIT):
        _publish(run, chunk)
        run.reporter.advance(Stage.PUBLISH, things=len(chunk))
    with run.catalog.write() as connection:
        wanted = run.config.publish.provenance
        projects.finish(connection, ids, run.now, with_provenance=wanted)


def finish(run: Run) -> None:
    """Bring the mirror as a whole up to date: withdrawals, root index, removals."""
    _redo_pages_of_another_form(run)
    refusal = withdraw.withdraw(run)
    allowed = refusal is None
    _render_dirty(run, with_gone=not allowed)
    with run.catalog.read() as connection:
        going = projects.to_remove(connection) if allowed else []
        stale = projects.get_mark(connection, _ROOT_MARK) != ""
    if stale or going:
        _publish_root(run, with_gone=not allowed)
    while going:
        _remove_pages(run, going)
        with run.catalog.read() as connection:
            going = projects.to_remove(connection)
    withdraw.remove_expired(run)
    quarantine.trim(run.tree, run.config.quarantine, run.now)
    if refusal is not None:
        raise StoppedError(refusal)


def _publish(run: Run, rows: Sequence[Row[Any]]) -> None:
    with run.catalog.read() as connection:
        held = _held(connection, [row.id for row in rows])
    pages = [_page(run, row, held[row.id]) for row in rows]
    serials = {}
    contents: list[tuple[str, list[bytes]]] = []
    owners: dict[str, Row[Any]] = {}
    for row, page in zip(rows, pages, strict=True):
        serial = _page_serial(run, row, page)
        serials[row.id] = serial
        forms = list(_forms(run, msgspec.structs.replace(page, serial=serial)))
        contents.extend(forms)
        owners.update((path, row) for path, _ in forms)
    blocked: dict[str, str] = {}
    written = run.tree.write(contents, blocked)
    # Also where none is new: a dead run may have placed them, and nothing made them durable.
    run.tree.flush()
    stuck = {owners[path].id for path in blocked}
    rows = [row for row in rows if row.id not in stuck]
    replaced = [file for row in rows for file in held[row.id] if _is_replaced(file)]
    _commit(run, rows, serials, held, replaced)
    run.count(pages_written=written, files_withdrawn=len(replaced))
    run.failed(
        Stage.PUBLISH,
        [
            Problem(Reason.FOREIGN, f"{path}: {said}", owners[path].name)
            for path, said in blocked.items()
        ],
    )


def _held(connection: Connection, ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    """Return the files that belong on the pages of these projects, by project."""
    held: dict[int, list[Row[Any]]] = defaultdict(list)
    for file in files.listed(connection, ids):
        held[file.project_id].append(file)
    return held


def _commit(
    run: Run,
    rows: Sequence[Row[Any]],
    serials: dict[int, int],
    held: dict[int, list[Row[Any]]],
    replaced: Sequence[Row[Any]],
) -> None:
    holds = [totals.on_page(held[row.id]) for row in rows]
    values = [
        {
            "id": row.id,
            "page_serial": serials[row.id],
            "dirty": False,
            "live": True,
            **_seen(run, row.name),
            **on_page,
        }
        for row, on_page in zip(rows, holds, strict=True)
    ]
    stale = any(not row.live or serials[row.id] != row.page_serial for row in rows)
    with run.catalog.write() as connection:
        moved = [{"id": file.id, "withdrawn_at": run.now} for file in replaced]
        files.move(connection, State.LINKED, moved, run.id)
        files.publish(connection, [row.id for row in rows], run.id)
        totals.change(connection, rows, [totals.Held(1, *each.values()) for each in holds])
        projects.change(connection, values)
        projects.set_mark_once(connection, _FORMATS_MARK, _forms_of(run))
        if stale:
            projects.set_mark(connection, _ROOT_MARK, _STALE)


def _is_replaced(file: Row[Any]) -> bool:
    """Whether a page led to a file's own bytes, and leads to the upstream now."""
    return bool(file.linked and file.state in PROVEN)


def _page(run: Run, row: Row[Any], held: Iterable[Row[Any]]) -> Page:
    """Put together what a project's page says, with the serial of the page before it."""
    major, minor = (row.api_version or "1.0").split(".")
    return Page(
        project=row.name,
        api_version=(int(major), int(minor)),
        serial=row.page_serial,
        status=ProjectStatus(row.status or ProjectStatus.ACTIVE),
        status_reason=row.status_reason,
        versions=_decode_versions(row.versions) if row.versions else None,
        files=tuple(_page_file(run, row.name, file) for file in held),
        extra=_decode_object(row.extra) if row.extra else {},
    )


def _page_file(run: Run, project: str, file: Row[Any]) -> PageFile:
    digests = _decode_digests(file.digests) if file.digests else {}
    digests["sha256"] = file.sha256.hex()
    # What is told of a file elsewhere is the upstream's word, and what is beside it, its own.
    metadata = file.metadata_claim if file.linked else file.metadata_sha256
    return PageFile(
        filename=file.filename,
        path=file_path(project, file.filename, file.location),
        digests=digests,
        size=file.size,
        upload_time=file.upload_time,
        requires_python=file.requires_python,
        yanked=file.yanked,
        core_metadata=metadata.hex() if metadata else None,
        provenance=_is_attested(file) and run.config.publish.provenance,
        elsewhere=Elsewhere(file.url, file.provenance) if file.linked else None,
        extra=_decode_object(file.extra) if file.extra else {},
    )


def _is_attested(file: Row[Any]) -> bool:
    """Whether attestations are here, or may be linked: of what is still to come, they wait."""
    if file.provenance is None:
        return False
    if file.linked:
        return file.state == State.LINKED or file.state in PROVEN
    return file.provenance_sha256 is not None


def _forms(run: Run, page: Page) -> Iterator[tuple[str, list[bytes]]]:
    publish = run.config.publish
    base = publish.base_url or render.RELATIVE
    for form, path in page_paths(page.project, publish.formats).items():
        if form == "legacy":
            yield path, [legacy.project_json(page, _metadata(run, page), base)]
        else:
            yield path, [_RENDER[form](page, base)]


def _metadata(run: Run, page: Page) -> bytes | None:
    """Return the core metadata that speaks for a project, where any is here."""
    file = legacy.newest(page)
    if file is None:
        return None
    return run.tree.read(file.path + METADATA_SUFFIX)  # what is lost is `verify`'s to find


def _page_serial(run: Run, row: Row[Any], page: Page) -> int:
    """Return the serial of our page: the upstream's where that has moved on.

    A page that changes for another reason (a file that came late, another selection) must have a
    new serial too, or a mirror that follows this one would not notice.
    """
    before = row.page_serial or _serial_on_disk(run, page.project)
    if before is None:
        return row.serial or 1
    if row.serial is not None and row.serial > before:
        return int(row.serial)
    for path, chunks in _forms(run, msgspec.structs.replace(page, serial=before)):
        current = run.tree.read(path)
        if current is not None and current != b"".join(chunks):
            return int(before) + 1
    return int(before)


def _serial_on_disk(run: Run, project: str) -> int | None:
    """Return the serial of a page that the catalog does not know, because another one wrote it."""
    found = []
    for path in page_paths(project, run.config.publish.formats).values():
        try:
            found.append(render.serial_of(run.tree.path(path).read_bytes()))
        except OSError:
            continue
    return max((serial for serial in found if serial is not None), default=None)


def _publish_root(run: Run, *, with_gone: bool) -> None:
    with run.catalog.read() as connection:
        written = run.tree.write(_root_forms(run, connection, with_gone=with_gone))
    run.tree.flush()
    with run.catalog.write() as connection:
        projects.set_mark(connection, _ROOT_MARK, "")
        projects.set_mark(connection, _ROOT_SEEN, _root_seen(run))
    run.count(pages_written=written)


def _root_forms(
    run: Run, connection: Connection, *, with_gone: bool
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield path and content of each form of the root index."""
    major, minor = (projects.newest_api(connection) or "1.0").split(".")
    serial = projects.newest_serial(connection)
    # Read once for all forms: that takes longer than to render them.
    entries = [RootEntry(*row) for row in projects.root_entries(connection, with_gone)]
    for form, path in page_paths(None, run.config.publish.formats).items():
        yield (
            path,
            _RENDER_ROOT[form](entries, api_version=(int(major), int(minor)), serial=serial),
        )


def expire_root(run: Run) -> None:
    """Have the root index rendered again, whether or not a page has changed."""
    with run.catalog.write() as connection:
        projects.set_mark(connection, _ROOT_MARK, _STALE)


def differing(
    run: Run, is_late: Callable[[], bool], *, quick: bool = False
) -> Iterator[tuple[Problem, int | None]]:
    """Yield each page on disk that is not what the catalog says, with its project's id.

    With `quick`, only those are read that were touched since they were seen to be right. Ends when
    it is late.
    """
    with run.catalog.read() as connection:
        quick = quick and not is_another_form(run, connection)
    last = 0
    while not is_late():
        with run.catalog.read() as connection:
            rows = projects.live_after(connection, last, _COMMIT)
            touched = [row for row in rows if not row.dirty and row.gone is None]
            if quick:
                touched = [row for row in touched if _stamp(run, row.name) != row.page_stamp]
            held = _held(connection, [row.id for row in touched]) if touched else {}
        if not rows:
            break
        right: list[dict[str, Any]] = []
        for row in touched:
            bad = [
                path for path, text in _page_forms(run, row, held) if not run.tree.says(path, text)
            ]
            yield from ((_page_problem(path, row.name), row.id) for path in bad)
            if not bad and _stamp(run, row.name) != row.page_stamp:
                right.append({"id": row.id, **_seen(run, row.name)})
        if right:
            with run.catalog.write() as connection:
                projects.change(connection, right)
        last = rows[-1].id
    if not is_late():
        yield from _differing_root(run, quick=quick)


def _page_forms(
    run: Run, row: Row[Any], held: Mapping[int, Sequence[Row[Any]]]
) -> Iterator[tuple[str, list[bytes]]]:
    return _forms(run, _page(run, row, held.get(row.id, ())))


def _differing_root(run: Run, *, quick: bool) -> Iterator[tuple[Problem, None]]:
    with run.catalog.read() as connection:
        if projects.get_mark(connection, _ROOT_MARK) == _STALE:
            return
        known = projects.get_mark(connection, _ROOT_SEEN) or ""
        untouched = known.partition(" ")[0] == str(_stamp(run, None))
        if quick and untouched:
            return
        forms = _root_forms(run, connection, with_gone=False)
        bad = [path for path, root in forms if not run.tree.says(path, root)]
    yield from ((_page_problem(path, ""), None) for path in bad)
    if not bad and not untouched:
        with run.catalog.write() as connection:
            projects.set_mark(connection, _ROOT_SEEN, _root_seen(run))


def _stamp(run: Run, project: str | None) -> int | None:
    """Return the stamp of a page as it is on disk, or of the root index."""
    return run.tree.stamp_of_all(page_paths(project, run.config.publish.formats).values())


def _seen(run: Run, project: str | None) -> dict[str, Any]:
    """Return what is to be noted of a page that was seen to be right, or written, just now."""
    paths = page_paths(project, run.config.publish.formats).values()
    # In this order: whoever touches it in between is noticed.
    stamp = run.tree.stamp_of_all(paths)
    return {"page_stamp": stamp, "page_sha256": run.tree.sha256_of_all(paths)}


def _root_seen(run: Run) -> str:
    seen = _seen(run, None)
    return f"{seen['page_stamp']} {(seen['page_sha256'] or b'').hex()}"


def _page_problem(path: str, project: str) -> Problem:
    message = f"{path}: is not what the catalog says; 'pypimirror verify --repair' mends it"
    return Problem(Reason.PAGE_DIFFERS, message, project)


def _remove_pages(run: Run, going: Sequence[Row[Any]]) -> None:
    """Remove the pages of projects that the root index does not list any more."""
    for row in going:
        for path in page_paths(row.name, _FORMS).values():
            run.tree.remove(path)
    run.tree.flush()
    with run.catalog.write() as connection:
        done = {"live": False, "dirty": False, "todo": False, **totals.NOTHING}
        totals.change(connection, going, [totals.Held()] * len(going))
        projects.change(connection, [{"id": row.id, **done} for row in going])


def is_another_form(run: Run, connection: Connection) -> bool:
    """Whether the configuration asks for other forms of pages than those that were written."""
    return projects.get_mark(connection, _FORMATS_MARK) not in (None, _forms_of(run))


def _forms_of(run: Run) -> str:
    publish = run.config.publish
    attested = "with" if publish.provenance else "without"
    forms = ",".join(sorted(publish.formats))
    return f"{forms} {attested} provenance {publish.base_url}".strip()


def _redo_pages_of_another_form(run: Run) -> None:
    """Render all pages again where the configuration asks for other forms than before.

    In: the pages, then the root index. Out: the root index, then the pages.
    """
    with run.catalog.read() as connection:
        if not is_another_form(run, connection):
            return
    with run.catalog.write() as connection:
        projects.redo_pages(connection)
        projects.set_mark(connection, _ROOT_MARK, _STALE)
    _render_dirty(run, with_gone=True)
    _publish_root(run, with_gone=True)
    unwanted = [form for form in _FORMS if form not in run.config.publish.formats]
    with run.catalog.read() as connection:
        names = [None, *(row.name for row in projects.root_entries(connection, with_gone=True))]
    for name in names:
        for path in page_paths(name, unwanted).values():
            run.tree.remove(path)
    run.tree.flush()  # a page that came back would outlive the files that it names
    with run.catalog.write() as connection:
        projects.set_mark(connection, _FORMATS_MARK, _forms_of(run))


def _render_dirty(run: Run, *, with_gone: bool = False) -> None:
    last = 0
    while True:
        with run.catalog.read() as connection:
            ids = projects.next_batch(connection, last, _COMMIT, None)
        if not ids:
            return
        render_pages(run, ids, with_gone=with_gone)
        last = ids[-1]
