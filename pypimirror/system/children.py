"""One child process that communicates in lines: start it, write to it, read from it, end it.

The pool (`pypimirror.system.workers`) knows the meaning of the lines and handles dead children.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

#: Most bytes that are read from a child at once.
CHUNK = 1 << 18
#: Seconds that a child has for its end after it was told to end.
GRACE = 1.0


#: Children that were started early, before there was work for them, by module.
_early: dict[str, subprocess.Popen[bytes]] = {}
_starting = threading.Lock()


def start_early(
    module: str, first: bytes = b"", how: Callable[[str], subprocess.Popen[bytes]] | None = None
) -> None:
    """Start a child that will be needed soon, while this process imports other modules.

    `take_early` returns it. If nobody takes it, it ends with this process. `first` is its first
    input, no more than a pipe holds. `how` starts it; the default is `start`.
    """
    with _starting, contextlib.suppress(OSError):  # the real start reports the error, if it remains
        if module not in _early:
            child = _early[module] = (how or start)(module)
            assert child.stdin is not None
            child.stdin.write(first)


def take_early(module: str) -> subprocess.Popen[bytes] | None:
    """Return the child of this module that was started early, once; None if there is none."""
    return _early.pop(module, None)


def start(module: str) -> subprocess.Popen[bytes]:
    """Start a child, `python -P -m module`, with pipes. Raises `OSError`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        process_group=0,  # Ctrl-C at a terminal reaches only the parent, which decides
    )


def start_apart(module: str) -> subprocess.Popen[bytes]:
    """Start a child that answers on a pipe of its own, whose number is its argument.

    So nothing that it prints is taken for an answer, not even at the start of its interpreter. The
    pipe is `stdout` of the result, and all that it prints is in `stderr`. Raises `OSError`.
    """
    ours, theirs = os.pipe()
    answers = os.fdopen(ours, "rb", 0)
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            process_group=0,
            pass_fds=[theirs],
        )
    except BaseException:
        answers.close()
        raise
    finally:
        os.close(theirs)
    child.stderr, child.stdout = child.stdout, answers
    return child


class Child:
    """One child process and the threads that read its output.

    Subclasses override `on_lines`, `on_error_line` and `on_end`. The child's own threads call them.
    """

    def __init__(self, module: str) -> None:
        self.last_words: deque[str] = deque(maxlen=20)
        self.is_up = False  #: whether it has written anything, if only an empty line
        self._write_lock = threading.Lock()
        self.process = take_early(module) or start(module)
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._results = threading.Thread(target=self._read_results, daemon=True)
        self._errors.start()  # start it first: the other thread waits for it when the child ends
        self._results.start()

    def on_lines(self, lines: list[bytes]) -> None:
        """Handle complete lines of output. Some may be empty."""
        raise NotImplementedError

    def on_error_line(self, text: str) -> None:
        """Handle a line of the standard error."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Handle the end of the process, after all its output. Called once."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Write complete lines. If that fails, the child is killed, and its reader reports the
        end.
        """
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
            except BaseException:  # never leave half a line
                self.kill()
                raise

    def end_input(self) -> None:
        """Tell the child to end. Kill it if another thread is just writing to it."""
        if not self._write_lock.acquire(blocking=False):
            self.kill()
            return
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
        finally:
            self._write_lock.release()

    def kill(self) -> None:
        """Kill the child. It needs no lock."""
        with contextlib.suppress(OSError):
            self.process.kill()

    def wait(self, deadline: float) -> None:
        """Wait until the child has ended. Kill it at `deadline` (monotonic seconds)."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)

    def _read_results(self) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        parts: list[bytes] = []  # parts of an incomplete line, which may have 100 MB
        with contextlib.suppress(OSError):
            while chunk := os.read(fd, CHUNK):
                self.is_up = True
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
        """Wait for the threads that read the child after its end."""
        for thread in (self._errors, self._results):
            if thread is not threading.current_thread():
                thread.join(GRACE)
