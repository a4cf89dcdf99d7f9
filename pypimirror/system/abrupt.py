"""How a process of this program ends where it cannot end in order: with one line, at once.

Two things may come at any moment, also while modules are imported:

* A signal. As long as nothing is at stake, it ends the process on the spot, and is not raised: an
  exception that breaks into an import or into a callback is caught by whoever imports, or lost.
  What is at stake says so, with `pypimirror.system.interrupts.raised`.
* The end of the memory that the process may have (`ulimit -v`, a container). Where it happens in a
  thread, the process ends as well: the others would wait for that thread for ever.

Either is as safe as a kill. Imports only what is built in, so that it is there before anything
else is; what Python does before that, for some ten milliseconds, is its own affair.
"""

from __future__ import annotations

import os
import sys
from _signal import SIGINT, SIGTERM, signal  # type: ignore[import-not-found]

TYPE_CHECKING = False  # the module typing is slow to import
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: The exit codes, of those in `pypimirror.cli.errors`.
STOPPED, INTERRUPTED = 3, 130

OUT_OF_MEMORY = (
    "out of memory: this process may not have more; raise its limit (ulimit -v, or that of its "
    "container), or let fewer [download] processes and connections work at once"
)

#: What else than `MemoryError` says so: a library that cannot be loaded, a thread, a process.
_SIGNS = ("failed to map segment", "annot allocate memory", "can't start new thread")


def install(*, signals: bool = True) -> None:
    """End this process with one line from now on; children leave `signals` to their parent."""
    if signals:
        for number in (SIGINT, SIGTERM):
            signal(number, _interrupted)
    sys.excepthook = _uncaught


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or the one that it was made of, says that there is no more memory."""
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
    """Say why and end the process; nothing is cleaned up, and no memory is needed."""
    try:
        say(message, code)
    finally:
        os._exit(code)


def say(message: str, code: int) -> None:
    """Say in one line why a command ends, and to a program what it reads."""
    _write(2, b"pypimirror: " + message.encode() + b"\n")
    if "--json" in sys.argv:
        document = '{\n  "error": {\n    "exit": %d,\n    "message": "%s"\n  }\n}\n'
        _write(1, (document % (code, message)).encode())


def _write(stream: int, line: bytes) -> None:
    try:
        os.write(stream, line)
    except OSError:  # nobody listens
        return


def _interrupted(_number: int, _frame: object) -> None:
    leave("interrupted", INTERRUPTED)


def _uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    if is_out_of_memory(error):
        leave(OUT_OF_MEMORY, STOPPED)
    if issubclass(kind, KeyboardInterrupt):
        leave("interrupted", INTERRUPTED)
    sys.__excepthook__(kind, error, traceback)
