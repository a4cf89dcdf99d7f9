"""Processes below this one: list them, adopt orphans, end them.

On Linux, an orphan below this process becomes its child, so no process is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

_SET_DEATH_SIGNAL = 1  # of prctl(2)
_SET_CHILD_SUBREAPER = 36

#: Seconds between two checks on systems that do not report the end of a process.
_LOOK = 0.1


def end_with_parent(number: int) -> None:
    """Ask the system for a signal when the parent of this process ends (Linux only)."""
    _prctl(_SET_DEATH_SIGNAL, number)


def adopt_orphans() -> None:
    """Make orphans below this process its own children (Linux only)."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Return the ids of the children of `pid`, also of those that have just ended."""
    return _table().get(pid, [])


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below `pid`, parents first."""
    table = _table()
    found = list(table.get(pid, []))
    for process in found:  # grows meanwhile
        found += table.get(process, [])
    return found


def _table() -> dict[int, list[int]]:
    """Return the children of every process."""
    table: dict[int, list[int]] = {}
    for pid, parent in _parents():
        table.setdefault(parent, []).append(pid)
    return table


def _parents() -> Iterable[tuple[int, int]]:
    if sys.platform == "linux":
        for process in Path("/proc").glob("[1-9]*"):
            with contextlib.suppress(OSError):
                # The name of the program, in brackets, may hold anything.
                fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
                yield int(process.name), int(fields[1])
        return
    command = ("ps", "-axo", "pid=,ppid=")
    with contextlib.suppress(OSError):
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in said.splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to all processes that still exist."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap(own: Collection[int]) -> None:
    """Reap adopted children that have ended. Others wait for the processes in `own`."""
    for pid in children(os.getpid()):
        if pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child of this process; return its exit code, or minus the signal's number."""
    if not hasattr(os, "pidfd_open"):
        while (code := process.poll()) is None:
            await asyncio.sleep(_LOOK)
        return code
    await _gone(process.pid)
    return process.wait()


async def gone(pids: Iterable[int], seconds: float) -> bool:
    """Wait at most `seconds` until all of `pids` have ended; return whether they have.

    They need not be children of this process.
    """
    waits = [asyncio.create_task(_gone(pid)) for pid in pids]
    if not waits:
        return True
    _, pending = await asyncio.wait(waits, timeout=max(0.0, seconds))
    for wait in pending:
        wait.cancel()
    return not pending


async def _gone(pid: int) -> None:
    if not hasattr(os, "pidfd_open"):
        while _is_there(pid):
            await asyncio.sleep(_LOOK)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
