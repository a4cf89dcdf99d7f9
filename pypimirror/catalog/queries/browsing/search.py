"""Search projects by name and summary.

Results come in this order: the name itself, names that begin with the words, names with all the
words, names that differ in one letter, and summaries with all the words. Each word of two letters
or more may be the beginning of a longer one. Each query takes a bounded number of rows from an
index, so that the time does not grow with the mirror. With very common words, results are not the
best of all then, but those that the index has first.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from packaging.utils import canonicalize_name
from sqlalchemy import ColumnElement, Connection, func, literal_column, select, text

from pypimirror.catalog.mapping import fulltext
from pypimirror.catalog.schema import projects, summaries

#: Most rows that one query takes, most words and characters of a question.
_TAKEN, _WORDS, _LONGEST = 300, 6, 60
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
    found: dict[str, None] = {}
    for names in (
        _named(connection, [name]),
        _beginning(connection, name),
        _matching(connection, words, in_names=True),
        _named(connection, sorted(set(_variants(name)))) if len(name) >= _SHORTEST else [],
        _matching(connection, words, in_names=False),
    ):
        found |= dict.fromkeys(names)
        if len(found) >= limit:
            break
    return _with_summaries(connection, list(found)[:limit])


def _named(connection: Connection, names: Sequence[str]) -> list[str]:
    columns = projects.c
    query = select(columns.name).where(columns.name.in_(names), columns.page_on_disk.is_(True))
    return list(connection.scalars(query))


def _beginning(connection: Connection, name: str) -> list[str]:
    column: ColumnElement[str] = projects.c.name
    if connection.dialect.name == "postgresql":
        column = column.collate("C")
    query = select(projects.c.name).where(
        column >= name, column < name + _LAST, projects.c.page_on_disk.is_(True)
    )
    found = connection.scalars(query.order_by(column).limit(_TAKEN))
    return sorted(found, key=lambda each: (len(each), each))


def _matching(connection: Connection, words: Sequence[str], *, in_names: bool) -> list[str]:
    """Return names of projects with all words in their names, or in names and summaries."""
    if connection.dialect.name == "postgresql":
        vector = func.to_tsvector(
            literal_column("'simple'"),
            summaries.c.name + literal_column("' '") + summaries.c.summary,
        )
        asked = func.to_tsquery(
            "simple", " & ".join(word + ":*" * _is_beginning(word) for word in words)
        )
        is_found: ColumnElement[bool] = vector.op("@@")(asked)
    elif not fulltext.is_there(connection):
        return []
    else:
        asked_for = " ".join(f'"{word}"' + "*" * _is_beginning(word) for word in words)
        column = "{name} : " if in_names else ""
        rows = text(
            f"SELECT rowid FROM {fulltext.TABLE} "  # noqa: S608 - a constant
            f"WHERE {fulltext.TABLE} MATCH :asked LIMIT {_TAKEN}"
        )
        ids = list(connection.scalars(rows, {"asked": f"{column}({asked_for})"}))
        is_found = summaries.c.project_id.in_(ids)
    query = (
        select(summaries.c.name)
        .join(projects, projects.c.id == summaries.c.project_id)
        .where(is_found, projects.c.page_on_disk.is_(True))
        .limit(_TAKEN)
    )
    found = connection.scalars(query)
    return sorted(found, key=lambda each: (len(each), each))


def _is_beginning(word: str) -> bool:
    """Whether a word may be the beginning of another one. Single letters begin too many."""
    return len(word) > 1


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
    query = (
        select(projects.c.name, summaries.c.summary)
        .outerjoin(summaries, summaries.c.project_id == projects.c.id)
        .where(projects.c.name.in_(names))
    )
    said = {row.name: row.summary or "" for row in connection.execute(query)}
    return [Hit(name, said.get(name, "")) for name in names]
