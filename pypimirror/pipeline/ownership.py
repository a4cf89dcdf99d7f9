"""Who may work on a mirror: the process with the lease, on the directory of the catalog.

A catalog says what one directory holds; with another one, pages would link to files that are not
there. So catalog and directory carry the same mark. A catalog in the directory itself needs none.

That they are of one mirror does not say that they are of one run: either may have been put back, or
another catalog may have worked on the directory meanwhile. For that, both carry a generation
(`pypimirror.storage.generation`), which moves here with each run, before it can change anything.
Where they differ nobody is locked out: the doubt is noted, and settled by
`pypimirror.pipeline.audit.doubt`.
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
from pypimirror.catalog.marks import AT_REST, DOUBT, ENDED, GENERATION, MIRROR
from pypimirror.catalog.queries import marks
from pypimirror.domain.model import PypimirrorError
from pypimirror.storage import generation
from pypimirror.storage.durability import sync_directory, sync_file
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import told
from pypimirror.system.workers import Cancelled

#: The file in the private directory that says which mirror it is, as a mark of the catalog does.
_IDENTITY = "identity"
_MOST = 4096  # bytes of that file


@contextmanager
def hold(
    catalog: Catalog, workspace: Workspace, storage: Storage, *, claim: bool
) -> Iterator[Lease]:
    """Hold the lease; without it, neither catalog nor storage can be written from then on.

    With `claim`, a catalog that belongs to no directory yet is this one's. Raises `LockedError`,
    `CatalogError` when the catalog is another directory's, and `StorageError`.
    """

    fresh = ""

    def check(connection: Connection) -> None:
        nonlocal fresh
        for mark in (AT_REST, ENDED):  # it may not stay so
            marks.clear(connection, mark)
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
    if catalog.engine.dialect.name != "sqlite":
        return False
    file = sqlite_file(str(catalog.engine.url))
    return file is None or workspace.private in file.parents  # without a file: in memory


def _check(connection: Connection, workspace: Workspace, address: str, *, claim: bool) -> None:
    known, mine = marks.read(connection, MIRROR), _identity(workspace)
    if known is None and claim:
        if mine is None:
            mine = secrets.token_hex(16)
            _identify(workspace, mine)  # on disk before the catalog has it
        marks.write(connection, MIRROR, mine)
    if known is not None and mine != known:
        raise CatalogError(
            f"catalog {address}: belongs to another directory than {workspace.directory}. Name "
            "another catalog in mirror.catalog: each mirror needs its own. If this directory is "
            f"that very mirror, moved or restored, write {known} to "
            f"{_file(workspace, _IDENTITY)} and run 'pypimirror verify --repair'"
        )


def _begin(connection: Connection, workspace: Workspace, storage: Storage, shown: str) -> str:
    """Give the catalog a new generation, and note where it and the directory were not of one."""
    identity = storage.identity()
    noted = marks.read(connection, GENERATION)
    doubt = marks.read(connection, DOUBT)
    said, by = generation.said_by(str(workspace.private))
    if doubt is None and not generation.is_of(noted, None, said, identity):
        cause = _cause(noted, said, by, shown)
        marks.write(connection, DOUBT, f"{workspace.directory}: {cause}")
    fresh = generation.after(noted, said)
    marks.write(connection, GENERATION, generation.as_found(fresh, identity))
    return fresh


def _end(catalog: Catalog, storage: Storage, fresh: str) -> None:
    """Note what the directories are that this run has changed.

    Where that cannot be done, as after a kill, the next run looks at everything.
    """
    with contextlib.suppress(OSError, SQLAlchemyError, PypimirrorError, Cancelled):
        found = generation.as_found(fresh, storage.identity())
        with catalog.read() as connection:
            noted = marks.read(connection, GENERATION)
        if noted != found and (noted or "").partition(" ")[0] == fresh:
            with catalog.write() as connection:
                marks.write(connection, GENERATION, found)


def _cause(noted: str | None, said: str, by: str, shown: str) -> str:
    if said and by != shown:
        return f"the catalog {by} was used with this directory last, and it is {shown} now"
    if noted is None or not said:
        return "the catalog and this directory do not know each other"
    return (
        "a run was killed, or the catalog or this directory was put back or moved, in part or whole"
    )


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.private / name


def _identity(workspace: Workspace) -> str | None:
    """Return which mirror a directory says it is; None where it says nothing."""
    file = _file(workspace, _IDENTITY)
    with told(file):
        try:
            return regular.read(str(file), most=_MOST).decode().strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None


def _identify(workspace: Workspace, identity: str) -> None:
    """Have a directory say from now on, also after a power cut, which mirror it is."""
    fresh = _fresh(workspace, _IDENTITY, f"{identity}\n")
    with told(fresh):
        sync_file(fresh)
        fresh.replace(_file(workspace, _IDENTITY))
        sync_directory(str(workspace.private))


def _say(workspace: Workspace, fresh: str, shown: str) -> None:
    """Have a directory say of which generation it is, by which catalog."""
    new = _fresh(workspace, generation.FILE, f"{fresh}\n{shown}\n")
    with told(new):  # not flushed: what a power cut takes leads to a look at all, and no more
        new.replace(_file(workspace, generation.FILE))


def _fresh(workspace: Workspace, name: str, text: str) -> Path:
    new = _file(workspace, f"{name}.new")
    with told(new):
        new.unlink(missing_ok=True)  # it may be of a copy of this directory as well: a hard link
        new.write_text(text)
    return new
