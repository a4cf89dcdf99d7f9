"""Signals that end a run: the effect of the first and of later ones, and code that they must not
stop.

The first Ctrl-C or SIGTERM ends a command at once (`pypimirror.system.abrupt`), unless something
must be cleaned up: a run, a child, a temporary directory, progress bars at a terminal. In that case
it cancels the work in progress: within `raised`, `KeyboardInterrupt` is raised in the main thread,
and raised again if a callback lost it. Then the run's record is closed under a `shield`. After the
first signal, Ctrl-C is left to the operating system, which ends the process at once, whatever it
waits for. That is as safe as any kill, and children end with their input. Another SIGTERM changes
nothing, because service managers may send two.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from pypimirror.system import abrupt

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Seconds after which a lost interrupt is raised again. The callback that lost it has ended then.
_SOON = 0.05

_heard = False
_stakes = 0


def install() -> None:
    """Handle the signals of a command, and errors that nobody catches."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


@contextmanager
def raised() -> Iterator[None]:
    """Raise the first signal as an exception, because there is something to clean up."""
    global _stakes
    _stakes += 1
    try:
        yield
    finally:
        _stakes -= 1


def ignore() -> None:
    """Ignore all signals from now on: nothing changes how the process ends."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def heard() -> None:
    """Note that a signal has cancelled the run. In the main thread, leave Ctrl-C to the system."""
    global _heard
    _heard = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_heard() -> bool:
    """Whether a signal has cancelled the run, or has come under a `shield`."""
    return _heard


@contextmanager
def shield() -> Iterator[None]:
    """Block signals, except that a second Ctrl-C ends the process at once.

    For work that must not be half done: waiting for cancelled work, and recording the end. Only the
    main thread receives signals, so this does nothing in other threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGTERM, _note)
    signal.signal(signal.SIGINT, signal.SIG_DFL if _heard else _note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _heard:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    again = _heard
    heard()
    if again:
        return
    if not _stakes:
        abrupt.leave("interrupted", abrupt.INTERRUPTED)
    raise KeyboardInterrupt


def _note(_number: int, _frame: FrameType | None) -> None:
    heard()


def _unraisable(unraisable: UnraisableHookArgs) -> None:
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _raise_again()
    elif not isinstance(unraisable.exc_value, MemoryError):  # it will happen again where it matters
        sys.__unraisablehook__(unraisable)


def _raise_again() -> None:
    global _heard
    _heard = False
    signal.signal(signal.SIGINT, _interrupt)
    _thread.start_new_thread(_send, ())  # this takes no lock: any thread may hold one


def _send() -> None:
    time.sleep(_SOON)
    os.kill(os.getpid(), signal.SIGTERM)


def _uncaught_in_thread(uncaught: threading.ExceptHookArgs) -> None:
    if abrupt.is_out_of_memory(uncaught.exc_value):
        abrupt.leave(abrupt.OUT_OF_MEMORY, abrupt.STOPPED)  # others would wait for this thread
    threading.__excepthook__(uncaught)
