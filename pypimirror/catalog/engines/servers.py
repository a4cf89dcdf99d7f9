"""Databases that SQLAlchemy opens: servers of PostgreSQL, and whatever is no file of SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy.engine as alchemy_engine
from sqlalchemy import Connection as Alchemy
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from pypimirror.catalog.engines.sqlite import BUSY_TIMEOUT, check_library
from pypimirror.catalog.mapping.connection import Connection, Dialect, Engine, Mode, Values

#: Seconds that a writing transaction may do nothing, on PostgreSQL. Less than `BUSY_TIMEOUT`.
IDLE_TIMEOUT = 40.0

#: The number of our advisory lock: "pypimirr" in ASCII. Each database has its own locks.
_WRITER = 0x707970696D697272

#: Settings for libpq: it notices within half a minute that a server has disappeared.
_PATIENCE = {
    "connect_timeout": "10",  # seconds, as the next three
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # milliseconds
    "application_name": "pypimirror",
}

#: Settings for the server: if this machine disappears, its transactions end before its lease.
_SETTINGS = f"""
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET lock_timeout = {int(BUSY_TIMEOUT * 1000)}; SET client_encoding = 'UTF8'
"""

#: Of a transaction that others wait for.
_PROMPT = f"SET LOCAL idle_in_transaction_session_timeout = {int(IDLE_TIMEOUT * 1000)}"
#: Of one that takes the first rows of an index. The server counts rows only now and then, and would
#: read and sort all of them if it believes them to be few.
_BY_INDEX = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
)
_LOCK = f"SELECT pg_advisory_xact_lock({_WRITER})"


class AlchemyConnection(Connection):
    """A connection of SQLAlchemy."""

    def __init__(self, alchemy: Alchemy) -> None:
        self._alchemy = alchemy
        self.dialect = Dialect(alchemy.dialect.name)

    @property
    def alchemy(self) -> Alchemy:
        """This connection for SQLAlchemy."""
        return self._alchemy

    def rows(self, text: str, values: Values = ()) -> list[Any]:
        """Execute a query of this text, and return its rows as tuples."""
        return list(self._alchemy.exec_driver_sql(text, _given(values)).all())

    def parts(self, text: str, size: int, values: Values = ()) -> Iterator[list[Any]]:
        """Like `rows`, in lists of at most `size` rows."""
        options = {"yield_per": size}
        with self._alchemy.exec_driver_sql(
            text, _given(values), execution_options=options
        ) as result:
            for rows in result.partitions(size):
                yield list(rows)

    def run(self, text: str, values: Values = ()) -> int:
        """Execute a statement of this text, and return how many rows it changed."""
        return self._alchemy.exec_driver_sql(text, _given(values)).rowcount

    def run_many(self, text: str, rows: Sequence[Any]) -> int:
        """Execute a statement for the parameters of each row. Return how many rows changed."""
        return self._alchemy.exec_driver_sql(text, list(rows)).rowcount

    def commit(self) -> None:
        """Commit the transaction."""
        self._alchemy.commit()

    def close(self) -> None:
        """Roll back what is not committed, and free the connection."""
        self._alchemy.close()

    def invalidate(self) -> None:
        """Close the connection for good."""
        self._alchemy.invalidate()


class AlchemyEngine(Engine):
    """An engine of SQLAlchemy. It connects later."""

    def __init__(self, alchemy: alchemy_engine.Engine) -> None:
        self.alchemy = alchemy
        self.dialect = Dialect(alchemy.dialect.name)
        self.url = alchemy.url.render_as_string(hide_password=False)
        self.shown = alchemy.url.render_as_string(hide_password=True)

    def begin(self, mode: Mode = Mode()) -> AlchemyConnection:  # noqa: B008 - immutable
        """Begin a transaction."""
        alchemy = self.alchemy.connect()
        try:
            if mode.is_read_only and self.dialect.name == "postgresql":
                alchemy = alchemy.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            alchemy.begin()
            if statements := self._first(mode):
                alchemy.exec_driver_sql("; ".join(statements))
        except BaseException:
            alchemy.close()
            raise
        return AlchemyConnection(alchemy)

    def _first(self, mode: Mode) -> list[str]:
        """Return the statements with which a transaction begins."""
        if self.dialect.name == "sqlite":  # SQLAlchemy leaves it to the driver, which waits
            return ["BEGIN IMMEDIATE" if mode.writes else "BEGIN"]
        if self.dialect.name != "postgresql":
            return []
        asked = ((mode.is_prompt, _PROMPT), (mode.is_by_index, _BY_INDEX), (mode.writes, _LOCK))
        return [statement for is_asked, statement in asked if is_asked]

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.alchemy.dispose()


def make(url: str) -> AlchemyEngine:
    """Return an engine for the database at `url`. Raises `SQLAlchemyError`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed != URL.create("sqlite", database=parsed.database):
            raise ArgumentError("an SQLite file is sqlite:///PATH, without anything else")
        return AlchemyEngine(_in_memory(parsed))
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        # Ignore the driver in the URL: the settings below are for libpq, and only it is tested.
        return AlchemyEngine(_postgresql(parsed.set(drivername="postgresql+psycopg")))
    return AlchemyEngine(create_engine(parsed, pool_pre_ping=True))


def _in_memory(url: URL) -> alchemy_engine.Engine:
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        check_library(connection)
        connection.isolation_level = None  # transactions begin in `AlchemyEngine.begin`
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _postgresql(url: URL) -> alchemy_engine.Engine:
    settings = {key: value for key, value in _PATIENCE.items() if key not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=settings)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(_SETTINGS)
        connection.autocommit = False

    return engine


def _given(values: Values) -> Any:
    return values or None  # of an empty tuple, SQLAlchemy makes no execution at all
