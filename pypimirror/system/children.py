"""One child process that speaks lines: starting it, writing to it, reading it, ending it.

What the lines mean, and what is to be done when a child dies, is the pool's affair
(`pypimirror.system.workers`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque

#: Bytes that are read from a child at once.
CHUNK = 1 << 18
#: Seconds that a child has to end after it was told to.
GRACE = 1.0


#: Children that were started before anybody had work for them, by module.
_early: dict[str, subprocess.Popen[bytes]] = {}


def start_early(module: str) -> None:
    """Start a child that will soon be needed, while this process has other things to import.

    The next `Child` of the module is that one. Where there is none, it ends with this process.
    """
    with contextlib.suppress(OSError):  # whoever needs it will meet that again, and tell
        _early[module] = _start(module)


def _start(module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        process_group=0,  # a terminal's ^C is for the parent, who decides
    )


class Child:
    """One child process and the threads that read it.

    Subclasses hear from it in `on_lines`, `on_error_line` and `on_end`, called in threads of
    the child's own.
    """

    def __init__(self, module: str) -> None:
        self.last_words: deque[str] = deque(maxlen=20)
        self._write_lock = threading.Lock()
        early = _early.pop(module, None)
        self.process = _start(module) if early is None else early
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._results = threading.Thread(target=self._read_results, daemon=True)
        self._errors.start()  # first: the other one waits for it, at once where the child ends
        self._results.start()

    def on_lines(self, lines: list[bytes]) -> None:
        """Hear of complete lines of output; some may be empty."""
        raise NotImplementedError

    def on_error_line(self, text: str) -> None:
        """Hear of a line of the standard error."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Hear that the process has ended and all its output was heard; called once."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Write whole lines. A child that cannot be written to is killed: its reader tells."""
        with self._write_lock:
            stdin = self.process.stdin
            if stdin is None or stdin.closed:
                return
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(stdin.fileno(), view) :]
            except OSError:
                self.kill()
            except BaseException:  # half a line is worse than none
                self.kill()
                raise

    def end_input(self) -> None:
        """Tell the child to end; kill it where that would have to wait."""
        if not self._write_lock.acquire(blocking=False):
            self.kill()
            return
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
        finally:
            self._write_lock.release()

    def kill(self) -> None:
        """Kill the child; takes no lock."""
        with contextlib.suppress(OSError):
            self.process.kill()

    def wait(self, deadline: float) -> None:
        """Wait until the child has ended; kill it at `deadline` (monotonic seconds)."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)

    def _read_results(self) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        parts: list[bytes] = []  # of a line that has not ended: it may be a hundred megabytes
        with contextlib.suppress(OSError):
            while chunk := os.read(fd, CHUNK):
                end = chunk.rfind(b"\n") + 1
                if not end:
                    parts.append(chunk)
                    continue
                parts.append(chunk[:end])
                lines = b"".join(parts).split(b"\n")
                parts = [chunk[end:]]
                self.on_lines(lines)
        self.process.wait()
        self._errors.join(GRACE)
        self.process.stdout.close()
        with self._write_lock:
            if self.process.stdin is not None:
                self.process.stdin.close()
        self.on_end()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            self.last_words.append(text)
            self.on_error_line(text)
        self.process.stderr.close()

    def join(self) -> None:
        """Wait for the threads that read the child, which has ended."""
        for thread in (self._errors, self._results):
            if thread is not threading.current_thread():
                thread.join(GRACE)
