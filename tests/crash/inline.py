"""Workers without processes: jobs are done where they are asked for, one after the other.

Makes a sync a single process with a single thread, so that its steps always come in the same
order, and so cheap that hundreds of them can be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pypimirror.download.engine.fetch import Fetcher
from pypimirror.verify import worker


class InlineWorkers:
    """What `pypimirror.system.workers.Workers` is, in this process."""

    def __init__(self, module: str, hello: Any, **_: Any) -> None:
        self._fetcher = Fetcher(hello, lambda _: None) if "download" in module else None

    def run(
        self, jobs: Iterable[Any], *, on_progress: Callable[[Any, int], None] | None = None
    ) -> Iterator[Any]:
        """Do each job when its result is asked for."""
        for job in jobs:
            yield worker.check(job) if self._fetcher is None else self._fetcher.do(job)

    def cancel(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Close the connections."""
        if self._fetcher is not None:
            self._fetcher.close()
