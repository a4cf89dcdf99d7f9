"""What `pypimirror up` says about syncs and verifications that end while it works."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing

from pypimirror.catalog.database import Catalog, Connection, is_absent
from pypimirror.catalog.engines import errors
from pypimirror.catalog.queries import runs
from pypimirror.catalog.queries.history import failing
from pypimirror.catalog.records import RunRecord
from pypimirror.cli.display import hints
from pypimirror.config.settings import Config
from pypimirror.domain.model import PypimirrorError
from pypimirror.domain.sizes import number_of

#: Most runs that can end between two looks.
_MOST = 20
#: What clients ask for is one run a day, which never ends with news.
_TOLD = ("sync", "verify")

_HOW = {runs.FAILED: "failed", runs.CANCELLED: "was cancelled"}

log = logging.getLogger("pypimirror.up")


class RunNews:
    """Tells of each run of a mirror that begins after this was made. Not for several threads."""

    def __init__(self, config: Config) -> None:
        self._url = config.catalog_url
        self._since = time.time()
        self._told: set[int] = set()
        self._is_well = True

    def tell(self) -> None:
        """Log the runs that have ended since the last call: those that did not complete, and the
        first one that did after them.
        """
        for run, message in self._ended():
            is_well = run.state == runs.COMPLETED
            if message:
                log.warning("%s", message)
            elif is_well and not self._is_well:
                log.info("%s %s completed", run.command, run.name)
            self._is_well = is_well

    def _ended(self) -> Iterator[tuple[RunRecord, str]]:
        """Yield the runs that have ended since the last call, each with what is wrong."""
        if is_absent(self._url):
            return
        try:
            with closing(Catalog.open_for_reading(self._url)) as catalog, catalog.read() as found:
                for run in reversed(runs.recent(found, _MOST, self._since)):
                    if run.state != runs.RUNNING and run.id not in self._told:
                        self._told.add(run.id)
                        if run.command in _TOLD:
                            yield run, _message(found, run)
        except (PypimirrorError, errors.SQLAlchemyError, OSError):
            return  # the parts say why


def _message(connection: Connection, run: RunRecord) -> str:
    """Return what to say about a run; "" if it completed."""
    if run.state == runs.COMPLETED:
        return ""
    number = sum(failing.by_reason(connection, [run.id]).values())
    told = f" with {number_of(number, 'failure')}" if number else ""
    if run.state != runs.INCOMPLETE and run.message:
        told = f": {run.message}"
    show = hints.command(f"runs show {run.name}")
    how = _HOW.get(run.state, f"is {run.state}")
    return f"{run.command} {run.name} {how}{told}; '{show}' says more"
