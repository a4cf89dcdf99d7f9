"""Who may work on a mirror: the process that holds the lease, on the catalog's own directory.

A catalog describes one directory. With another directory, pages would link to missing files. So
catalog and directory carry the same identity. A catalog inside the directory needs none.

The same identity does not mean that both are from the same run: one of them may have been restored,
or another catalog may have worked on the directory. So both also carry a generation
(`pypimirror.storage.generation`), which each run changes before it changes anything else. If the
generations differ, nobody is locked out. The doubt is noted, and `pypimirror.pipeline.audit.doubt`
settles it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypimirror.catalog import lease
from pypimirror.catalog.database import (
    Catalog,
    CatalogError,
    Connection,
    SQLAlchemyError,
    sqlite_file,
)
from pypimirror.catalog.lease import Lease
from pypimirror.catalog.marks import AT_REST, DOUBT, GENERATION, MIRROR
from pypimirror.catalog.queries import marks
from pypimirror.domain.model import PypimirrorError
from pypimirror.storage import generation
from pypimirror.storage.durability import sync_directory, sync_file
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import storage_errors
from pypimirror.system.workers import Cancelled

#: The file in the private directory with the identity of the mirror. The catalog has it as a mark.
_IDENTITY = "identity"
_MOST = 4096  # bytes of that file


@contextmanager
def hold(
    catalog: Catalog, workspace: Workspace, storage: Storage, *, claim: bool
) -> Iterator[Lease]:
    """Hold the lease. Without it, nothing can be written to the catalog or the storage.

    With `claim`, a catalog that has no directory yet is bound to this one. Raises `LockedError`,
    `CatalogError` if the catalog belongs to another directory, and `StorageError`.
    """

    fresh = ""

    def check(connection: Connection) -> None:
        nonlocal fresh
        marks.clear(connection, AT_REST)  # this run may change the mirror
        if not _is_inside(catalog, workspace):
            _check(connection, workspace, catalog.shown, claim=claim)
        if claim:
            fresh = _begin(connection, workspace, storage, catalog.shown)

    with lease.hold(catalog, check) as held:
        if claim:
            _say(workspace, fresh, catalog.shown)
        catalog.guard = storage.guard = held.check
        try:
            yield held
        finally:
            if claim:
                _end(catalog, storage, fresh)
            catalog.guard = storage.guard = lambda: None


def _is_inside(catalog: Catalog, workspace: Workspace) -> bool:
    """Whether the catalog is a file in the private directory, or in memory."""
    if catalog.engine.dialect.name != "sqlite":
        return False
    file = sqlite_file(str(catalog.engine.url))
    return file is None or workspace.private in file.parents  # None: in memory


def _check(connection: Connection, workspace: Workspace, address: str, *, claim: bool) -> None:
    """Compare the identities of catalog and directory. Bind them if `claim` is set and both are
    new.
    """
    known, mine = marks.read(connection, MIRROR), _identity(workspace)
    if known is None and claim:
        if mine is None:
            mine = secrets.token_hex(16)
            _identify(workspace, mine)  # on disk first, then in the catalog
        marks.write(connection, MIRROR, mine)
    if known is not None and mine != known:
        raise CatalogError(
            f"catalog {address}: belongs to another directory than {workspace.directory}. Name "
            "another catalog in mirror.catalog: each mirror needs its own. If this directory is "
            f"that very mirror, moved or restored, write {known} to "
            f"{_file(workspace, _IDENTITY)} and run 'pypimirror verify --repair'"
        )


def _begin(connection: Connection, workspace: Workspace, storage: Storage, shown: str) -> str:
    """Give the catalog a new generation. Note a doubt if it did not match that of the directory."""
    identity = storage.identity()
    noted = marks.read(connection, GENERATION)
    doubt = marks.read(connection, DOUBT)
    on_disk, by = generation.stored_in(str(workspace.private))
    if doubt is None and not generation.is_of(noted, None, on_disk, identity):
        cause = _cause(noted, on_disk, by, shown)
        marks.write(connection, DOUBT, f"{workspace.directory}: {cause}")
    fresh = generation.after(noted, on_disk)
    marks.write(connection, GENERATION, generation.as_found(fresh, identity))
    return fresh


def _end(catalog: Catalog, storage: Storage, fresh: str) -> None:
    """Note the stamps of the directories that this run has changed.

    If that fails, for example after a kill, the next run checks everything.
    """
    with contextlib.suppress(OSError, SQLAlchemyError, PypimirrorError, Cancelled):
        found = generation.as_found(fresh, storage.identity())
        with catalog.read() as connection:
            noted = marks.read(connection, GENERATION)
        if noted != found and (noted or "").partition(" ")[0] == fresh:
            with catalog.write() as connection:
                marks.write(connection, GENERATION, found)


def _cause(noted: str | None, on_disk: str, by: str, shown: str) -> str:
    """Return why catalog and directory do not match."""
    if on_disk and by != shown:
        return f"this directory was last used with the catalog {by}, and now with {shown}"
    if noted is None or not on_disk:
        return "the catalog and this directory do not know each other"
    return (
        "a run was killed, or the catalog or this directory was restored or moved, in part or whole"
    )


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.private / name


def _identity(workspace: Workspace) -> str | None:
    """Return the identity in the directory; None if there is none."""
    file = _file(workspace, _IDENTITY)
    with storage_errors(file):
        try:
            return regular.read(str(file), most=_MOST).decode().strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None


def _identify(workspace: Workspace, identity: str) -> None:
    """Write the identity into the directory, durably."""
    fresh = _fresh(workspace, _IDENTITY, f"{identity}\n")
    with storage_errors(fresh):
        sync_file(fresh)
        fresh.replace(_file(workspace, _IDENTITY))
        sync_directory(str(workspace.private))


def _say(workspace: Workspace, fresh: str, shown: str) -> None:
    """Write the generation and the name of the catalog into the directory."""
    new = _fresh(workspace, generation.FILE, f"{fresh}\n{shown}\n")
    with storage_errors(
        new
    ):  # not flushed: if a power cut loses it, the next run only checks everything
        new.replace(_file(workspace, generation.FILE))


def _fresh(workspace: Workspace, name: str, text: str) -> Path:
    """Write a new file beside the final one."""
    new = _file(workspace, f"{name}.new")
    with storage_errors(new):
        new.unlink(missing_ok=True)  # it may be a hard link that a copy of this directory shares
        new.write_text(text)
    return new
