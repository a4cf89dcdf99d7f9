"""Search projects by name and summary.

Results come in this order: the name itself, names that begin with the words, names with all the
words, names that differ in one letter, and summaries with all the words. The last word may be the
beginning of a longer word, and so may words of two to four letters. If nothing is found, every word
may be the beginning of a longer word.

Each query takes a bounded number of rows from an index, so that the time does not grow with the
mirror. So with very common words, the results are the first rows of the index, and not the best
ones. If a word is the beginning of longer words, a database finds all their rows before it returns
the first one. So this search is done only if whole words find too little.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from pypimirror.catalog.mapping import fulltext, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.queries.browsing import shown

#: Most rows that one query takes, most words and characters of a question.
_TAKEN, _WORDS, _LONGEST = 300, 5, 60
#: Highest id of projects that are looked at for very frequent words in names.
_OLDEST = 200_000
#: Rows of a frequent word that PostgreSQL collects, about.
_ENOUGH = 5_000
#: Shortest name for which names with another letter are looked up.
_SHORTEST = 4
#: Above all letters that a name may have.
_LAST = "\x7f"

_LETTERS = string.ascii_lowercase + string.digits + "-"


class Hit(NamedTuple):
    """A project that was found."""

    name: str
    summary: str  #: "": none is known


def search(connection: Connection, question: str, limit: int) -> list[Hit]:
    """Return at most `limit` projects, the best first."""
    words = re.findall(r"\w+", question[:_LONGEST].lower())[:_WORDS]
    if not words:
        return []
    name = canonicalize_name("-".join(words))
    found = dict.fromkeys([*shown.held(connection, [name]), *_beginning(connection, name)])
    if len(found) < limit:
        others = _matching(connection, words, limit)
        in_names = [each for each in others if _has(each, words)]
        found |= dict.fromkeys(in_names)
    if len(found) < limit and len(name) >= _SHORTEST:
        found |= dict.fromkeys(sorted(shown.held(connection, set(_variants(name)))))
    if len(found) < limit:
        found |= dict.fromkeys(others)
    if not found and any(len(word) > fulltext.PREFIX for word in words[:-1]):
        found |= dict.fromkeys(_held(connection, _ids(connection, words, words)))
    return _with_summaries(connection, list(found)[:limit])


def _has(name: str, words: Sequence[str]) -> bool:
    """Whether all words are in a name, or begin words there."""
    parts = name.split("-")
    return all(any(part.startswith(word) for part in parts) for word in words)


def _beginning(connection: Connection, name: str) -> list[str]:
    if connection.dialect.name == "postgresql" and not _is_by_bytes(connection):
        return []  # the index has another order; names are found by their words
    values = {"first": name, "last": name + _LAST}
    return _shorter_first(prepared.rows(connection, _between(), values))


@statement
def _between() -> sql.Select[Any]:
    name, on_disk = tables.projects.c.name, tables.projects.c.page_on_disk
    is_between = name >= sql.bindparam("first"), name < sql.bindparam("last")
    query = sql.select(name).where(*is_between, on_disk.is_(True))
    return query.order_by(name).limit(_TAKEN)


def _shorter_first(rows: Iterable[Sequence[str]]) -> list[str]:
    return sorted((row[0] for row in rows), key=lambda name: (len(name), name))


def _is_by_bytes(connection: Connection) -> bool:
    """Whether this database of PostgreSQL, and so its indexes, order texts by their bytes."""
    query = "SELECT datcollate FROM pg_database WHERE datname = current_database()"
    order = str(connection.rows(query)[0][0])
    return order.partition(".")[0] in ("C", "POSIX")


def _matching(connection: Connection, words: Sequence[str], limit: int) -> list[str]:
    """Return names of projects with all words in their names or summaries, shorter names first."""
    is_sqlite = connection.dialect.name == "sqlite"
    usual = [word for word in words if len(word) <= fulltext.PREFIX]
    # PostgreSQL finds all rows of a beginning first. After a longer word, it may be asked again.
    first = usual if is_sqlite or len(usual) == len(words) else []
    ids = _ids(connection, words, first)
    if (
        is_sqlite and len(ids) == _TAKEN
    ):  # there are more: those with the words in their names are better
        ids = [*_ids(connection, words, usual, in_names=True), *ids][:_TAKEN]
    elif len(ids) < limit and (words[-1] not in usual or first != usual):
        ids = _ids(connection, words, [*usual, words[-1]])
    return _held(connection, ids)


def _ids(
    connection: Connection,
    words: Sequence[str],
    beginnings: Sequence[str],
    *,
    in_names: bool = False,
) -> list[int]:
    """Return ids of projects by SQLite's index. Words in `beginnings` may begin longer words.

    With `in_names`, the words are in the names. For that, all rows with the words are read. So only
    the projects that came first are searched.
    """
    if connection.dialect.name == "postgresql":
        return _ids_postgresql(connection, words, beginnings)
    if not fulltext.is_there(connection):
        return []
    asked = " ".join(f'"{word}"' + "*" * (word in beginnings and len(word) > 1) for word in words)
    asked = f"{{name}} : ({asked})" if in_names else f"({asked})"
    values = {"asked": asked, "last": _OLDEST if in_names else sys.maxsize}
    return [row[0] for row in prepared.rows(connection, _with_words("sqlite"), values)]


def _ids_postgresql(
    connection: Connection, words: Sequence[str], beginnings: Sequence[str]
) -> list[int]:
    # The server believes that frequent words are often together, and would make the vectors of all
    # rows. It may leave out rows of a single word, of which there are enough.
    most = _ENOUGH if len(words) == 1 else 0
    connection.run(f"SET LOCAL enable_seqscan = off; SET LOCAL gin_fuzzy_search_limit = {most}")
    asked = " & ".join(word + ":*" * (word in beginnings and len(word) > 1) for word in words)
    rows = prepared.rows(connection, _with_words("postgresql"), {"asked": asked})
    return [row[0] for row in rows]


@statement
def _with_words(dialect: str) -> sql.Select[Any]:
    asked = sql.bindparam("asked", type_=sql.Text)
    if dialect == "postgresql":
        summaries = tables.summaries
        vector = sql.func.to_tsvector(
            sql.literal_column("'simple'"),
            summaries.c.name + sql.literal_column("' '") + summaries.c.summary,
        )
        is_found = vector.op("@@")(sql.func.to_tsquery(sql.literal_column("'simple'"), asked))
        return sql.select(summaries.c.project_id).where(is_found).limit(_TAKEN)
    words, number = sql.table(fulltext.TABLE), sql.column("rowid", sql.Integer)
    is_match = sql.column(fulltext.TABLE).match(asked)
    query = sql.select(number).select_from(words)
    return query.where(is_match, number <= sql.bindparam("last")).limit(_TAKEN)


def _held(connection: Connection, ids: Sequence[int]) -> list[str]:
    if not ids:
        return []
    return _shorter_first(prepared.rows(connection, _with_page(), {"ids": ids}))


@statement
def _with_page() -> sql.Select[Any]:
    projects, summaries = tables.projects, tables.summaries
    return (
        sql.select(summaries.c.name)
        .join(projects, projects.c.id == summaries.c.project_id)
        .where(among(summaries.c.project_id), projects.c.page_on_disk.is_(True))
    )


def _variants(name: str) -> Iterator[str]:
    """Yield all names that differ in one letter: missing, added, wrong, or two exchanged."""
    name = name[:40]
    for n in range(len(name) + 1):
        head, rest = name[:n], name[n:]
        if rest:
            yield head + rest[1:]
        if len(rest) > 1:
            yield head + rest[1] + rest[0] + rest[2:]
        for letter in _LETTERS:
            yield head + letter + rest
            if rest:
                yield head + letter + rest[1:]


def _with_summaries(connection: Connection, names: Sequence[str]) -> list[Hit]:
    if not names:
        return []
    rows = prepared.rows(connection, _summaries(), {"names": names})
    said = {row[0]: row[1] or "" for row in rows}
    return [Hit(name, said.get(name, "")) for name in names]


@statement
def _summaries() -> sql.Select[Any]:
    projects, summaries = tables.projects, tables.summaries
    return (
        sql.select(projects.c.name, summaries.c.summary)
        .outerjoin(summaries, summaries.c.project_id == projects.c.id)
        .where(among(projects.c.name, "names"))
    )


def merge(connection: Connection, *, first: bool) -> bool:
    """Make searches faster after very many changes, a step at a time; `first` is the first step.

    Return whether there may be more to do. PostgreSQL does this by itself.
    """
    if connection.dialect.name != "sqlite" or not fulltext.is_there(connection):
        return False
    return fulltext.merge(connection, first=first)
