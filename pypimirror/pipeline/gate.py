"""Keep a run and the requests of clients apart (`catalog.queries.work.requests` has the rules).

A run is alone with the mirror, except while its workers go through batches: then request workers
may claim other projects. A verification pauses for them now and then. Clients do not notice a
closed gate, because the fetcher serves fetched files before they are placed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.catalog import holder
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.marks import OPEN, WAITING
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.work import requests
from pypimirror.pipeline.run import Run
from pypimirror.system.workers import Cancelled

#: Seconds between two checks whether requests are still at work: first and longest.
_FIRST, _LONGEST = 0.02, 0.5

#: Seconds between two pauses for requests, and the longest pause in which none claims anything.
#: Request workers that wait try at least once a second (`on_demand.keeping.keeper`).
EVERY, LONG_ENOUGH = 3.0, 1.5


def wait(catalog: Catalog, cancelled: threading.Event | None = None) -> None:
    """Wait until no request worker has a claim. The gate is closed, so nobody makes new claims.
    Raises `Cancelled`.
    """
    pause, here = _FIRST, holder.this_machine()
    ended = cancelled or threading.Event()
    while True:
        with catalog.write() as connection:
            requests.lose(connection, requests.at_work(connection), here)
            if not requests.at_work(connection):
                return
        if ended.wait(pause):
            raise Cancelled("cancelled")
        pause = min(_LONGEST, 2 * pause)


def is_needed(run: Run) -> bool:
    """Whether requests may want to work while a run holds the lease."""
    return run.lease is not None and bool(run.config.on_demand.projects)


@contextmanager
def open_to_requests(run: Run) -> Iterator[None]:
    """Let request workers claim projects in this context. Afterwards the run is alone again.

    After an error, the gate stays open, because the run ends.
    """
    if not is_needed(run):
        yield
        return
    with run.catalog.write() as connection:
        marks.write(connection, OPEN, "")
        marks.clear(connection, WAITING)
    yield
    with run.catalog.write() as connection:
        marks.clear(connection, OPEN)
    wait(run.catalog, run.cancelled)


class Pauses:
    """Lets waiting requests place their files during long work on the whole mirror.

    The work calls it often, at points where nothing is half done. One thread uses it.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._next = time.monotonic() + EVERY if is_needed(run) else math.inf

    def __call__(self) -> None:
        """If requests wait, pause until they are done. Raises `Cancelled`."""
        if time.monotonic() < self._next:
            return
        run = self._run
        with run.catalog.read() as connection:
            is_awaited = marks.is_set(connection, WAITING)
        if is_awaited:
            with open_to_requests(run):
                self._wait_for_claims()
        self._next = time.monotonic() + EVERY

    def _wait_for_claims(self) -> None:
        until = time.monotonic() + LONG_ENOUGH
        while time.monotonic() < until and not self._run.cancelled.wait(_FIRST):
            with self._run.catalog.write() as connection:
                if requests.at_work(connection):
                    return
