"""How each kind of database is opened: settings, what begins a transaction, what errors mean.

One writer at a time on both kinds: a transaction that writes takes a lock when it begins, so that
it never fails half-way because of another, and nothing that it has read changes under it. SQLite
has such a lock; on PostgreSQL it is an advisory one, which readers need not wait for.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool, StaticPool

#: Seconds that a transaction waits for another program's; longer than any transaction of ours.
BUSY_TIMEOUT = 60.0

#: The number of our advisory lock: "pypimirr" in ASCII. Locks are a database's own.
_WRITER = 0x707970696D697272

#: What libpq is told: a server that is gone without a word is noticed in half a minute.
_PATIENCE = {
    "connect_timeout": "10",  # seconds, as the next three
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # milliseconds
    "application_name": "pypimirror",
}

#: What the server is told: when this machine is gone, its transactions end before its lease does.
_SETTINGS = f"""
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET lock_timeout = {int(BUSY_TIMEOUT * 1000)}; SET client_encoding = 'UTF8'
"""

#: What a server answers that will be there again: it starts, stops, or has no connection left.
_PASSING = ("57P01", "57P02", "57P03", "53300", "08")

#: Answers to a connection that no waiting changes. They may be in the server's own language: then
#: they are taken for passing ones, which costs time and nothing else.
_LASTING = ("authentication failed", "does not exist", "pg_hba.conf", "no password supplied")


def make(url: str) -> Engine:
    """Return an engine for the database at `url`; it connects later. Raises `SQLAlchemyError`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        # Whatever driver it names: the settings below are libpq's, and it is what is tested.
        return _postgresql(parsed.set(drivername="postgresql+psycopg"))
    return create_engine(parsed, pool_pre_ping=True)


def _sqlite(url: URL) -> Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
    if not url.database or url.database == ":memory:":
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
        # With WAL and NORMAL a power cut may lose the last commits, never consistency; the
        # work they recorded is then found on disk again (see stages.verify).
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")

    return engine


def read_only(file: Path, timeout: float = BUSY_TIMEOUT) -> Engine:
    """Return an engine for an SQLite file that is only read: also where nothing can be written.

    SQLite needs a file beside a database in WAL mode, and makes it where it is not there. Where it
    cannot, for want of permission or of space, nobody is at work either as long as there is no log:
    then the database is read as a file that does not change.
    """

    def connect() -> sqlite3.Connection:
        uri = f"{file.absolute().as_uri()}?mode=ro"
        options: dict[str, Any] = {"uri": True, "timeout": timeout, "isolation_level": None}
        connection: sqlite3.Connection
        connection = sqlite3.connect(uri, check_same_thread=False, **options)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            log = file.with_name(f"{file.name}-wal")
            if log.exists() and log.stat().st_size:
                raise
            connection = sqlite3.connect(f"{uri}&immutable=1", check_same_thread=False, **options)
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def cannot_write(error: Exception) -> bool:
    """Whether a file of SQLite cannot be written, or nothing beside it."""
    return isinstance(error, OperationalError) and any(
        sign in str(error.orig) for sign in _OF_THE_DISK
    )


def _postgresql(url: URL) -> Engine:
    told = {key: value for key, value in _PATIENCE.items() if key not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=told)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(_SETTINGS)
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if _writes(connection):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")

    return engine


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("pypimirror_write"))


def for_reading(engine: Engine) -> dict[str, Any]:
    """Return the options of a connection that reads: what it sees is one state."""
    if engine.dialect.name != "postgresql":
        return {}  # SQLite's transactions are so
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


#: What SQLite says where its disk is full, broken or not to be written.
_OF_THE_DISK = ("disk is full", "disk I/O error", "readonly database", "unable to open database")


def is_passing(error: SQLAlchemyError) -> bool:
    """Whether the database is away for a while, as during a restart."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    cause = error.orig
    if not isinstance(error, OperationalError) or not type(cause).__module__.startswith("psycopg"):
        return False
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING)
    return not any(answer in str(cause) for answer in _LASTING)


def message(error: Exception) -> str:
    """Return what went wrong and, where there is one, the way out; without any password."""
    origin = getattr(error, "orig", None) or error
    cause = str(origin).strip()
    if isinstance(error, ImportError):
        return f"{cause}; install the driver that the URL names, as with pypimirror[postgresql]"
    if isinstance(error, NoSuchModuleError | ArgumentError):
        return f"{cause}; write sqlite, or an address such as postgresql+psycopg://host/base"
    if "database is locked" in cause or getattr(origin, "sqlstate", "") == "55P03":
        return (
            f"{cause}: another program has kept it locked for {BUSY_TIMEOUT:.0f} s; end that "
            "program, and run this again"
        )
    if isinstance(error, OperationalError) and cannot_write(error):
        return f"{cause}; check the disk that it is on, its space and who may write there"
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError):
        return (
            f"{cause}; if it is damaged, restore it from a backup, or move it away and run "
            "'pypimirror adopt', which makes a new one from what is on disk"
        )
    return cause
