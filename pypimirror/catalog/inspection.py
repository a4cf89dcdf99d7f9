"""Inspect a catalog without changing it: nothing is created, migrated, locked or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext

from msgspec import Struct

from pypimirror.catalog import damage
from pypimirror.catalog.database import (
    SCHEMA_REVISION,
    CatalogError,
    engine_for,
    is_absent,
    revision,
    shown_url,
    sqlite_file,
)
from pypimirror.catalog.engines import errors
from pypimirror.catalog.engines.sqlite import SqliteReader
from pypimirror.catalog.mapping import sql
from pypimirror.catalog.mapping.connection import Connection, Engine, Mode
from pypimirror.catalog.queries import leases, runs
from pypimirror.catalog.queries.leases import TakenLease
from pypimirror.catalog.records import RunRecord

#: Seconds to wait for another program's lock.
_TIMEOUT = 5.0
#: Bytes of an SQLite file beyond which the indexes are not compared with their tables.
_LARGE = 1 << 30


class Inspection(Struct, frozen=True):
    """The result of inspecting a catalog."""

    revision: str | None  #: of its schema; None: no schema
    faults: tuple[str, ...]  #: faults that the database reports, else the first damaged row
    running: tuple[RunRecord, ...]  #: runs that have not ended, as far as it knows
    lease: TakenLease | None  #: the lease of a process that works on the mirror, or was killed

    @property
    def is_current(self) -> bool:
        """Whether this version can use the catalog without a migration."""
        return self.revision == SCHEMA_REVISION


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Open a connection that can only read. Raises `CatalogError`."""
    shown = shown_url(url)
    if is_absent(url):
        raise CatalogError(f"catalog {shown}: does not exist yet")
    try:
        engine = _reader(url)
        try:
            with closing(engine.begin(Mode(is_read_only=True))) as connection:
                yield connection
        finally:
            engine.close()
    except (sql.exc.SQLAlchemyError, ImportError) as error:
        raise CatalogError(f"catalog {shown}: {errors.message(error)}") from error


@contextmanager
def reading_rows(url: str) -> Iterator[Connection]:
    """Like `reading`, and raise `CatalogError` if rows are damaged."""
    shown = shown_url(url)
    with reading(url) as connection, damage.reported(shown, lambda: nullcontext(connection)):
        damage.look_through(connection, shown, at_most=damage.SMALL)
        yield connection


def _reader(url: str) -> Engine:
    file = sqlite_file(url)
    return engine_for(url) if file is None else SqliteReader(file, _TIMEOUT)


def look(url: str) -> Inspection:
    """Inspect the catalog at `url`. Raises `CatalogError`."""
    with reading(url) as connection:
        current, _ = revision(connection)
        running: list[RunRecord] = []
        lease = None
        faults = list(_faults(connection, url))
        if current == SCHEMA_REVISION and not faults:
            faults = [fault] if (fault := damage.find(connection)) is not None else []
        if current == SCHEMA_REVISION and not faults:
            running = runs.running(connection)
            lease = leases.find(connection, change=False)
        return Inspection(current, tuple(faults), tuple(running), lease)


def _faults(connection: Connection, url: str) -> Iterator[str]:
    file = sqlite_file(url)
    if file is None:
        return
    check = "quick_check" if file.stat().st_size > _LARGE else "integrity_check"
    for row in connection.rows(f"PRAGMA {check}(3)"):
        if row[0] != "ok":
            yield str(row[0])
