"""Inspect a catalog without changing it: nothing is created, migrated, locked or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from msgspec import Struct
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from pypimirror.catalog import damage, engines
from pypimirror.catalog.database import (
    SCHEMA_REVISION,
    CatalogError,
    is_absent,
    sqlite_file,
)
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
    shown = _shown(url)
    if is_absent(url):
        raise CatalogError(f"catalog {shown}: does not exist yet")
    try:
        engine = _reader(url)
        try:
            with engine.connect() as connection:
                yield connection.execution_options(**engines.for_reading(engine))
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise CatalogError(f"catalog {shown}: {engines.message(error)}") from error


@contextmanager
def reading_rows(url: str) -> Iterator[Connection]:
    """Like `reading`, and raise `CatalogError` if rows are damaged."""
    shown = _shown(url)
    with reading(url) as connection, damage.reported(shown, lambda: nullcontext(connection)):
        damage.look_through(connection, shown, at_most=damage.SMALL)
        yield connection


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError as error:  # its message would show a password
        raise CatalogError("mirror.catalog: is not an SQLAlchemy URL") from error


def _reader(url: str) -> Engine:
    file = sqlite_file(url)
    if file is None:
        return engines.make(url)

    return engines.read_only(file, _TIMEOUT)


def look(url: str) -> Inspection:
    """Inspect the catalog at `url`. Raises `CatalogError`."""
    with reading(url) as connection:
        tables = inspect(connection).get_table_names()
        revision = None
        if "alembic_version" in tables:
            revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        running: list[RunRecord] = []
        lease = None
        faults = list(_faults(connection, url))
        if revision == SCHEMA_REVISION and not faults:
            faults = [fault] if (fault := damage.find(connection)) is not None else []
        if revision == SCHEMA_REVISION and not faults:
            running = runs.running(connection)
            lease = leases.find(connection, change=False)
        return Inspection(revision, tuple(faults), tuple(running), lease)


def _faults(connection: Connection, url: str) -> Iterator[str]:
    file = sqlite_file(url)
    if file is None:
        return
    check = "quick_check" if file.stat().st_size > _LARGE else "integrity_check"
    for row in connection.exec_driver_sql(f"PRAGMA {check}(3)"):
        if row[0] != "ok":
            yield str(row[0])
