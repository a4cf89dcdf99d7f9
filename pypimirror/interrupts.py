"""Signals that end a run: what the first does, what another does, and where none may break in.

The first Ctrl-C or SIGTERM cancels what is under way: it is raised as `KeyboardInterrupt` in the
main thread. Then the run's record is closed, under a `shield`. From the first one on, Ctrl-C is
left to the operating system, which ends the process at once, whatever it waits for; that is as
safe as any kill, and children end when their input does. Another SIGTERM changes nothing: whoever
stops services may well send two.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_heard = False


def install() -> None:
    """Handle the signals of a command."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


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
    if not again:
        raise KeyboardInterrupt


def _note(_number: int, _frame: FrameType | None) -> None:
    heard()
