"""The pools of a run: who asks upstreams, who proves bytes, and who hashes what is here.

The pipeline knows no more of them than these interfaces, so tests run it without sockets and
without child processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pypimirror.config.settings import Config
from pypimirror.download.protocol import FromWorker, Hello, Job, Result
from pypimirror.pipeline.context.remotes import remotes
from pypimirror.pipeline.context.reporter import Reporter
from pypimirror.system.workers import Note, Workers
from pypimirror.verify import protocol as verify_protocol
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import Readers

#: Small jobs, or megabytes, that wait for each verification worker: enough that none is idle.
_CHECKS = 32


class Fetcher(Protocol):
    """Asks upstreams for lists, pages and files.

    Each job has one result, with the job's id; results come in any order. A file stands whole and
    hashed at the path that its job names when its result says no problem.
    """

    def run(
        self, jobs: Iterable[Job], *, on_progress: Callable[[Job, int], None] | None = None
    ) -> Iterator[Result]:
        """Do `jobs`, which are taken from lazily; yield their results as they come.

        `on_progress` gets a job and the bytes that came in for it since the last call.
        Raises `Cancelled` soon after `cancel`.
        """

    def cancel(self) -> None:
        """End what is under way. Any thread or signal handler may call it."""

    def close(self) -> None:
        """Free what is held. Nothing is asked for afterwards."""


class Checker(Protocol):
    """Reads files that are on disk, and says what their bytes are."""

    def run(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Do `jobs`, which are taken from lazily; yield their results as they come.

        Raises `Cancelled` soon after `cancel`.
        """

    def cancel(self) -> None:
        """End what is under way. Any thread or signal handler may call it."""

    def close(self) -> None:
        """Free what is held. Nothing is asked for afterwards."""


@dataclass(frozen=True)
class Pools:
    """What a run works with."""

    fetcher: Fetcher
    checker: Checker  #: reads archives to their end, which may be hostile
    reader: Checker  #: only hashes

    def cancel(self) -> None:
        """End what is under way, in any thread, with `Cancelled`."""
        for pool in (self.fetcher, self.checker, self.reader):
            pool.cancel()

    def close(self) -> None:
        """End all pools."""
        for pool in (self.fetcher, self.checker, self.reader):
            pool.close()


#: Makes the pools of a run. The last argument gives what a thread enters while it waits.
MakePools = Callable[[Config, Reporter, Callable[[], AbstractContextManager[None]]], Pools]


def hello(config: Config) -> Hello:
    """Return what download workers are told first."""
    return Hello(
        remotes=remotes(config),
        connections=config.download.connections,
        timeout=config.download.timeout,
        tries=config.download.tries,
        user_agent=config.user_agent,
        max_file_size=int(config.download.max_file_size),
    )


def start(
    config: Config, reporter: Reporter, waiting: Callable[[], AbstractContextManager[None]]
) -> Pools:
    """Return pools of child processes and threads. None starts before there is work for it."""

    def on_note(note: Note) -> None:
        reporter.note(note.level, note.message)

    fetcher: Workers[Job, Result] = Workers(
        module="pypimirror.download.worker",
        processes=config.processes,
        hello=hello(config),
        decoder=msgspec.json.Decoder(FromWorker),
        on_note=on_note,
        waiting=waiting,
    )
    checker: Workers[Check, Checked] = Workers(
        module="pypimirror.verify.worker",
        processes=config.processes,
        hello=verify_protocol.Hello(),
        in_flight=_CHECKS,
        in_order=True,
        decoder=msgspec.json.Decoder(verify_protocol.FromWorker),
        on_note=on_note,
        waiting=waiting,
    )
    return Pools(fetcher, checker, Readers(config.processes, waiting))
