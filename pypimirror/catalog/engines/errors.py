"""What errors of a database mean, and what to do about them."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from pypimirror.catalog.engines.sqlite import BUSY_TIMEOUT
from pypimirror.catalog.mapping import sql

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError as SQLAlchemyError
else:

    def __getattr__(name: str) -> Any:
        if name == "SQLAlchemyError":  # imported when something is raised, not before
            return sql.exc.SQLAlchemyError
        raise AttributeError(name)


#: SQL states of a server that will be back: it starts, stops, or has no free connection.
_PASSING = ("57P01", "57P02", "57P03", "53300", "08")

#: Messages of connection errors that waiting does not solve. In another language they are not
#: recognised: then the program waits without need, which only costs time.
_LASTING = ("authentication failed", "does not exist", "pg_hba.conf", "no password supplied")


def cannot_write(error: Exception) -> bool:
    """Whether an SQLite file, or files beside it, cannot be written."""
    origin = error.orig if isinstance(error, sql.exc.OperationalError) else error
    return isinstance(origin, sqlite3.OperationalError) and any(
        sign in str(origin) for sign in _OF_THE_DISK
    )


#: Messages of SQLite if its disk is full, broken or read-only.
_OF_THE_DISK = ("disk is full", "disk I/O error", "readonly database", "unable to open database")


def is_passing(error: sql.exc.SQLAlchemyError) -> bool:
    """Whether the database cannot be reached only for a while, as during a restart."""
    if not isinstance(error, sql.exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    cause = error.orig
    if not isinstance(error, sql.exc.OperationalError) or not type(cause).__module__.startswith(
        "psycopg"
    ):
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
    if isinstance(error, sql.exc.NotSupportedError):
        return cause  # of `check_library`
    if isinstance(error, ImportError):
        return f"{cause}; install the driver that the URL names, as with pypimirror[postgresql]"
    if isinstance(error, sql.exc.NoSuchModuleError | sql.exc.ArgumentError):
        return f"{cause}; write sqlite, or an address such as postgresql+psycopg://host/base"
    if "database is locked" in cause or getattr(origin, "sqlstate", "") == "55P03":
        return (
            f"{cause}: another program has kept it locked for {BUSY_TIMEOUT:.0f} s; end that "
            "program, and run this again"
        )
    if cannot_write(error):
        return f"{cause}; check its disk, the free space and the permissions there"
    if isinstance(error, sql.exc.DatabaseError) and not isinstance(error, sql.exc.OperationalError):
        return (
            f"{cause}; if it is damaged, restore it from a backup, or move it away and run "
            "'pypimirror adopt', which makes a new one from what is on disk"
        )
    return cause
