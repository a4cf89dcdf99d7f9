"""The process of a host, as the tests see it; see `tests.hosts.server`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hosts.network import Host


class Worker:
    """The process of a host, and the worker or coordinator that it runs now."""

    def __init__(self, host: Host, lifetime: float, *, kind: str = "") -> None:
        self.host = host
        self.is_stopped = False
        #: Called with what a coordinator says when its workers can begin.
        self.on_run: Callable[[dict[str, Any]], None] = lambda said: None
        self._pid = 0
        self._begun, self._ended = threading.Event(), threading.Event()
        self._said: dict[str, Any] = {}
        self._ended.set()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hosts.server", host.name, str(lifetime), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
            preexec_fn=host.enter,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_busy(self) -> bool:
        """Whether its job has not ended."""
        return not self._ended.is_set()

    def begin(self, **job: Any) -> None:
        """Start a worker, or a coordinator."""
        assert self._process.stdin is not None and not self.is_busy
        self._begun.clear()
        self._ended.clear()
        self.is_stopped = False
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._begun.wait(30)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.is_stopped = number == signal.SIGSTOP
        self._kill(number)

    def freeze(self) -> None:
        """Stop it until `thaw`, unless it is stopped."""
        if self.is_busy and self._begun.is_set() and not self.is_stopped:
            self._kill(signal.SIGSTOP)
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{self._pid}/stat")
                while stat.read_text().rpartition(")")[2].split()[0] not in "TZX":
                    os.sched_yield()

    def thaw(self) -> None:
        """Let it go on, unless it was stopped otherwise."""
        if self.is_busy and self._begun.is_set() and not self.is_stopped:
            self._kill(signal.SIGCONT)

    def has_ended(self, seconds: float) -> bool:
        """Wait so long for the end of its job."""
        return self._ended.wait(seconds)

    def end(self) -> dict[str, Any]:
        """Wait for its end; return how it ended."""
        assert self._ended.wait(300)
        assert self._said["state"] != "raised", self._said["message"]
        return self._said

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join()

    def _kill(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            if "pid" in said:
                self._pid = int(said["pid"])
                self._begun.set()
            elif "run" in said:
                self.on_run(said)
            else:
                self._said = said
                self._ended.set()
