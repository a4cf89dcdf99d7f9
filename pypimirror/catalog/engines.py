"""How each kind of database is opened: settings, how a transaction begins, and its errors.

There is one writer at a time on both kinds. A writing transaction takes a lock when it begins, so
it never fails half-way because of another one, and no data that it has read changes. SQLite has
such a lock. On PostgreSQL it is an advisory lock, for which readers need not wait.

If a process is stopped in the middle of a writing transaction, PostgreSQL ends the transaction
before others give up waiting for it. SQLite cannot do this.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    NotSupportedError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool, StaticPool

#: Seconds that a transaction waits for another program's. No transaction of ours takes so long.
BUSY_TIMEOUT = 60.0

#: The oldest SQLite that has all statements of the catalog: RETURNING came with 3.35.
OLDEST_SQLITE = (3, 35)

#: Works if an SQLite has JSON functions. They are optional before 3.38.
_NEEDS_JSON = "SELECT 1 FROM json_each('[]')"

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

#: Settings of a transaction, by the option that asks for them: one that others wait for, and that
#: waits for nothing but the database; and one that takes the first rows of an index. The server
#: counts rows only now and then, and would read and sort all of them if it believes them to be few.
_OF_TRANSACTION = {
    "pypimirror_prompt": (
        f"SET LOCAL idle_in_transaction_session_timeout = {int(IDLE_TIMEOUT * 1000)}"
    ),
    "pypimirror_by_index": (
        "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; "
        "SET LOCAL enable_sort = off"
    ),
}

#: SQL states of a server that will be back: it starts, stops, or has no free connection.
_PASSING = ("57P01", "57P02", "57P03", "53300", "08")

#: Messages of connection errors that waiting does not solve. In another language they are not
#: recognised: then the program waits without need, which only costs time.
_LASTING = ("authentication failed", "does not exist", "pg_hba.conf", "no password supplied")


def make(url: str) -> Engine:
    """Return an engine for the database at `url`. It connects later. Raises `SQLAlchemyError`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        # Ignore the driver in the URL: the settings below are for libpq, and only it is tested.
        return _postgresql(parsed.set(drivername="postgresql+psycopg"))
    return create_engine(parsed, pool_pre_ping=True)


def _sqlite(url: URL) -> Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
    if not url.database or url.database == ":memory:":
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    else:
        # A commit makes the caches of all other connections useless, so the last one used is best.
        options["pool_use_lifo"] = True
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        check_library(connection)
        connection.isolation_level = None  # SQLAlchemy begins transactions, see below
        # With WAL and NORMAL, a power cut may lose the last commits but never consistency. The
        # files of the lost commits are then found on disk again (see `pipeline.download.adopt`).
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")

    return engine


def check_library(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.NotSupportedError` if this SQLite lacks something that statements need.

    Otherwise the first such statement would fail in the middle of a run.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        fault = "is too old"
    else:
        try:
            connection.execute(_NEEDS_JSON).close()
            return
        except sqlite3.OperationalError as error:
            if "no such" not in str(error):  # the file cannot be read
                raise
            fault = "has no JSON functions"
    raise sqlite3.NotSupportedError(
        f"SQLite {sqlite3.sqlite_version} of this Python {fault}, and the catalog needs 3.35 or "
        "newer with JSON functions; use a Python with SQLite 3.38 or newer, which always has them, "
        "or a PostgreSQL database as mirror.catalog"
    )


class WriterLock:
    """The turns of the processes that write to an SQLite file.

    SQLite lets one process write at a time. Another process that wants to write sleeps up to 100 ms
    before it tries again. A lock of the operating system wakes it at once. This only saves time:
    SQLite's own lock keeps the catalog sound. In one process, one thread at a time may ask.

    The lock is on the directory, because a process that closes a database file loses SQLite's locks
    on it.
    """

    def __init__(self, file: Path) -> None:
        self._directory = file.parent
        self._descriptor = -1

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn of this process."""
        if not self._is_open() or not self._lock():
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        """Wait for the lock. Return False if the file system locks no directories, as NFS."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Free the lock. It can be taken again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_open(self) -> bool:
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
        return True


class _Unchanging(sqlite3.Connection):
    """A connection to a file that nobody changes meanwhile."""


def read_only(file: Path, timeout: float = BUSY_TIMEOUT, *, keeping: bool = False) -> Engine:
    """Return an engine that only reads an SQLite file, also if nothing can be written.

    For a database in WAL mode, SQLite needs a file beside it and creates it if it is missing. If
    SQLite cannot create it, for lack of permission or space, and there is no log, then nobody is
    writing either: the database is opened as a file that does not change.

    With `keeping`, the connection stays open until the engine is disposed of. But somebody may
    begin to write, so it never stays open to a file that does not change.
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
            options |= {"factory": _Unchanging, "check_same_thread": False}
            connection = sqlite3.connect(f"{uri}&immutable=1", **options)
        check_library(connection)
        return connection

    pool = QueuePool if keeping else NullPool
    engine = create_engine("sqlite://", creator=connect, poolclass=pool)

    @event.listens_for(engine, "checkin")
    def _let_go(connection: sqlite3.Connection | None, record: ConnectionPoolEntry) -> None:
        if isinstance(connection, _Unchanging):
            record.invalidate()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def cannot_write(error: Exception) -> bool:
    """Whether an SQLite file, or files beside it, cannot be written."""
    origin = error.orig if isinstance(error, OperationalError) else error
    return isinstance(origin, sqlite3.OperationalError) and any(
        sign in str(origin) for sign in _OF_THE_DISK
    )


def _postgresql(url: URL) -> Engine:
    settings = {key: value for key, value in _PATIENCE.items() if key not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=settings)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(_SETTINGS)
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        statements = []
        options = connection.get_execution_options()
        statements += [text for option, text in _OF_TRANSACTION.items() if options.get(option)]
        if _writes(connection):
            statements.append(f"SELECT pg_advisory_xact_lock({_WRITER})")
        if statements:
            connection.exec_driver_sql("; ".join(statements))

    return engine


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("pypimirror_write"))


def for_reading(engine: Engine) -> dict[str, Any]:
    """Return the options of a connection that reads: all its queries see one state."""
    if engine.dialect.name != "postgresql":
        return {}  # SQLite's transactions do this anyway
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


#: Messages of SQLite if its disk is full, broken or read-only.
_OF_THE_DISK = ("disk is full", "disk I/O error", "readonly database", "unable to open database")


def is_passing(error: SQLAlchemyError) -> bool:
    """Whether the database cannot be reached only for a while, as during a restart."""
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
    """Return the message of a database error, with advice if there is some, and without
    passwords.
    """
    origin = getattr(error, "orig", None) or error
    cause = str(origin).strip()
    if isinstance(error, NotSupportedError):
        return cause  # of `check_library`
    if isinstance(error, ImportError):
        return f"{cause}; install the driver that the URL names, as with pypimirror[postgresql]"
    if isinstance(error, NoSuchModuleError | ArgumentError):
        return f"{cause}; write sqlite, or an address such as postgresql+psycopg://host/base"
    if "database is locked" in cause or getattr(origin, "sqlstate", "") == "55P03":
        return (
            f"{cause}: another program has kept it locked for {BUSY_TIMEOUT:.0f} s; end that "
            "program, and run this again"
        )
    if cannot_write(error):
        return f"{cause}; check its disk, the free space and the permissions there"
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError):
        return (
            f"{cause}; if it is damaged, restore it from a backup, or move it away and run "
            "'pypimirror adopt', which makes a new one from what is on disk"
        )
    return cause
