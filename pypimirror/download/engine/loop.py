"""The download worker's life: jobs in, results out, until its input ends.

This runs in a child process where gevent has patched everything (`pypimirror.download.worker`).
Input is read at any time, even while output is blocked, so two full pipes never wait for each
other. The parent bounds the number of jobs that it sends.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import gevent
import gevent.os
import msgspec
from gevent import monkey
from gevent.event import Event
from gevent.hub import Waiter, get_hub

from pypimirror.download.engine.fetch import HttpFetcher
from pypimirror.download.protocol import (
    GATHER,
    FetchList,
    Hello,
    Job,
    Note,
    Progress,
    Result,
    ToWorker,
)
from pypimirror.system.machine import allow_descriptors
from pypimirror.system.memory import relax_collector

CHUNK = 1 << 18  #: bytes


class Outbox:
    """Lines to the parent, gathered and written by a greenlet of their own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._filled = Event()
        self.gather = GATHER
        gevent.os.make_nonblocking(fd)

    def put(self, message: Result | Progress | Note) -> None:
        """Send a message soon."""
        self._lines.append(self._encoder.encode(message))
        self._filled.set()

    def announce(self) -> None:
        """Say by an empty line that this process is up."""
        self._lines.append(b"")
        self._filled.set()

    def run(self) -> None:
        """Write messages for ever."""
        while True:
            self._filled.wait()
            gevent.sleep(self.gather)
            self._filled.clear()
            lines, self._lines = self._lines, []
            lines.append(b"")
            data = memoryview(b"\n".join(lines))
            while data:
                data = data[gevent.os.nb_write(self._fd, data) :]


class Doers:
    """Greenlets that do jobs: as many as there are jobs at once.

    They wait for further jobs, because a new greenlet costs seven times as much as one that waits:
    the system gives it new memory.
    """

    def __init__(self, do: Callable[[Job], None]) -> None:
        self._do = do
        self._jobs: deque[Job] = deque()
        self._idle: list[Waiter[None]] = []

    def start(self, job: Job) -> None:
        """Have a job done soon."""
        self._jobs.append(job)
        if self._idle:
            get_hub().loop.run_callback(self._idle.pop().switch, None)
        else:
            gevent.spawn_raw(self._live)  # nobody waits for its end

    def _live(self) -> None:
        while True:
            while self._jobs:
                self._do(self._jobs.popleft())
            waiter: Waiter[None] = Waiter()
            self._idle.append(waiter)
            waiter.get()


class DownloadWorker:
    """Reads jobs from one descriptor and writes results to another."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._input = input_fd
        self._outbox = Outbox(output_fd)
        self._decoder = msgspec.json.Decoder(ToWorker)
        self._hello: Hello | None = None
        self._fetcher: HttpFetcher | None = None
        self._doers = Doers(self._do)
        gevent.os.make_nonblocking(input_fd)

    def run(self) -> None:
        """Work until the input ends."""
        gevent.spawn(self._write)
        self._outbox.announce()
        parts: list[bytes] = []
        while chunk := gevent.os.nb_read(self._input, CHUNK):
            end = chunk.rfind(b"\n") + 1
            parts.append(chunk[:end] if end else chunk)
            if end:
                for line in b"".join(parts).splitlines():
                    self._take(self._decoder.decode(line))
                parts = [chunk[end:]]

    def _take(self, message: Hello | Job) -> None:
        if not isinstance(message, Hello):
            self._doers.start(message)
        elif message != self._hello:  # else it came early, and comes again with the first job
            self._hello = message
            self._outbox.gather = message.gather
            if any(remote.keyring for remote in message.remotes):
                monkey.patch_subprocess()  # a keyring is a child, and nobody else may wait for it
            allow_descriptors(2 * message.connections + 256)
            self._fetcher = HttpFetcher(message, self._outbox.put)
            self._fetcher.prepare()

    def _do(self, job: Job) -> None:
        if self._fetcher is None:
            raise ValueError("a job came before the hello")
        self._outbox.put(self._fetcher.do(job))
        if isinstance(job, FetchList):  # while the parent reads the list, once it has the answer
            gevent.spawn_later(2 * self._outbox.gather, self._fetcher.prepare_for_pages)

    def _write(self) -> None:
        try:
            self._outbox.run()
        except OSError:  # the parent is gone
            os._exit(1)


def main() -> NoReturn:
    """Work on standard input and output, then end at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    relax_collector()
    output = os.dup(1)
    os.dup2(2, 1)  # a stray print must not break the protocol
    DownloadWorker(0, output).run()
    # Nobody reads the results any more, so open jobs are neither finished nor cleaned up.
    os._exit(0)
