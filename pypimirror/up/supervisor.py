"""Keep one part alive: start it, wait until it is ready, and start it again when it ends.

A part that fails `TRIES` times in a row is given up. `parts` defines the parts, and `everything`
knows their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from typing import IO

from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import PypimirrorError
from pypimirror.up.parts import Part, Probe
from pypimirror.up.processes import ended, gone

#: Failures in a row after which a part is given up.
TRIES = 5
#: Seconds after which a ready part counts as healthy. A later failure is then the first one again.
STEADY = 60.0
#: Seconds in which a part must become ready. Prefect migrates its database before it answers.
PATIENCE = 180.0
#: Seconds between two probes whether a part is ready.
ASK_EVERY = 0.25
#: Seconds before the first restart. Each further wait is twice as long, up to the longest.
BACKOFF, LONGEST_BACKOFF = 1.0, 30.0
#: Seconds to wait for the last output of a part that has ended.
LAST_WORDS = 0.5
#: Bytes; longer lines are cut.
_LONGEST_LINE = 1 << 16

log = logging.getLogger("pypimirror.up")


class GaveUpError(PypimirrorError):
    """A part keeps failing; the message has its name, how it ended, and its last output."""


class Supervisor:
    """One part, kept alive by `keep`."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.ready = asyncio.Event()
        self.pid: int | None = None  #: None unless it is running
        self._said: deque[str] = deque(maxlen=20)
        self._retired = False

    async def keep(self) -> None:
        """Run the part again and again, until it is retired; raises `GaveUpError`."""
        await self._run(lasting=True)

    async def complete(self) -> None:
        """Run the part until it has ended with success; raises `GaveUpError`.

        Raises `ConfigError` if it ends with 2, because another try would end in the same way.
        """
        await self._run(lasting=False)

    async def _run(self, *, lasting: bool) -> None:
        failures = 0
        while True:
            lived, code = await self._live()
            if self._retired or (code == 0 and not lasting):
                return
            if code == 2 and not lasting:
                raise ConfigError(self._obituary(code, ""))
            failures = 1 if lived >= STEADY else failures + 1
            if failures >= TRIES:
                raise GaveUpError(self._obituary(code, f"{failures} times in a row"))
            delay = min(BACKOFF * 2 ** (failures - 1), LONGEST_BACKOFF)
            log.warning("%s; starting it again in %g s", self._how(code), delay)
            await asyncio.sleep(delay)

    def retire(self) -> None:
        """Do not start the part again."""
        self._retired = True

    async def stop(self, seconds: float) -> None:
        """End the part for good. Kill it if it takes longer than `seconds`."""
        self.retire()
        if self.pid is None:
            return
        self.signal(signal.SIGTERM)
        if not await gone([self.pid], seconds):
            log.warning("%s did not end in %.1f s and is killed", self.part.name, seconds)
            self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to the part's own process, if there is one."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _live(self) -> tuple[float, int]:
        """Run the part once; return how long it was ready, in seconds, and its exit code."""
        is_ready = await self.part.watch()
        if self._retired:
            return 0.0, 0
        process = self._start()
        assert process.stdout is not None
        since: list[float] = []
        output, transport = await _reader(process.stdout)
        hearing = asyncio.create_task(self._hear(output))
        waiting = asyncio.create_task(self._wait_until_ready(is_ready, since))
        try:
            code = await ended(process)
            self.pid = None  # but not if this is cancelled: `stop` needs it
            self.ready.clear()
            # Its own child processes may keep the pipe open.
            await asyncio.wait({hearing}, timeout=LAST_WORDS)
        finally:
            waiting.cancel()
            hearing.cancel()
            transport.close()
        return (asyncio.get_running_loop().time() - since[0] if since else 0.0), code

    def _start(self) -> subprocess.Popen[bytes]:
        launcher = (sys.executable, "-P", "-m", "pypimirror.up.launch", str(os.getpid()))
        process = subprocess.Popen(
            [*launcher, *self.part.command],
            env=self.part.environment,
            cwd=self.part.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            process_group=0,  # Ctrl-C must reach this process only, which knows the order
        )
        self.pid = process.pid
        log.info("%s started (process %d)", self.part.name, process.pid)
        return process

    async def _wait_until_ready(self, is_ready: Probe, since: list[float]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await is_ready():
                    await asyncio.sleep(ASK_EVERY)
        except TimeoutError:
            log.warning("%s was not ready after %g s and is killed", self.part.name, PATIENCE)
            self.signal(signal.SIGKILL)
            return
        since.append(asyncio.get_running_loop().time())
        log.info("%s is ready", self.part.name)
        self.ready.set()

    async def _hear(self, output: asyncio.StreamReader) -> None:
        """Log the output of the part and keep its last lines, until the pipe ends."""
        while line := await _line(output):
            if text := line.decode("utf-8", "replace").rstrip():
                self._said.append(text)
                log.debug("[%s] %s", self.part.name, text)

    def _how(self, code: int) -> str:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"{self.part.name} {how}"

    def _obituary(self, code: int, times: str) -> str:
        how = f"{self._how(code)}{', ' if times else ''}{times}"
        return "\n  ".join([f"{how}. It said:", *self._said]) if self._said else how


async def _reader(pipe: IO[bytes]) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Return a reader of a pipe, and the transport that closes it."""
    reader = asyncio.StreamReader(_LONGEST_LINE)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader, transport


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line, or a piece of one that is too long; b"" at the end."""
    try:
        return await reader.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        return await reader.read(_LONGEST_LINE)
