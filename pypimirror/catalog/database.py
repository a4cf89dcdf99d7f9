"""Opening the catalog, bringing its schema up to date, and its transactions.

What is special about each kind of database is in `engines`. Where a database is away for a while,
a transaction waits for it before it begins; one that is cut off in the middle fails, unless it
was given to `Catalog.apply`, which repeats it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection  # the type of what `read` and `write` give
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError as SQLAlchemyError  # what a database answers with

from pypimirror.catalog import engines
from pypimirror.catalog.schema import metadata
from pypimirror.domain.model import PypimirrorError
from pypimirror.system.project import project_directory

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The newest migration; a test holds it against `migrations/versions`.
SCHEMA_REVISION = "0010"

#: Seconds that a run waits for a database which is away: less than its lease would last.
PATIENCE = 40.0
#: Seconds that opening waits, before there is anything to lose.
_OPENING = 10.0
#: Seconds between two attempts: in the beginning, and at most.
_FIRST_PAUSE, _PAUSE = 0.05, 1.0


class CatalogError(PypimirrorError):
    """The catalog cannot be used; the message says why and what to do."""


class Catalog:
    """An open catalog. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: How messages call it: its URL, without a password.
        self.shown = engine.url.render_as_string(hide_password=True)
        #: Called when a transaction that writes begins, and before it commits: whoever may not
        #: write any more is stopped here, by the error that it raises.
        self.guard: Callable[[], None] = lambda: None
        self._patience = _OPENING
        self._given_up = threading.Event()
        self._reading = engines.for_reading(engine)
        self._rehearsal: Connection | None = None
        self._rehearsal_lock = threading.RLock()
        # A database polls, or keeps a connection waiting, for a lock that another thread holds;
        # this one is told.
        self._writing = threading.Lock()

    @classmethod
    def open(cls, url: str, *, reading: bool = False) -> Catalog:
        """Open the catalog at `url`, creating or migrating it when that is due.

        With `reading`, one that this user, or the disk, does not let anybody write is opened all
        the same, as it is. Raises `CatalogError` when it cannot be opened, is damaged, or belongs
        to a newer version.
        """
        try:
            shown = make_url(url).render_as_string(hide_password=True)
        except SQLAlchemyError as error:  # its message would show a password
            raise CatalogError("mirror.catalog: is no SQLAlchemy URL") from error
        try:
            catalog = cls(engines.make(url))
            catalog._migrate(shown)
        except (SQLAlchemyError, ImportError) as error:
            file = sqlite_file(url)
            if not (reading and file and os.access(file, os.R_OK) and engines.cannot_write(error)):
                message = engines.message(error)
                raise CatalogError(f"catalog {shown}: cannot be used: {message}") from error
            catalog = cls._as_it_is(file, shown)
        catalog._patience = PATIENCE
        return catalog

    @classmethod
    def _as_it_is(cls, file: Path, shown: str) -> Catalog:
        catalog = cls(engines.read_only(file))
        catalog.shown = shown
        try:
            current, _ = catalog._revision(shown)
        except SQLAlchemyError as error:
            message = engines.message(error)
            raise CatalogError(f"catalog {shown}: cannot be read: {message}") from error
        if current != SCHEMA_REVISION:
            raise CatalogError(
                f"catalog {shown}: has schema {current}, this version {SCHEMA_REVISION}, and it "
                "cannot be changed from here: let a run of this version, by its owner, do that"
            )
        return catalog

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def give_up(self) -> None:
        """Wait no more for a database that is away; any thread or signal handler may call it."""
        self._given_up.set()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; what it reads is one state of the catalog."""
        if self._rehearsal is not None:
            with self._rehearsal_lock:
                yield self._rehearsal
            return
        with self._transaction(**self._reading) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose changes are committed at the end, or not at all."""
        if self._rehearsal is not None:
            with self._rehearsal_lock, self._rehearsal.begin_nested():
                yield self._rehearsal
            return
        with self._writing:
            self.guard()
            with self._transaction(pypimirror_write=True) as connection:
                yield connection
                self.guard()

    def apply(self, change: Callable[[Connection], T]) -> T:
        """Commit what `change` does with a connection, and return what it returns.

        It is called again when the database is lost in the middle: it must do no harm where the
        first time was committed after all.
        """
        for _ in range(2):
            try:
                with self.write() as connection:
                    return change(connection)
            except SQLAlchemyError as error:
                if self._rehearsal is not None or not engines.is_passing(error):
                    raise
                log.warning("the catalog was lost: %s; trying again", engines.message(error))
        with self.write() as connection:
            return change(connection)

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """Give a connection for a small change that waits for no writer, where that can be.

        Nor does it wait for a database that is away.
        """
        alone = self.engine.dialect.name == "sqlite"
        options = {"pypimirror_write": True} if alone else {}
        waiting = self._writing if alone else nullcontext()
        with waiting, self._transaction(patience=0, **options) as connection:
            yield connection

    @contextmanager
    def rehearse(self) -> Iterator[None]:
        """Roll back, at the end, everything that is written meanwhile: how a dry run works."""
        with self._writing, self._connect(self._patience, {"pypimirror_write": True}) as connection:
            self._rehearsal = connection
            try:
                yield
            finally:
                self._rehearsal = None
                connection.rollback()

    @contextmanager
    def _transaction(self, patience: float | None = None, **options: Any) -> Iterator[Connection]:
        patience = self._patience if patience is None else patience
        with self._connect(patience, options) as connection:
            # Closing the connection rolls back what is not committed.
            yield connection
            connection.commit()

    def _connect(self, patience: float, options: dict[str, Any]) -> Connection:
        """Return a connection in a transaction that has begun; wait for a database that is away."""
        last = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._begin(options)
            except SQLAlchemyError as error:
                if time.monotonic() > last or not engines.is_passing(error):
                    raise
                if pause == _FIRST_PAUSE:
                    log.warning("waiting for the catalog: %s", engines.message(error))
                if self._given_up.wait(pause):
                    raise
            pause = min(2 * pause, _PAUSE)

    def _begin(self, options: dict[str, Any]) -> Connection:
        connection = self.engine.connect()
        try:
            connection = connection.execution_options(**options)
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def _revision(self, shown: str) -> tuple[str | None, bool]:
        """Return the revision of the schema, and whether there are any tables."""
        current: str | None = None
        with self._transaction() as connection:
            tables = inspect(connection).get_table_names()
            if "alembic_version" in tables:
                current = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if current is None and "files" in tables:
            raise CatalogError(f"catalog {shown}: is not pypimirror's; name another one")
        return current, bool(tables)

    def _migrate(self, shown: str) -> None:
        current, used = self._revision(shown)
        if current == SCHEMA_REVISION:
            return
        with self._transaction(pypimirror_write=True) as connection:
            if used or self.engine.dialect.name != "sqlite":
                upgrade(connection, current, shown)
            else:
                create(connection)


def is_absent(url: str) -> bool:
    """Whether `url` names an SQLite file that is not there, and that opening it would make."""
    file = sqlite_file(url)
    try:
        return file is not None and not file.exists()
    except PermissionError:
        return False  # who cannot look cannot tell; opening it says why


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite catalog; None where the catalog is no file."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        return None  # for `Catalog.open` to say
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def create(connection: Connection) -> None:
    """Make in an empty SQLite file what the migrations would make, for a tenth of their time."""
    if inspect(connection).get_table_names():
        return  # somebody else was faster
    metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (SCHEMA_REVISION,))


def upgrade(connection: Connection, current: str | None, shown: str) -> None:
    """Apply the migrations that the installed program carries, from revision `current`.

    They are all applied or none is, and those that somebody else applied meanwhile not again.
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
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
