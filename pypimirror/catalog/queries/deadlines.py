"""Queries on when time alone makes something due."""

from __future__ import annotations

from sqlalchemy import Connection, func, select
from sqlalchemy.sql import ColumnElement

from pypimirror.catalog.schema import files, projects, runs


def next_choice(connection: Connection) -> float | None:
    """Return when time next changes the selected files of a project; None: never."""
    choice = projects.c.choice_until
    return _first(connection, choice, choice.is_not(None) & projects.c.removal_cause.is_(None))


def next_wake(connection: Connection) -> float | None:
    """Return when the first waiting file may be tried again; None: none waits."""
    return _first(connection, files.c.next_try, files.c.next_try.is_not(None))


def first_withdrawn(connection: Connection) -> float | None:
    """Return when the first file was withdrawn whose bytes are still here; None: there is none."""
    return _first(connection, files.c.withdrawn_at, files.c.withdrawn_at.is_not(None))


def oldest_run(connection: Connection, since: float) -> float | None:
    """Return when the oldest run began that is not older than `since`."""
    return _first(connection, runs.c.started_at, runs.c.started_at >= since)


def count_runs(connection: Connection) -> int:
    """Return the number of runs in the history."""
    return connection.scalar(select(func.count()).select_from(runs)) or 0


def _first(
    connection: Connection, column: ColumnElement[float], of: ColumnElement[bool]
) -> float | None:
    return connection.scalar(select(func.min(column)).where(of))
