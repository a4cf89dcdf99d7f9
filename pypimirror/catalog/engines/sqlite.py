"""SQLite files: how they are opened, and their connections.

Nothing here needs SQLAlchemy, which takes longer to import than a run takes that finds nothing to
do. A statement of SQLAlchemy is executed by a connection of its own that borrows ours.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pypimirror.catalog.mapping import sql
from pypimirror.catalog.mapping.connection import Connection, Dialect, Engine, Mode, Values

T = TypeVar("T")

SQLITE = Dialect("sqlite")

#: Seconds that a transaction waits for another program's. No transaction of ours takes so long.
BUSY_TIMEOUT = 60.0

#: The oldest SQLite that has all statements of the catalog: RETURNING came with 3.35.
OLDEST_SQLITE = (3, 35)

#: Works if an SQLite has JSON functions. They are optional before 3.38.
_NEEDS_JSON = "SELECT 1 FROM json_each('[]')"

#: Statements that each connection keeps prepared: a sync and what is asked for beside it.
_TEXTS = 300

#: Connections that stay open for the next transactions.
_MOST_IDLE = 5


class _Raw(sqlite3.Connection):
    """A connection of the driver that SQLAlchemy only borrows: it can neither end a transaction nor
    close the connection.
    """

    is_unchanging = False  #: the file was opened as one that nobody changes

    def commit(self) -> None:
        """Do nothing: the transaction is not SQLAlchemy's."""

    def rollback(self) -> None:
        """Do nothing: the transaction is not SQLAlchemy's."""

    def close(self) -> None:
        """Do nothing: the connection is not SQLAlchemy's."""

    def create_function(self, *_args: Any, **_options: Any) -> None:
        """Do nothing: no statement of ours needs the functions that SQLAlchemy brings.

        It brings them each time that it borrows the connection, and SQLite cannot replace one while
        a query is read.
        """

    def shut(self) -> None:
        """Close the connection."""
        super().close()


class SqliteConnection(Connection):
    """A connection to an SQLite file."""

    dialect = SQLITE

    def __init__(self, engine: SqliteFile, raw: _Raw, home: list[_Raw]) -> None:
        self.raw = raw
        self._engine = engine
        self._home: list[_Raw] | None = home
        self._alchemy: sql.Connection | None = None
        #: Those of `parts` that somebody still reads, or has stopped reading half-way.
        self._cursors: set[sqlite3.Cursor] = set()

    @property
    def alchemy(self) -> sql.Connection:
        """This connection for SQLAlchemy, in the same transaction."""
        if self._alchemy is None:
            self._alchemy = self._engine.lend(self.raw)
        return self._alchemy

    def rows(self, text: str, values: Values = ()) -> list[Any]:
        """Execute a query of this text, and return its rows as tuples."""
        return _do(lambda: self.raw.execute(text, values).fetchall(), text, values)

    def parts(self, text: str, size: int, values: Values = ()) -> Iterator[list[Any]]:
        """Like `rows`, in lists of at most `size` rows."""
        cursor = _do(lambda: self.raw.execute(text, values), text, values)
        self._cursors.add(cursor)
        try:
            while rows := _do(lambda: cursor.fetchmany(size), text, values):
                yield rows
        finally:
            if cursor in self._cursors:
                self._cursors.remove(cursor)
                cursor.close()

    def run(self, text: str, values: Values = ()) -> int:
        """Execute a statement of this text, and return how many rows it changed."""
        return _do(lambda: self.raw.execute(text, values).rowcount, text, values)

    def run_many(self, text: str, rows: Sequence[Any]) -> int:
        """Execute a statement for the parameters of each row. Return how many rows changed."""
        return _do(lambda: self.raw.executemany(text, rows).rowcount, text, rows)

    def commit(self) -> None:
        """Commit the transaction."""
        self._end_queries()
        _do(lambda: self.raw.execute("COMMIT"), "COMMIT", ())

    def close(self) -> None:
        """Roll back what is not committed, and free the connection."""
        if self._alchemy is not None:
            self._alchemy.close()
            self._alchemy = None
        self._end_queries()
        if (home := self._home) is not None:
            self._home = None
            self._engine.take_back(self.raw, home)

    def invalidate(self) -> None:
        """Close the connection for good."""
        self._end_queries()
        self.raw.shut()

    def _end_queries(self) -> None:
        """End the queries that nobody has read to the end.

        Else the next transaction would see the state that they see, and could not write.
        """
        while self._cursors:
            self._cursors.pop().close()


def _do(action: Callable[[], T], text: str, values: Any) -> T:
    """Do something with the driver. Its errors become those of SQLAlchemy."""
    try:
        return action()
    except sqlite3.Error as error:
        found = sql.exc.DBAPIError.instance(text, values, error, sqlite3.Error)
        raise found from error


class SqliteFile(Engine):
    """A file of SQLite that this process may write to."""

    dialect = SQLITE

    def __init__(self, file: Path) -> None:
        self.file = file.absolute()
        self.url = f"sqlite:///{quote(str(self.file))}"
        self.shown = f"sqlite:///{file}"
        self._idle: list[_Raw] = []  #: a new list after each `close`
        self._lending = threading.Lock()
        self._lent: _Raw | None = None

    def begin(self, mode: Mode = Mode()) -> SqliteConnection:  # noqa: B008 - immutable
        """Begin a transaction."""
        return _do(lambda: self._begin(mode), "BEGIN", ())

    def _begin(self, mode: Mode) -> SqliteConnection:
        home = self._idle
        try:
            # A commit makes the caches of all other connections useless: the last one used is best.
            raw = home.pop()
        except IndexError:
            raw = self._open()
        try:
            raw.execute("BEGIN IMMEDIATE" if mode.writes else "BEGIN")
        except BaseException:
            raw.shut()
            raise
        return SqliteConnection(self, raw, home)

    def _open(self) -> _Raw:
        raw = _connect(str(self.file), BUSY_TIMEOUT)
        try:
            check_library(raw)
            # With WAL and NORMAL, a power cut may lose the last commits but never consistency. The
            # files of the lost commits are then found on disk again (`pipeline.download.adopt`).
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute("PRAGMA synchronous = NORMAL")
            raw.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            raw.shut()
            raise
        return raw

    def take_back(self, raw: _Raw, home: list[_Raw]) -> None:
        """Roll back what is not committed, and keep the connection for another transaction.

        `home` is where it is kept, unless the engine was closed in the meantime.
        """
        try:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
        except sqlite3.Error:  # it was invalidated, or is broken
            raw.shut()
            return
        if home is self._idle and self._is_kept(raw):
            home.append(raw)
        else:
            raw.shut()

    def _is_kept(self, raw: _Raw) -> bool:  # noqa: ARG002
        return len(self._idle) < _MOST_IDLE

    def close(self) -> None:
        """Close the connections that are not in use, and others when they are given back."""
        idle, self._idle = self._idle, []
        for raw in idle:
            raw.shut()

    def lend(self, raw: _Raw) -> sql.Connection:
        """Return a connection of SQLAlchemy that borrows one of ours."""
        with self._lending:
            self._lent = raw
            try:
                return self._alchemy.connect()
            finally:
                self._lent = None

    @cached_property
    def _alchemy(self) -> sql.Engine:
        def lent() -> _Raw:
            assert self._lent is not None
            return self._lent

        return sql.create_engine("sqlite://", creator=lent, poolclass=sql.NullPool)


class SqliteReader(SqliteFile):
    """A file of SQLite that is only read, also if nothing can be written.

    For a database in WAL mode, SQLite needs a file beside it and creates it if it is missing. If
    SQLite cannot create it, for lack of permission or space, and there is no log, then nobody is
    writing either: the database is opened as a file that does not change.

    With `keeping`, connections stay open until the engine is closed. But somebody may begin to
    write, so none stays open to a file that does not change.
    """

    def __init__(self, file: Path, timeout: float = BUSY_TIMEOUT, *, keeping: bool = False) -> None:
        super().__init__(file)
        self._timeout = timeout
        self._keeping = keeping

    def _open(self) -> _Raw:
        uri = f"{self.file.as_uri()}?mode=ro"
        raw = _connect(uri, self._timeout, uri=True)
        try:
            try:
                raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:
                log = self.file.with_name(f"{self.file.name}-wal")
                if log.exists() and log.stat().st_size:
                    raise
                raw.shut()
                raw = _connect(f"{uri}&immutable=1", self._timeout, uri=True)
                raw.is_unchanging = True
            check_library(raw)
        except BaseException:
            raw.shut()
            raise
        return raw

    def _is_kept(self, raw: _Raw) -> bool:
        return self._keeping and not raw.is_unchanging and super()._is_kept(raw)


def _connect(name: str, timeout: float, *, uri: bool = False) -> _Raw:
    return sqlite3.connect(
        name,
        timeout=timeout,
        uri=uri,
        cached_statements=_TEXTS,
        factory=_Raw,
        isolation_level=None,  # transactions begin and end here, not in the driver
        check_same_thread=False,
    )


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
