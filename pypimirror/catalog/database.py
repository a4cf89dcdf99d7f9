"""Opening the catalog, bringing its schema up to date, and its transactions.

One writer at a time: SQLite takes its write lock when a transaction begins, so that two threads
wait for each other instead of failing half-way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from pypimirror.model import PypimirrorError
from pypimirror.project import project_directory

#: The newest migration; a test holds it against `migrations/versions`.
SCHEMA_REVISION = "0002"

_BUSY_TIMEOUT = 60.0  # seconds; longer than any transaction of ours


class CatalogError(PypimirrorError):
    """The catalog cannot be used; the message says why and what to do."""


class Catalog:
    """An open catalog. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._rehearsal: Connection | None = None
        self._rehearsal_lock = threading.RLock()
        # SQLite polls, with sleeps, for a lock that another thread holds; this one is told.
        alone = engine.dialect.name == "sqlite"
        self._writing: AbstractContextManager[Any] = threading.Lock() if alone else nullcontext()

    @classmethod
    def open(cls, url: str) -> Catalog:
        """Open the catalog at `url`, creating or migrating it when that is due.

        Raises `CatalogError` when it cannot be opened, is damaged, or belongs to a newer version.
        """
        try:
            shown = make_url(url).render_as_string(hide_password=True)
        except SQLAlchemyError as error:  # its message would show a password
            raise CatalogError("mirror.catalog: is no SQLAlchemy URL") from error
        try:
            catalog = cls(_engine(url))
            catalog._migrate(shown)
        except (SQLAlchemyError, ImportError) as error:
            cause = getattr(error, "orig", None) or error
            raise CatalogError(
                f"catalog {shown}: cannot be used: {cause}{_way_out(error)}"
            ) from error
        return catalog

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; what it reads is one state of the catalog."""
        if self._rehearsal is not None:
            with self._rehearsal_lock:
                yield self._rehearsal
            return
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose changes are committed at the end, or not at all."""
        if self._rehearsal is not None:
            with self._rehearsal_lock, self._rehearsal.begin_nested():
                yield self._rehearsal
            return
        with self._writing, self.engine.connect() as connection:
            connection = connection.execution_options(pypimirror_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def rehearse(self) -> Iterator[None]:
        """Roll back, at the end, everything that is written meanwhile: how a dry run works."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(pypimirror_write=True)
            transaction = connection.begin()
            self._rehearsal = connection
            try:
                yield
            finally:
                self._rehearsal = None
                transaction.rollback()

    def _migrate(self, shown: str) -> None:
        with self.engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            current = None
            if "alembic_version" in tables:
                current = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if current == SCHEMA_REVISION:
            return
        if current is None and "files" in tables:
            raise CatalogError(f"catalog {shown}: is not pypimirror's; name another one")
        upgrade(self.engine, current, shown)


def is_absent(url: str) -> bool:
    """Whether `url` names an SQLite file that is not there, and that opening it would make."""
    file = sqlite_file(url)
    return file is not None and not file.exists()


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite catalog; None where the catalog is no file."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        return None  # for `Catalog.open` to say
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def _way_out(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "; install the driver that the URL names"
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError):
        return (
            "; if it is damaged, restore it from a backup, or move it away: the next sync makes "
            "a new one and fetches every file again"
        )
    return ""


def upgrade(engine: Engine, current: str | None, shown: str) -> None:
    """Apply the migrations that the installed program carries, from revision `current`."""
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
    with engine.connect() as connection:
        connection = connection.execution_options(pypimirror_write=True)
        config.attributes["connection"] = connection
        with connection.begin():
            command.upgrade(config, "head")


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_TIMEOUT}}
    if not parsed.database or parsed.database == ":memory:":
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    engine = create_engine(parsed, **options)

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
        write = connection.get_execution_options().get("pypimirror_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
