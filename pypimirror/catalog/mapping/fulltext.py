"""The index of words of an SQLite catalog: a table of FTS5 that triggers keep up to date.

PostgreSQL has an index of its own for this. An SQLite without FTS5 has no index of words; then a
search finds only names.
"""

from __future__ import annotations

from pypimirror.catalog.engines.sqlite import SqliteConnection
from pypimirror.catalog.mapping import sql
from pypimirror.catalog.mapping.connection import Connection

#: The table. It stores words only; the texts are in `summaries`. Its rows have the same numbers.
TABLE = "summaries_words"
#: Beginnings of words up to this length are in the index as if they were words.
PREFIX = 4
#: Pages of the index that one step of `merge` writes, in about 0.2 seconds.
_STEP = 2000

_ADD = "INSERT INTO {table}(rowid, name, summary) VALUES (new.project_id, new.name, new.summary);"
_REMOVE = (
    "INSERT INTO {table}({table}, rowid, name, summary) "
    "VALUES ('delete', old.project_id, old.name, old.summary);"
)
_CREATE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5(name, summary, content='summaries', "
    "content_rowid='project_id', tokenize='unicode61', prefix='2 3 4', detail=column)",
    "CREATE TRIGGER {table}_insert AFTER INSERT ON summaries BEGIN " + _ADD + " END",
    "CREATE TRIGGER {table}_delete AFTER DELETE ON summaries BEGIN " + _REMOVE + " END",
    "CREATE TRIGGER {table}_update AFTER UPDATE ON summaries BEGIN " + _REMOVE + _ADD + " END",
)


def create(connection: Connection) -> None:
    """Create the index, if this SQLite can."""
    if has_fts5(connection):
        for statement in _CREATE:
            connection.run(statement.format(table=TABLE))


def has_fts5(connection: Connection) -> bool:
    """Whether this SQLite has FTS5."""
    ((found,),) = connection.rows("SELECT sqlite_compileoption_used('ENABLE_FTS5')")
    return bool(found)


def is_there(connection: Connection) -> bool:
    """Whether the catalog has the index, and this SQLite can read it."""
    try:
        connection.rows(f"SELECT rowid FROM {TABLE} LIMIT 0")  # noqa: S608 - a constant
    except sql.exc.OperationalError:
        return False
    return True


def merge(connection: Connection, *, first: bool) -> bool:
    """Do a step of merging the parts of the index. Return whether there may be more to do.

    Each transaction adds a part, and a search reads all of them. Only the `first` step decides what
    to merge: all parts of that moment.
    """
    assert isinstance(connection, SqliteConnection)
    before = connection.raw.total_changes
    # As the documentation of FTS5 has it: with a negative number, all parts become one.
    pages = -_STEP if first else _STEP
    step = f"INSERT INTO {TABLE}({TABLE}, rank) VALUES ('merge', {pages})"  # noqa: S608 - constants
    connection.run(step)
    return connection.raw.total_changes - before > 1
