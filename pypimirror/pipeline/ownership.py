"""Who may work on a mirror: the process that holds the lease, on the catalog's own mirror root.

A catalog describes one mirror root. With another one, pages would link to missing files. So catalog
and mirror root carry the same identity. A catalog inside a mirror root needs none. The mirror root
stores its identity as a note (`Storage.note`). Every storage has notes, so any machine can check
that a catalog and a bucket belong together.

The same identity does not mean that both are from the same run: one of them may have been restored,
or another catalog may have worked on the directory. So both also carry a generation
(`pypimirror.storage.generation`), which each run changes before it changes anything else. If the
generations differ, nobody is locked out. The doubt is noted, and `pypimirror.pipeline.audit.doubt`
settles it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pypimirror.catalog import holder, lease
from pypimirror.catalog.database import (
    Catalog,
    CatalogError,
    Connection,
)
from pypimirror.catalog.engines import errors
from pypimirror.catalog.lease import Lease
from pypimirror.catalog.marks import CHANGING, DOUBT, GENERATION, LEFT, MIRROR, OPEN, WAITING
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.work import requests, workers
from pypimirror.domain.bounded import natural
from pypimirror.domain.model import PypimirrorError
from pypimirror.pipeline import gate
from pypimirror.storage import generation
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError
from pypimirror.system.workers import Cancelled

#: The note of the mirror root with its identity. The catalog has it as a mark.
_IDENTITY = "identity"


@contextmanager
def hold(
    catalog: Catalog, workspace: Workspace, storage: Storage, *, claim: bool
) -> Iterator[Lease]:
    """Hold the lease. Without it, nothing can be written to the catalog or the storage.

    With `claim`, a catalog that has no directory yet is bound to this one. Raises `LockedError`,
    `CatalogError` if the catalog belongs to another directory, and `StorageError`.
    """

    fresh, is_alone = "", True

    def check(connection: Connection) -> None:
        nonlocal fresh, is_alone
        for mark in (OPEN, WAITING):
            marks.clear(connection, mark)
        marks.clear(connection, LEFT)
        if not _is_inside(catalog, storage, workspace):
            _check(connection, storage, catalog.shown, claim=claim)
        is_alone = not requests.at_work(connection)
        if claim and is_alone:  # else somebody is changing the directories now
            fresh = _begin(connection, storage, catalog.shown)

    with lease.hold(catalog, check) as held:
        if not is_alone:
            gate.wait(catalog)
            if claim:
                fresh = catalog.apply(partial(_begin, storage=storage, shown=catalog.shown))
        if claim:
            _say(storage, fresh, catalog.shown)
        catalog.guard = storage.guard = held.check
        try:
            yield held
        finally:
            if claim:
                _end(catalog, storage, fresh)
            catalog.guard = storage.guard = lambda: None


def is_in_doubt(catalog: Catalog) -> bool:
    """Whether catalog and mirror root may be from different runs."""
    with catalog.read() as connection:
        return marks.is_set(connection, DOUBT)


def check_is_of_run(connection: Connection, storage: Storage, shown: str) -> None:
    """Raise `CatalogError` unless this mirror root is the one that the run under way works on.

    Each run gives both a new generation before anything else, so a worker that finds the same one
    in both places has reached the right mirror root, whatever its path here.
    """
    noted = (marks.read(connection, GENERATION) or "").partition(" ")[0]
    found, _ = _generation(storage)
    if not noted or noted != found:
        raise CatalogError(
            f"catalog {shown}: a run works on another {_kind(storage)} than {storage.shown}, or it "
            f"cannot be seen from here. All workers of a run need the same mirror: a shared "
            "directory, mounted before the worker starts, or an object storage"
        )


def agreed(connection: Connection, storage: Storage, worker_id: int) -> str:
    """Return the generation of the mirror root if the catalog is from the same run, else "".

    A request worker calls this before it changes anything without a run. If the directories differ
    from the noted stamps, another request worker that has agreed may be changing them now.
    """
    requests.take_turns(connection)
    found, _ = _generation(storage)
    noted = marks.read(connection, GENERATION)
    others = [each for each in _changing(connection, found) if each != worker_id]
    is_same = generation.is_of(noted, None, found, storage.identity())
    if not is_same and not (others and (noted or "").partition(" ")[0] == found):
        return ""
    marks.write(connection, CHANGING, " ".join(map(str, (found, *others, worker_id))))
    return found


def note_changes(connection: Connection, storage: Storage, agreed: str, worker_id: int) -> None:
    """Note the stamps of the directories that a request worker has changed since it `agreed`.

    If a run has begun since, nothing is noted: the run notes them at its end.
    """
    if not agreed:
        return
    requests.take_turns(connection)
    noted = marks.read(connection, GENERATION) or ""
    if noted.partition(" ")[0] == agreed:
        others = [each for each in _changing(connection, agreed) if each != worker_id]
        marks.write(connection, CHANGING, " ".join(map(str, (agreed, *others))))
        found = generation.as_found(agreed, storage.identity())
        if found != noted:
            marks.write(connection, GENERATION, found)


def _changing(connection: Connection, of: str) -> list[int]:
    """Return the request workers that have agreed with this generation and are still at work."""
    noted, *ids = (marks.read(connection, CHANGING) or "").split() or [""]
    found = workers.working(connection, list(filter(None, map(natural, ids))))
    here = holder.this_machine()
    return [each.id for each in found if noted == of and not each.is_gone(here)]


def _is_inside(catalog: Catalog, storage: Storage, workspace: Workspace) -> bool:
    """Whether the catalog is a file in the private directory of the mirror root, or in memory.

    If the storage is no directory, the private directory belongs to one machine only.
    """
    if storage.directory is None or catalog.engine.dialect.name != "sqlite":
        return False
    return (
        catalog.file is None or workspace.private.absolute() in catalog.file.parents
    )  # None: in memory


def _check(connection: Connection, storage: Storage, address: str, *, claim: bool) -> None:
    """Compare the identities of catalog and directory. Bind them if `claim` is set and both are
    new.
    """
    known, mine = marks.read(connection, MIRROR), _identity(storage)
    if known is None and claim:
        if mine is None:
            mine = os.urandom(16).hex()
            _identify(storage, mine)  # in the mirror root first, then in the catalog
        marks.write(connection, MIRROR, mine)
    if known is not None and mine != known:
        raise CatalogError(
            f"catalog {address}: belongs to another {_kind(storage)} than {storage.shown}. Name "
            f"another catalog in mirror.catalog: each mirror needs its own. If this "
            f"{_kind(storage)} is that very mirror, moved or restored, write {known} to "
            f"{storage.shown}/.pypimirror/{_IDENTITY} and run 'pypimirror verify --repair'"
        )


def _kind(storage: Storage) -> str:
    return "directory" if storage.directory is not None else "storage"


def _begin(connection: Connection, storage: Storage, shown: str) -> str:
    """Give the catalog a new generation. Note a doubt if it did not match that of the directory."""
    identity = storage.identity()
    noted = marks.read(connection, GENERATION)
    doubt = marks.read(connection, DOUBT)
    on_disk, by = _generation(storage)
    if doubt is None and not generation.is_of(noted, None, on_disk, identity):
        cause = _cause(noted, on_disk, by, shown, _kind(storage))
        marks.write(connection, DOUBT, f"{storage.shown}: {cause}")
    fresh = generation.after(noted, on_disk)
    marks.write(connection, GENERATION, generation.as_found(fresh, identity))
    return fresh


def _end(catalog: Catalog, storage: Storage, fresh: str) -> None:
    """Note the stamps of the directories that this run has changed.

    If that fails, for example after a kill, the next run checks everything.
    """
    try:
        found = generation.as_found(fresh, storage.identity())
        with catalog.read() as connection:
            noted = marks.read(connection, GENERATION)
        if noted != found and (noted or "").partition(" ")[0] == fresh:
            with catalog.write() as connection:
                marks.write(connection, GENERATION, found)
    except (OSError, errors.SQLAlchemyError, PypimirrorError, Cancelled):
        pass  # not `suppress`, which would import SQLAlchemy before anything is raised


def _cause(noted: str | None, on_disk: str, by: str, shown: str, kind: str) -> str:
    """Return why catalog and mirror root do not match."""
    if on_disk and by != shown:
        return f"this {kind} was last used with the catalog {by}, and now with {shown}"
    if noted is None or not on_disk:
        return f"the catalog and this {kind} do not know each other"
    return (
        f"a run was killed, or the catalog or this {kind} was restored or moved, in part or whole"
    )


def _identity(storage: Storage) -> str | None:
    """Return the identity in the mirror root; None if there is none."""
    return (storage.note(_IDENTITY) or "").strip() or None


def _identify(storage: Storage, identity: str) -> None:
    """Write the identity into the mirror root, durably."""
    storage.write_note(_IDENTITY, f"{identity}\n", durable=True)


def _generation(storage: Storage) -> tuple[str, str]:
    """Return the generation and the catalog that the mirror root notes.

    If only the note cannot be read, they are empty, which leads to a doubt. If the storage cannot
    be read at all, its error ends the run.
    """
    try:
        return generation.read(storage.note(generation.NOTE))
    except StorageError as error:
        if not error.is_of_path:
            raise
        return "", ""


def _say(storage: Storage, fresh: str, shown: str) -> None:
    """Write the generation and the name of the catalog into the mirror root."""
    # Not durable: if a power cut loses it, the next run only checks everything.
    storage.write_note(generation.NOTE, f"{fresh}\n{shown}\n")
