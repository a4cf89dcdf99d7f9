"""The pools of a run: workers that fetch from upstreams, prove bytes, and hash files.

The pipeline knows only these interfaces, so tests can run it without sockets and child processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec
from msgspec import Struct

from pypimirror.config.settings import Config
from pypimirror.download.protocol import GATHER, MODEST, FromWorker, Job, Result
from pypimirror.pipeline.context.remotes import hello
from pypimirror.pipeline.context.reporter import Reporter
from pypimirror.system.workers import Note, Workers
from pypimirror.verify import protocol as verify_protocol
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import Readers

#: Small jobs, or megabytes, in the queue of each verification worker, so that none is idle.
_CHECKS = 32


class Fetcher(Protocol):
    """Fetches lists, pages and files from upstreams.

    Each job has one result with the job's id. Results come in any order. If a result has no
    problem, the complete and hashed file is at the path in the job.
    """

    def run(
        self, jobs: Iterable[Job], *, on_progress: Callable[[Job, int], None] | None = None
    ) -> Iterator[Result]:
        """Do `jobs`, which are read lazily. Yield their results as they come.

        `on_progress` gets a job and the bytes that arrived for it since the last call. Raises
        `Cancelled` soon after `cancel`.
        """

    def cancel(self) -> None:
        """Cancel all work in progress. Any thread or signal handler may call it."""

    def close(self) -> None:
        """Free all resources. No job may follow."""


class Checker(Protocol):
    """Reads files on disk and returns facts about their bytes."""

    def run(self, jobs: Iterable[Check]) -> Iterator[Checked]:
        """Do `jobs`, which are read lazily. Yield their results as they come.

        Raises `Cancelled` soon after `cancel`.
        """

    def cancel(self) -> None:
        """Cancel all work in progress. Any thread or signal handler may call it."""

    def close(self) -> None:
        """Free all resources. No job may follow."""


class Pools(Struct, frozen=True):
    """The three pools of a run."""

    fetcher: Fetcher
    checker: Checker  #: reads archives to the end; they may be hostile
    reader: Checker  #: only hashes

    def cancel(self) -> None:
        """Cancel all work in progress, in any thread: it ends with `Cancelled`."""
        for pool in (self.fetcher, self.checker, self.reader):
            pool.cancel()

    def close(self) -> None:
        """Close all pools."""
        for pool in (self.fetcher, self.checker, self.reader):
            pool.close()


#: Makes the pools of a run. The last argument returns a context to enter while a thread waits.
MakePools = Callable[[Config, Reporter, Callable[[], AbstractContextManager[None]]], Pools]


def start(
    config: Config,
    reporter: Reporter,
    waiting: Callable[[], AbstractContextManager[None]],
    *,
    modest: int = MODEST,
    gather: float = GATHER,
) -> Pools:
    """Return pools of child processes and threads. None is started before it has work.

    `modest` and `gather` are those of `Hello`.
    """

    def on_note(note: Note) -> None:
        reporter.note(note.level, note.message)

    fetcher: Workers[Job, Result] = Workers(
        module="pypimirror.download.worker",
        processes=config.processes,
        announces=True,
        hello=hello(config, modest, gather),
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
