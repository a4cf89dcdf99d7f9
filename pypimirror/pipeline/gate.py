"""Keep a run and the requests of clients apart (`catalog.queries.work.requests` has the rules).

A run is alone with the mirror, except while its workers go through batches: then request workers
may claim other projects. Clients notice nothing of the rest, because they are served what was
fetched before it has a place in the mirror.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.catalog import holder
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.marks import OPEN
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.work import requests
from pypimirror.pipeline.run import Run
from pypimirror.system.workers import Cancelled

#: Seconds between two looks whether requests are still at work: first and longest.
_FIRST, _LONGEST = 0.02, 0.5


def wait(catalog: Catalog, cancelled: threading.Event | None = None) -> None:
    """Wait until no request worker has a claim. Nobody makes new ones now. Raises `Cancelled`."""
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


@contextmanager
def open_to_requests(run: Run) -> Iterator[None]:
    """Let request workers claim projects meanwhile. Afterwards the run is alone again.

    After an error, the gate stays open: the run ends, and then nobody is alone.
    """
    if run.lease is None or not run.config.on_demand.projects:
        yield
        return
    with run.catalog.write() as connection:
        marks.write(connection, OPEN, "")
    yield
    with run.catalog.write() as connection:
        marks.clear(connection, OPEN)
    wait(run.catalog, run.cancelled)
