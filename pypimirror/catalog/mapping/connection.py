"""The connection on which queries execute their statements, and the engine that makes it.

A statement whose text is known goes to the driver as it is. Any other is one of SQLAlchemy's, which
executes it in the same transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pypimirror.catalog.mapping import sql

#: Parameters as the driver takes them: in their order, or by name.
Values = Sequence[Any] | Mapping[str, Any]


class Dialect(NamedTuple):
    """The kind of a database."""

    name: str  #: as SQLAlchemy calls it: sqlite, postgresql


class Mode(NamedTuple):
    """What a transaction is for."""

    writes: bool = False  #: it waits until no other one writes
    is_read_only: bool = False  #: all its queries see one state
    is_prompt: bool = False  #: others wait for it, and it waits for nothing but the database
    is_by_index: bool = False  #: it takes the first rows of indexes


class Connection(ABC):
    """A connection in a transaction. Errors of the database are those of `sqlalchemy.exc`."""

    dialect: Dialect

    @property
    @abstractmethod
    def alchemy(self) -> sql.Connection:
        """This connection for SQLAlchemy, in the same transaction."""

    @abstractmethod
    def rows(self, text: str, values: Values = ()) -> list[Any]:
        """Execute a query of this text, and return its rows as tuples."""

    @abstractmethod
    def parts(self, text: str, size: int, values: Values = ()) -> Iterator[list[Any]]:
        """Like `rows`, in lists of at most `size` rows."""

    @abstractmethod
    def run(self, text: str, values: Values = ()) -> int:
        """Execute a statement of this text, and return how many rows it changed."""

    @abstractmethod
    def run_many(self, text: str, rows: Sequence[Any]) -> int:
        """Execute a statement for the parameters of each row. Return how many rows changed."""

    @abstractmethod
    def commit(self) -> None:
        """Commit the transaction. Only `close` or `invalidate` may follow."""

    @abstractmethod
    def close(self) -> None:
        """Roll back what is not committed, and free the connection for another transaction."""

    @abstractmethod
    def invalidate(self) -> None:
        """Close the connection for good: the database may still keep locks for it."""

    def execute(
        self, statement: sql.Executable, values: Any = None
    ) -> sql.CursorResult[*tuple[Any, ...]]:
        """Execute a statement of SQLAlchemy. Read all rows of its result, or close it: only the
        queries of `parts` end with the transaction.
        """
        return self.alchemy.execute(statement, values)


class Engine(ABC):
    """Makes connections to one database."""

    dialect: Dialect
    url: str  #: with its password
    shown: str  #: without

    @abstractmethod
    def begin(self, mode: Mode = Mode()) -> Connection:  # noqa: B008 - immutable
        """Begin a transaction."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections that are not in use."""
