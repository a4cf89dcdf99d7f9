"""Detect damaged rows in a catalog: values that no version of this program has ever written.

A bad disk, a bad restore or a manual change can leave values that the database accepts and this
program never writes: text instead of a number, invalid JSON, an unknown state. The rule: **a value
that no release has written is damage of the catalog, and is reported as that**, with table, row,
column, value and the next step. It is not an error of the program, and nothing is done with the
value.

Checking a row takes some microseconds, and a catalog may have 15 million rows. So

* when a catalog is opened for work (`opened`), its small tables are checked, which takes no
  noticeable time;
* rows that become a page are checked before that, in a catalog of any size (`check`);
* after an unexpected error, all rows are checked. If none is damaged, the error stays as it is;
* `pypimirror doctor` and a full `verify` check all rows (`find`).

Free text is not checked: an upstream may send any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from math import isfinite
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from pypimirror.catalog.database import Catalog, CatalogError, catalog_errors
from pypimirror.catalog.holder import Holder
from pypimirror.catalog.mapping import sql
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.mapper import Record
from pypimirror.catalog.marks import is_fit
from pypimirror.catalog.queries import marks
from pypimirror.catalog.records import TABLES
from pypimirror.catalog.states import (
    EXECUTORS,
    RUN_STATES,
    WORKER_STATES,
    Cause,
    IllegalMoveError,
    State,
)
from pypimirror.domain import moments
from pypimirror.domain.errors import PypimirrorError
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import ProjectStatus, Reason, Stage

#: The next step for the user.
REMEDY = (
    "Restore it from a backup, or move it away and run 'pypimirror adopt', which makes a new one "
    "from what is on disk"
)

#: Most rows of a table that is checked when the catalog is opened: a few milliseconds, as measured.
SMALL = 1000

_AT_ONCE = 1000  #: rows that are read at once

_Test = Callable[[Any], bool]

_API = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]*")


class _Rule(NamedTuple):
    """The valid values of one column."""

    column: str
    kinds: frozenset[type]
    fits: _Test | None  #: a further test of values of these types, except NULL

    def allows(self, value: Any) -> bool:
        """Whether this program may have written `value`."""
        if type(value) not in self.kinds:
            return False
        return value is None or self.fits is None or self.fits(value)

    def allows_all(self, values: Sequence[Any]) -> bool:
        """Whether this program may have written all of them; several times as fast as one by one.

        A test is made once for each distinct value.
        """
        kinds = set(map(type, values))
        if not kinds <= self.kinds:
            return False
        return self.fits is None or all(map(self.fits, set(values) - {None}))


def _decodes(kind: Any) -> _Test:
    return _reads(msgspec.json.Decoder(kind).decode)


def _reads(parse: Callable[[Any], object]) -> _Test:
    def test(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, RecursionError):
            return False
        return True

    return test


def _one_of(words: Iterable[Any]) -> _Test:
    return frozenset(w.value if isinstance(w, Enum) else w for w in words).__contains__


def _long(*lengths: int) -> _Test:
    return lambda value: len(value) in lengths


def _is_natural(value: int) -> bool:
    return value >= 0


def _is_component(text: str) -> bool:
    """Whether a text is a single component of a path."""
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text


def _is_below(text: str) -> bool:
    """Whether a text is a path below the mirror root."""
    return all(map(_is_component, text.split("/")))


def _are_digests(text: str) -> bool:
    try:
        found = msgspec.json.decode(text, type=dict[str, str])
    except ValueError:
        return False
    return all(_HEX.fullmatch(digest) for digest in found.values())


def _is_api(text: str) -> bool:
    return _API.fullmatch(text) is not None


def _is_moment(text: str) -> bool:
    return moments.in_utc(text) is not None


_OBJECT, _TEXTS = _decodes(dict[str, Any]), _decodes(list[str])
_COUNTS = _decodes(dict[str, int])

#: The tests of columns, besides the type of the column.
_FITS: Mapping[str, _Test] = {
    "projects.name": _is_component,
    "projects.serial": _is_natural,
    "projects.page_serial": _is_natural,
    "projects.listed_serial": _is_natural,
    "projects.api_version": _is_api,
    "projects.status": _one_of(ProjectStatus),
    "projects.versions": _TEXTS,
    "projects.extra": _OBJECT,
    "projects.facts": _decodes(dict[str, dict[str, list[str]]]),
    "projects.removal_cause": _one_of(Cause),
    "projects.held_files": _is_natural,
    "projects.held_bytes": _is_natural,
    "projects.linked_files": _is_natural,
    "projects.page_sha256": _long(32),
    "projects.page_renderer": _is_natural,
    "files.filename": _is_component,
    "files.other_urls": _decodes(list[tuple[str, str]]),
    "files.location": _is_below,
    "files.state": _one_of(State),
    "files.size": _is_natural,
    "files.sha256": _long(32),
    "files.digests": _are_digests,
    "files.proof": range(1, 6).__contains__,  # verify.proof.Proof; a test compares both
    "files.released": _long(32),
    "files.metadata_claim": _long(0, 32),
    "files.metadata_sha256": _long(32),
    "files.upload_time": _is_moment,
    "files.provenance_sha256": _long(32),
    "files.extra": _OBJECT,
    "files.removal_cause": _one_of(Cause),
    "files.attempts": _is_natural,
    "refusals.reason": _one_of(Reason),
    "lists.serial": _is_natural,
    "requirements.digest": _long(32),
    "requirements.found": _decodes(Requirements),
    "needs.project": _is_component,
    "needs.versions": _TEXTS,
    "summaries.name": _is_component,
    "summaries.source": _long(32),
    "dependents.required": _is_component,
    "asked.project": _is_component,
    "asked.filename": _is_component,
    "asked.size": _is_natural,
    "runs.arguments": _TEXTS,
    "runs.pid": _is_natural,
    "runs.state": _one_of(RUN_STATES),
    "runs.counts": _COUNTS,
    "leases.holder": _decodes(Holder),
    "workers.executor": _one_of(EXECUTORS),
    "workers.holder": _decodes(Holder),
    "workers.state": _one_of(WORKER_STATES),
    "workers.batches": _is_natural,
    "workers.projects": _is_natural,
    "workers.counts": _COUNTS,
    "claims.batch": _is_natural,
    "stages.stage": _one_of(Stage),
    "stages.batch": _is_natural,
    "stages.state": _one_of(RUN_STATES),
    "stages.counts": _COUNTS,
    "failures.stage": _one_of(Stage),
    "failures.reason": _one_of(Reason),
    "failures.attempts": _is_natural,
    "days.projects": _is_natural,
    "days.files": _is_natural,
    "days.bytes": _is_natural,
    "days.free": _is_natural,
    "days.backlog": _is_natural,
    "days.runs": _is_natural,
    "days.undone": _is_natural,
    "days.downloaded": _is_natural,
    "days.failures": _COUNTS,
}


def _rule(table: str, field: str, hint: Any) -> _Rule:
    kinds: set[type] = set(get_args(hint)) or {hint}
    fits = _FITS.get(f"{table}.{field}")
    if bool in kinds:
        kinds, fits = kinds | {int}, _one_of((0, 1))
    elif float in kinds:
        kinds, fits = kinds | {int}, isfinite
    return _Rule(field, frozenset(kinds), fits)


def _rules(table: str, record: type[Record]) -> tuple[_Rule, ...]:
    hints = get_type_hints(record)
    return tuple(_rule(table, field, hints[field]) for field in record.__struct_fields__)


#: The rules of each table, in the order of its columns.
RULES: Mapping[str, tuple[_Rule, ...]] = {
    table: _rules(table, record) for table, record in TABLES.items()
}


@contextmanager
def opened(catalog: Catalog) -> Iterator[None]:
    """Check the small tables of a catalog, then act as `reported` and `catalog_errors`."""
    with catalog_errors(catalog), reported(catalog.shown, catalog.read):
        with catalog.read() as connection:
            look_through(connection, catalog.shown, at_most=SMALL)
        yield


def look_through(connection: Connection, shown: str, *, at_most: int | None = None) -> None:
    """Raise `CatalogError` if a row is damaged. `at_most` is as for `find`."""
    if (fault := find(connection, at_most=at_most)) is not None:
        raise as_error(shown, fault)


@contextmanager
def reported(shown: str, read: Callable[[], AbstractContextManager[Connection]]) -> Iterator[None]:
    """Turn an error into `CatalogError` if a damaged row explains it.

    `shown` is the name of the catalog in messages. `read` opens a connection for reading.
    """
    try:
        yield
    except Exception as error:
        if not _may_be_damage(error):
            raise
        try:
            with read() as connection:
                fault = str(error) if isinstance(error, marks.BadMarkError) else find(connection)
        except (sql.exc.SQLAlchemyError, MemoryError):
            raise error from None
        if fault is None:
            raise
        raise as_error(shown, fault) from error


def _may_be_damage(error: Exception) -> bool:
    """Whether a damaged value may be the cause of an error."""
    exc = sql.exc
    if isinstance(error, exc.SQLAlchemyError):
        # A value of a wrong type was read, and cannot be used in a statement.
        is_unsent = isinstance(error, exc.StatementError) and not isinstance(error, exc.DBAPIError)
        is_refused = isinstance(error, exc.IntegrityError)
        return is_unsent or is_refused or _undecodable(error) is not None
    return isinstance(error, IllegalMoveError) or not isinstance(error, PypimirrorError | OSError)


def _undecodable(error: sql.exc.SQLAlchemyError) -> str | None:
    """Return the message of SQLite's driver about text that is not UTF-8; None for other errors."""
    cause = error.orig if isinstance(error, sql.exc.DatabaseError) else None
    return str(cause) if "decode to UTF-8" in str(cause) else None


def as_error(shown: str, fault: str) -> CatalogError:
    """Return the error that reports a `fault` of the catalog that messages call `shown`."""
    return CatalogError(f"catalog {shown}: is damaged: {fault}. {REMEDY}")


def check(table: str, records: Iterable[Record], shown: str) -> None:
    """Raise `CatalogError` if one of these records of a table has a damaged value.

    The fields of a record begin with the table's columns, in the same order.
    """
    rules = RULES[table]
    rows = list(map(msgspec.structs.astuple, records))
    if all(map(_Rule.allows_all, rules, zip(*rows, strict=True))):
        return
    for row in rows:
        if (fault := _fault_of(table, rules, row)) is not None:
            raise as_error(shown, fault)


def find(connection: Connection, *, at_most: int | None = None) -> str | None:
    """Return what is wrong with the first damaged row, or None.

    With `at_most`, tables with more rows are skipped.
    """
    for name in RULES if at_most is None else _small(connection, at_most):
        rules = RULES[name]
        try:
            fault = _fault_in(connection, name, rules)
        except sql.exc.DatabaseError as error:
            fault = _undecodable(error)
            if fault is None:
                raise
            fault = f"table {name}: {fault}"
        if fault is not None:
            return fault
    return None


def _small(connection: Connection, at_most: int) -> list[str]:
    """Return the tables that have rows, but not more than `at_most`."""
    of_each = (
        f'(SELECT count(*) FROM (SELECT 1 FROM "{name}" LIMIT {at_most + 1}) AS few)'  # noqa: S608 - our own words
        for name in RULES
    )
    (found,) = connection.rows(f"SELECT {', '.join(of_each)}")
    return [name for name, number in zip(RULES, found, strict=True) if 0 < number <= at_most]


def _fault_in(connection: Connection, name: str, rules: tuple[_Rule, ...]) -> str | None:
    columns = ", ".join(f'"{rule.column}"' for rule in rules)
    statement = f'SELECT {columns} FROM "{name}"'  # noqa: S608 - our own words
    # Take the driver's values: SQLAlchemy would convert them to the type of the column.
    for rows in connection.parts(statement, _AT_ONCE):
        values = zip(*rows, strict=True)
        if name != "marks" and all(map(_Rule.allows_all, rules, values)):
            continue
        faults = (_fault_of(name, rules, row) for row in rows)
        if (fault := next((each for each in faults if each is not None), None)) is not None:
            return fault
    return None


def _fault_of(name: str, rules: tuple[_Rule, ...], row: Any) -> str | None:
    for rule, value in zip(rules, row, strict=False):
        if not rule.allows(value):
            shown = "NULL" if value is None else f"{value!r:.60}"
            return f"{rule.column} of row {row[0]!r:.60} of table {name} is {shown}"
    if name == "marks" and not is_fit(row[0], row[1]):
        return f"value of row {row[0]!r:.60} of table marks is {row[1]!r:.60}"
    return None
