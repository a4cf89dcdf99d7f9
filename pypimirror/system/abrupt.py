"""End a process of this program at once, with one line, if it cannot end in order.

Two things may happen at any time, also during imports:

* A signal. While nothing must be cleaned up, the signal ends the process at once and is not raised:
  an exception in the middle of an import or a callback would be caught there, or lost. Code with
  something to clean up says so with `pypimirror.system.interrupts.raised`.
* The process reaches its memory limit (`ulimit -v`, a container). If that happens in a thread, the
  process ends too, because other threads would wait for that thread for ever.

Both are as safe as a kill. This module imports only built-in modules, so that it is ready before
any other import. It cannot handle the first ten milliseconds, in which Python itself starts.
"""

from __future__ import annotations

import os
import sys
from _signal import SIGINT, SIGTERM, signal  # type: ignore[import-not-found]

TYPE_CHECKING = False  # the module typing is slow to import
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Exit codes: the same as in `pypimirror.cli.errors`.
STOPPED, INTERRUPTED = 3, 130

OUT_OF_MEMORY = (
    "out of memory: this process has reached its limit; raise the limit (ulimit -v, or that of "
    "the container), or reduce [download] processes and connections"
)

#: Messages of other errors with this cause: loading a library, starting a thread or a process.
_SIGNS = ("failed to map segment", "annot allocate memory", "can't start new thread")


def install(*, signals: bool = True) -> None:
    """End this process with one line from now on. Child processes leave `signals` to their
    parent.
    """
    if signals:
        for number in (SIGINT, SIGTERM):
            signal(number, _interrupted)
    sys.excepthook = _uncaught


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, means that there is no more memory."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError | ImportError | RuntimeError) and any(
            sign in str(error) for sign in _SIGNS
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def leave(message: str, code: int) -> NoReturn:
    """Print the message and end the process, without any cleanup. It needs no memory."""
    try:
        say(message, code)
    finally:
        os._exit(code)


def say(message: str, code: int) -> None:
    """Print in one line why a command ends; with `--json`, also print the error document."""
    _write(2, b"pypimirror: " + message.encode() + b"\n")
    if "--json" in sys.argv:
        document = '{\n  "error": {\n    "exit": %d,\n    "message": "%s"\n  }\n}\n'
        _write(1, (document % (code, message)).encode())


def _write(stream: int, line: bytes) -> None:
    try:
        os.write(stream, line)
    except OSError:  # the reader is gone
        return


def _interrupted(_number: int, _frame: object) -> None:
    leave("interrupted", INTERRUPTED)


def _uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    if is_out_of_memory(error):
        leave(OUT_OF_MEMORY, STOPPED)
    if issubclass(kind, KeyboardInterrupt):
        leave("interrupted", INTERRUPTED)
    sys.__excepthook__(kind, error, traceback)
