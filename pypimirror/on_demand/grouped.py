"""Small changes of the catalog from many threads, several of them in one transaction.

A commit waits for the disk. Fifty files that are asked for at the same time would wait fifty times.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from pypimirror.catalog.database import Catalog, Connection

T = TypeVar("T")

_Change = Callable[[Connection], Any]


class Grouped:
    """A thread that does, in one transaction, all changes that came during the last transaction.

    `waiting` returns a context to enter while another thread waits for it.
    """

    def __init__(
        self, catalog: Catalog, waiting: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._catalog = catalog
        self._waits = waiting
        self._waiting: list[tuple[_Change, Future[Any]]] = []
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="catalog", daemon=True)
        self._thread.start()

    def do(self, change: Callable[[Connection], T]) -> T:
        """Do a change, and return its result once it is committed. Raises its error."""
        future = self.later(change)
        with self._waits():
            return future.result()

    def later(self, change: Callable[[Connection], T]) -> Future[T]:
        """Do a change soon."""
        future: Future[T] = Future()
        with self._wake:
            self._waiting.append((change, future))
            self._wake.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting)
                group, self._waiting = self._waiting, []
            try:
                results = self._catalog.apply(
                    lambda connection: [change(connection) for change, _ in group],  # noqa: B023
                    aside=True,
                )
            except Exception as error:  # noqa: BLE001 - those who wait raise it
                for _, future in group:
                    future.set_exception(error)
                continue
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)
