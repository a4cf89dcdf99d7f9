"""The regular work of a fetcher: figures for metrics, removal of old pages, eviction of files.

Files are evicted in a short run, under lock and lease, in a process of its own:
`python -P -m pypimirror.on_demand.keeping.upkeep`. If another run works on the mirror, the next
sync or short run evicts them.
"""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

from pypimirror.catalog.engines import errors
from pypimirror.catalog.states import REQUEST
from pypimirror.config.settings import Config
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import PypimirrorError
from pypimirror.on_demand.store import Store
from pypimirror.pipeline.asked.eviction import is_due, short_run
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.run import Run
from pypimirror.system import clock

log = logging.getLogger(__name__)

#: Seconds between two checks.
MINUTE, HOUR = 60.0, 3600.0


class Upkeep:
    """Does the work that is due. `tell` sends figures: those of `figures`, and its own."""

    def __init__(
        self,
        run: Run,
        store: Store,
        figures: Callable[[], Mapping[str, float]],
        tell: Callable[[dict[str, float]], None],
    ) -> None:
        self._run = run
        self._selection = run.selection
        self._store = store
        self._figures = figures
        self._tell = tell
        self._hour = time.monotonic() + HOUR
        self._evicted = 0  # files

    def work(self, ending: threading.Event) -> None:
        """Work until `ending`. After an error, such as an unreachable catalog, wait for the next
        turn.
        """
        while True:
            try:
                self._tell(self._all_figures())
                if ending.wait(MINUTE):
                    return
                if self._is_due():
                    self._evicted += evict(self._run.config)
            except (errors.SQLAlchemyError, PypimirrorError, OSError) as error:
                log.warning("the upkeep of what clients asked for has to wait: %s", error)
                if ending.wait(MINUTE):
                    return

    def _all_figures(self) -> dict[str, float]:
        own = {"evicted_files_total": self._evicted, "store_bytes": self._store.size()}
        return {**self._figures(), **own}

    def _is_due(self) -> bool:
        """Whether files must be evicted. Once an hour, also look for unused files."""
        now = time.monotonic()
        if now >= self._hour:
            self._hour = now + HOUR
            keep = self._run.config.on_demand.keep.total_seconds()
            if keep:
                self._store.forget_old(clock.now() - keep)
        with self._run.catalog.read() as connection:
            # Kept, because a resolution takes long to read.
            self._selection = needs.required(connection, self._selection)
            return is_due(connection, self._run.config, self._selection, clock.now())


def evict(config: Config) -> int:
    """Evict files in a short run. Return their number."""
    command = [sys.executable, "-P", "-m", __name__]
    child = subprocess.run(command, input=pickle.dumps(config), capture_output=True, check=False)
    if child.returncode:
        log.warning("files could not be let go of: %s", child.stderr.decode("utf-8", "replace"))
        return 0
    return int(child.stdout or 0)


def main() -> None:
    """Do the short run."""
    from pypimirror.pipeline import lifecycle  # the fetcher itself does not need all of it

    config: Config = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the same program
    try:
        summary = lifecycle.sync(config, (), short_run, trigger=REQUEST, command="evict")
    except LockedError:
        return  # a run works on the mirror
    sys.stdout.write(str(summary.counts.get("files_evicted", 0)))


if __name__ == "__main__":
    main()
