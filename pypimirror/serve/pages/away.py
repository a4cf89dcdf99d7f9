"""The catalog as pages read it: by connections that cannot write, and perhaps not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.catalog.database import (
    Catalog,
    CatalogError,
    Connection,
    SQLAlchemyError,
    is_absent,
)


class CatalogAwayError(Exception):
    """The catalog does not answer. The message is for the log: it may contain a path."""


class Reader:
    """Reads the catalog at `url`. It is opened when it is first needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._catalog: Catalog | None = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading. Raises `CatalogAwayError`."""
        try:
            if is_absent(self._url):  # moved away, also while this process has it open
                self.close()
                raise CatalogAwayError("there is no catalog yet; `pypimirror sync` makes one")
            if self._catalog is None:
                self._catalog = Catalog.open_for_reading(self._url)
            with self._catalog.read() as connection:
                yield connection
        except (SQLAlchemyError, CatalogError, OSError) as error:
            self.close()
            raise CatalogAwayError(str(error)) from error

    def close(self) -> None:
        """Close the catalog."""
        catalog, self._catalog = self._catalog, None
        if catalog is not None:
            catalog.close()
