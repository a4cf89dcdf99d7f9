"""Start all parts in order, and stop them in order.

They start as: web server, Prefect server, deployments, worker. They stop as: flow runs, worker, web
server, Prefect server, and at last all other processes below this one. `supervisor` keeps a single
part alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from pypimirror.config.settings import Config
from pypimirror.domain.errors import PypimirrorError
from pypimirror.storage.opening import has_pages
from pypimirror.up.asking import NoAnswerError, ask
from pypimirror.up.notify import notify
from pypimirror.up.parts import Part, Parts
from pypimirror.up.processes import adopt_orphans, children, descendants, gone, reap, send
from pypimirror.up.supervisor import Supervisor

#: Seconds after the signal by which flow runs and then each part must have ended.
RUNS_GONE = 5.5
STOPPED = {"worker": 6.5, "deploy": 6.5, "web": 7.5, "server": 9.0}
#: Seconds after the signal at which all processes that are left are killed.
ALL_GONE = 9.5
#: Seconds that a killed process gets to end.
KILLED = 2.0
#: Seconds between two looks for news.
NEWS = 10.0

log = logging.getLogger("pypimirror.up")


class RunningParts:
    """The parts, in one event loop."""

    def __init__(self, parts: Parts, config: Config) -> None:
        self.parts = parts
        self.config = config
        self._asked = asyncio.Event()  # a signal asked to stop
        self._hurried = asyncio.Event()  # another Ctrl-C asked to hurry
        self._error: BaseException | None = None
        self._supervisors: dict[str, Supervisor] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def run(self, announce: Callable[[], None], news: Callable[[], None]) -> bool:
        """Start everything, call `announce` when it is ready, and run until a signal.

        From then on, `news` is called again and again, in another thread: it says what happened.
        Returns whether everything ended in order, which a second Ctrl-C prevents. Raises
        `GaveUpError` when a part keeps failing, after it has stopped the others.
        """
        adopt_orphans()
        with self._signals():
            starting = self._watched(self._start(announce, news))
            await self._asked.wait()
            starting.cancel()
            await asyncio.wait({starting})
            await self._stop()
        if self._error is not None:
            raise self._error
        return not self._hurried.is_set()

    def _watched(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do some work in the background. If it fails, stop everything."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self._asked.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)

    def _interrupt(self) -> None:
        (self._hurried if self._asked.is_set() else self._asked).set()

    def _reap(self) -> None:
        reap(self._own())

    def _own(self) -> set[int]:
        """Return the processes of the parts. All other children of this process were adopted."""
        pids = (supervisor.pid for supervisor in self._supervisors.values())
        return {pid for pid in pids if pid is not None}

    async def _start(self, announce: Callable[[], None], news: Callable[[], None]) -> None:
        kept = [self._keep(part) for part in (self.parts.web, self.parts.server) if part]
        if self.parts.server:
            await self._supervisors["server"].ready.wait()
        await self._supervise(self.parts.deploy).complete()
        kept.append(self._keep(self.parts.worker))
        for supervisor in kept:
            await supervisor.ready.wait()
        await self._first_sync()
        announce()
        notify("READY=1")
        while True:
            await asyncio.sleep(NEWS)
            await asyncio.to_thread(news)

    def _supervise(self, part: Part) -> Supervisor:
        self._supervisors[part.name] = Supervisor(part)
        return self._supervisors[part.name]

    def _keep(self, part: Part) -> Supervisor:
        supervisor = self._supervise(part)
        self._keepers.append(self._watched(supervisor.keep()))
        return supervisor

    async def _first_sync(self) -> None:
        """Start a first sync now if the mirror is empty: a schedule may be far away, or absent."""
        try:
            if await asyncio.to_thread(has_pages, self.config.directory, self.config.bucket):
                return
        except PypimirrorError as error:
            log.warning("the first sync waits for its schedule: %s", error)
            return
        deployments = f"{self.parts.api}/deployments"
        for last in (False, False, False, True):  # Prefect's database may be busy
            try:
                found = await ask(f"{deployments}/name/sync/adhoc")
                path = f"{deployments}/{found['id']}/create_flow_run"
                await ask(path, {"state": {"type": "SCHEDULED", "message": "the mirror is empty"}})
            except NoAnswerError as error:
                if last:
                    log.warning("the first sync waits for its schedule: %s", error)
                else:
                    await asyncio.sleep(1)
            else:
                log.info("the mirror is empty: its first sync begins now")
                return

    async def _stop(self) -> None:
        """Stop everything, in order and in time; at once after a second Ctrl-C."""
        notify("STOPPING=1")
        log.info("ending all parts, which takes up to %.0f s; Ctrl-C ends them at once", ALL_GONE)
        for supervisor in self._supervisors.values():
            supervisor.retire()
        stopping = asyncio.create_task(self._stop_in_order())
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, hurried):
            task.cancel()
        await asyncio.gather(stopping, hurried, return_exceptions=True)
        left = descendants(os.getpid())
        send(left, signal.SIGKILL)
        await gone(left, KILLED)
        for keeper in self._keepers:  # they may be waiting to start their part again
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        reap(())
        log.info("all parts have ended")

    async def _stop_in_order(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def left(until: float) -> float:
            return max(0.0, began + until - loop.time())

        # Prefect's worker kills its flow runs when it ends, so they are asked to end before. Flow
        # runs of a worker that was killed are children of this process by now.
        runs = set(children(os.getpid())) - self._own()
        worker = self._supervisors.get("worker")
        if worker and worker.pid is not None:
            runs.update(children(worker.pid))
        await _end(runs, left(RUNS_GONE))
        for name, until in STOPPED.items():
            if name in self._supervisors:
                await self._supervisors[name].stop(left(until))
        await _end(descendants(os.getpid()), left(ALL_GONE))


async def _end(pids: Collection[int], seconds: float) -> None:
    send(pids, signal.SIGTERM)
    await gone(pids, seconds)
