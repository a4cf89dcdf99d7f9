"""Signals that end a run: what the first does, what another does, and where none may break in.

The first Ctrl-C or SIGTERM ends a command at once (`pypimirror.system.abrupt`), unless something is
at stake: a run, a child, a directory that is to go again, bars at a terminal. Then it cancels what
is under way: it is raised as `KeyboardInterrupt` in the main thread, within `raised`, and once more
where it was lost in a callback. Then the run's record is closed, under a `shield`. From the first
one on, Ctrl-C is left to the operating system, which ends the process at once, whatever it waits
for; that is as safe as any kill, and children end when their input does. Another SIGTERM changes
nothing: whoever stops services may well send two.
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

#: Seconds after which a lost interrupt is raised again: the callback that lost it has ended then.
_SOON = 0.05

_heard = False
_stakes = 0


def install() -> None:
    """Handle the signals of a command, and what else ends one where nobody catches it."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


@contextmanager
def raised() -> Iterator[None]:
    """Have the first signal raised, for what is to be put in order before a command ends."""
    global _stakes
    _stakes += 1
    try:
        yield
    finally:
        _stakes -= 1


def ignore() -> None:
    """Let no signal change any more how the process ends."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def heard() -> None:
    """Note that a signal has cancelled the run, whoever handled it; for the main thread."""
    global _heard
    _heard = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def shield() -> Iterator[None]:
    """Let no signal break in, except that a second Ctrl-C ends the process at once.

    For what must not be left half done: waiting for what is cancelled, and the record of it.
    Signals go to the main thread, so in another one this does nothing.
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


def _unraisable(told: UnraisableHookArgs) -> None:
    if isinstance(told.exc_value, KeyboardInterrupt):
        _raise_again()
    elif not isinstance(told.exc_value, MemoryError):  # it will be met again, where it matters
        sys.__unraisablehook__(told)


def _raise_again() -> None:
    global _heard
    _heard = False
    signal.signal(signal.SIGINT, _interrupt)
    _thread.start_new_thread(_send, ())  # no lock is taken here: anybody may hold it


def _send() -> None:
    time.sleep(_SOON)
    os.kill(os.getpid(), signal.SIGTERM)


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if abrupt.is_out_of_memory(told.exc_value):
        abrupt.leave(abrupt.OUT_OF_MEMORY, abrupt.STOPPED)  # others would wait for this thread
    threading.__excepthook__(told)
