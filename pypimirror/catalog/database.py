"""Open the catalog, bring its schema up to date, and run its transactions.

`engines` knows the differences between databases. If a database cannot be reached for a while, a
transaction waits for it before it begins. A transaction that is interrupted fails, except in
`Catalog.apply`, which repeats it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

from pypimirror.catalog.engines import errors
from pypimirror.catalog.engines.sqlite import SqliteConnection, SqliteFile, SqliteReader, WriterLock
from pypimirror.catalog.mapping import fulltext, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection as Connection
from pypimirror.catalog.mapping.connection import Engine, Mode
from pypimirror.domain.model import PypimirrorError
from pypimirror.system.project import project_directory

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The newest migration. A test compares it with `migrations/versions`.
SCHEMA_REVISION = "0016"

#: Seconds that a run waits for a database that cannot be reached: less than its lease lasts.
PATIENCE = 40.0
#: Seconds that opening waits: no work is lost yet.
_OPENING = 10.0
#: Seconds between two attempts: first and longest pause.
_FIRST_PAUSE, _PAUSE = 0.05, 1.0

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"

#: Rows that are copied at once.
_TOGETHER = 5_000


class CatalogError(PypimirrorError):
    """The catalog cannot be used. The message says why and what to do."""


class Catalog:
    """An open catalog. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: The name of the catalog in messages: its URL without a password.
        self.shown = engine.shown
        #: Called when a writing transaction begins and before it commits. It raises an error if
        #: this process may no longer write.
        self.guard: Callable[[], None] = lambda: None
        #: Called at the beginning of a writing transaction, in it. It raises an error if others may
        #: have taken over the work of this process. Until the transaction ends, nobody takes it.
        self.fence: Callable[[Connection], None] = lambda _: None
        #: Returns a context to enter while a thread reads. The thread may lose its turn there.
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self._patience = _OPENING
        self._given_up = threading.Event()
        # Without this lock, a thread would wait for another one inside the database, which polls or
        # blocks a connection. This lock wakes it up at once.
        self._writing = threading.Lock()
        #: Its file; None if it is not a file of SQLite.
        self.file = engine.file if isinstance(engine, SqliteFile) else None
        # Between processes, SQLite polls, too.
        self._writer_lock = None if self.file is None else WriterLock(self.file)
        self._turn = nullcontext if self._writer_lock is None else self._writer_lock.taken

    @classmethod
    def open(cls, url: str, *, reading: bool = False, migrating: bool = True) -> Catalog:
        """Open the catalog at `url`. Create or migrate it if necessary.

        With `reading`, a catalog that cannot be written is opened as it is. Without `migrating`,
        it must have the schema of this version: somebody else works on it. Raises `CatalogError` if
        it cannot be opened, is damaged, or belongs to a newer version.
        """
        shown = shown_url(url)
        try:
            catalog = cls(engine_for(url))
            if migrating:
                catalog._migrate(shown)
            else:
                catalog._check_revision(shown, "use the version that works on it")
        except (sql.exc.SQLAlchemyError, ImportError) as error:
            file = sqlite_file(url)
            if not (reading and file and os.access(file, os.R_OK) and errors.cannot_write(error)):
                message = errors.message(error)
                raise CatalogError(f"catalog {shown}: cannot be used: {message}") from error
            catalog = cls._as_it_is(file, shown)
        catalog._patience = PATIENCE
        return catalog

    @classmethod
    def open_for_reading(cls, url: str) -> Catalog:
        """Open the catalog at `url` so that nothing in it can be changed. Use only `read`.

        It does not wait for an unreachable database, and keeps its connection until it is closed.
        Raises `CatalogError` as `open` does, and `sql.exc.SQLAlchemyError`.
        """
        file = sqlite_file(url)
        if file is not None:
            catalog = cls._as_it_is(file, shown_url(url), keeping=True)
        else:
            catalog = cls.open(url, migrating=False)
        catalog._patience = 0.0
        return catalog

    @classmethod
    def _as_it_is(cls, file: Path, shown: str, *, keeping: bool = False) -> Catalog:
        catalog = cls(SqliteReader(file, keeping=keeping))
        try:
            catalog._check_revision(
                shown, "this user cannot change it: first run this version as its owner"
            )
        except sql.exc.SQLAlchemyError as error:
            message = errors.message(error)
            raise CatalogError(f"catalog {shown}: cannot be read: {message}") from error
        return catalog

    def _check_revision(self, shown: str, remedy: str) -> None:
        current, _ = self._revision(shown)
        if current is None:
            raise CatalogError(
                f"catalog {shown}: has no tables yet; the process that makes it is still at work, "
                "or was ended"
            )
        if current != SCHEMA_REVISION:
            raise CatalogError(
                f"catalog {shown}: has schema {current}, but this version needs {SCHEMA_REVISION}; "
                f"{remedy}"
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.close()
        if self._writer_lock is not None:
            self._writer_lock.close()

    def give_up(self) -> None:
        """Stop waiting for an unreachable database. Any thread or signal handler may call it."""
        self._given_up.set()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading. All its queries see the same state of the catalog."""
        with self.waiting(), self._transaction(Mode(is_read_only=True)) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection whose changes are all committed at the end, or none of them."""
        with self._writing, self._turn():
            self.guard()
            with self._transaction(Mode(writes=True, is_prompt=True)) as connection:
                self.fence(connection)
                yield connection
                self.guard()

    def apply(self, change: Callable[[Connection], T], *, aside: bool = False) -> T:
        """Call `change` in a writing transaction, commit, and return its result.

        If the database is lost in between, `change` is called again. So it must do no harm if the
        first transaction was committed after all. With `aside`, the transaction is one of `aside`.
        """
        begin = partial(self.aside, self._patience) if aside else self.write
        for _ in range(2):
            try:
                with begin() as connection:
                    return change(connection)
            except sql.exc.SQLAlchemyError as error:
                if not errors.is_passing(error):
                    raise
                log.warning("the catalog was lost: %s; trying again", errors.message(error))
        with begin() as connection:
            return change(connection)

    @contextmanager
    def aside(self, patience: float = 0.0) -> Iterator[Connection]:
        """Open a connection for a small change that does not wait for other writers, if possible.

        It waits up to `patience` seconds for an unreachable database. Neither the guard nor the
        fence is asked.
        """
        alone = self.engine.dialect.name == "sqlite"
        mode = Mode(writes=alone, is_prompt=True, is_by_index=True)
        waiting = self._writing if alone else nullcontext()
        with waiting, self._turn(), self._transaction(mode, patience) as connection:
            yield connection

    @contextmanager
    def _transaction(self, mode: Mode, patience: float | None = None) -> Iterator[Connection]:
        patience = self._patience if patience is None else patience
        # Closing the connection rolls back uncommitted changes.
        with closing(self._begin(mode, patience)) as connection:
            yield connection
            try:
                connection.commit()
            except BaseException:
                # The transaction is over, but the database may still keep its locks.
                connection.invalidate()
                raise

    def _begin(self, mode: Mode, patience: float) -> Connection:
        """Return a connection with a begun transaction. Wait for an unreachable database."""
        last = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return self.engine.begin(mode)
            except sql.exc.SQLAlchemyError as error:
                if time.monotonic() > last or not errors.is_passing(error):
                    raise
                if pause == _FIRST_PAUSE:
                    log.warning("waiting for the catalog: %s", errors.message(error))
                if self._given_up.wait(pause):
                    raise
            pause = min(2 * pause, _PAUSE)

    def _revision(self, shown: str) -> tuple[str | None, bool]:
        """Return the revision of the schema, and whether any tables exist."""
        with self._transaction(Mode()) as connection:
            current, names = revision(connection)
        if current is None and "files" in names:
            raise CatalogError(f"catalog {shown}: is not pypimirror's; name another one")
        return current, bool(names)

    def _migrate(self, shown: str) -> None:
        current, used = self._revision(shown)
        if current == SCHEMA_REVISION:
            return
        with self._transaction(Mode(writes=True)) as connection:
            if used or self.engine.dialect.name != "sqlite":
                upgrade(connection, current, shown)
            else:
                create(connection)


def copy(catalog: Catalog, file: Path) -> Catalog:
    """Copy a catalog to a new SQLite file in a temporary directory, and open the copy.

    Raises `CatalogError`. Nobody waits for it: all is read in one transaction that only reads.
    """
    try:
        with catalog.read() as connection:
            if isinstance(connection, SqliteConnection):
                with closing(sqlite3.connect(file)) as target:
                    connection.raw.backup(target)
                found = Catalog.open(f"sqlite:///{file}")
            else:
                found = Catalog.open(f"sqlite:///{file}")
                try:
                    with found.write() as target_connection:
                        _copy_rows(connection, target_connection)
                except BaseException:
                    found.close()
                    raise
    except (sql.exc.SQLAlchemyError, sqlite3.Error, CatalogError) as error:
        message = errors.message(error)
        where = f"to {file}, in the directory for temporary files (TMPDIR)"
        fault = f"catalog {catalog.shown}: cannot be copied {where}: {message}"
        raise CatalogError(fault) from error
    found.shown = catalog.shown
    return found


def _copy_rows(source: Connection, target: Connection) -> None:
    for table in tables.metadata.sorted_tables:
        rows = source.execute(sql.select(table).execution_options(yield_per=_TOGETHER))
        for part in rows.mappings().partitions():
            target.execute(sql.insert(table), [dict(row) for row in part])


@contextmanager
def catalog_errors(catalog: Catalog) -> Iterator[None]:
    """Turn errors of the database into `CatalogError`."""
    try:
        yield
    except sql.exc.SQLAlchemyError as error:
        raise CatalogError(f"catalog {catalog.shown}: {errors.message(error)}") from error


def is_absent(url: str) -> bool:
    """Whether `url` names an SQLite file that does not exist and that opening would create."""
    file = sqlite_file(url)
    try:
        return file is not None and not file.exists()
    except PermissionError:
        return False  # unknown; opening it reports the error


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite catalog; None if the catalog is not a file."""
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and path and not set(path) & set("?#%:"):
        return Path(path)  # SQLAlchemy would say the same, and is slow to import
    try:
        parsed = sql.make_url(url)
    except sql.exc.SQLAlchemyError:
        return None  # `Catalog.open` reports the error
    is_plain = parsed == sql.URL.create("sqlite", database=parsed.database)
    if not is_plain or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def shown_url(url: str) -> str:
    """Return an URL of a catalog as messages show it, without its password. Raises
    `CatalogError`.
    """
    file = sqlite_file(url)
    if file is not None:
        return f"sqlite:///{file}"
    try:
        return sql.make_url(url).render_as_string(hide_password=True)
    except sql.exc.SQLAlchemyError as error:  # its message would show a password
        raise CatalogError("mirror.catalog: is not an SQLAlchemy URL") from error


def engine_for(url: str) -> Engine:
    """Return an engine for the database at `url`. It connects later. Raises `SQLAlchemyError`."""
    file = sqlite_file(url)
    if file is not None:
        return SqliteFile(file)
    sql.load()
    from pypimirror.catalog.engines import servers

    return servers.make(url)


def revision(connection: Connection) -> tuple[str | None, list[str]]:
    """Return the revision of the schema, if there is one, and the names of the tables."""
    if connection.dialect.name == "sqlite":
        names = [row[0] for row in connection.rows(_TABLES)]
    else:
        names = sql.inspect(connection.alchemy).get_table_names()
    if "alembic_version" not in names:
        return None, names
    found = connection.rows("SELECT version_num FROM alembic_version")
    return (found[0][0] if found else None), names


def create(connection: Connection) -> None:
    """Create the tables of all migrations in an empty SQLite file, in a tenth of their time."""
    if revision(connection)[1]:
        return  # another process was faster
    for statement in prepared.schema():
        connection.run(statement)
    fulltext.create(connection)
    connection.run(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.run("INSERT INTO alembic_version VALUES (?)", (SCHEMA_REVISION,))


def upgrade(connection: Connection, current: str | None, shown: str) -> None:
    """Apply the migrations of this version, beginning after revision `current`.

    Either all are applied or none. Migrations that another process has applied meanwhile are
    skipped.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(project_directory() / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise CatalogError(
            f"catalog {shown}: was written by a newer pypimirror (schema {current}); "
            "install that version, or restore the catalog from before its upgrade"
        )
    config.attributes["connection"] = connection.alchemy
    command.upgrade(config, "head")
