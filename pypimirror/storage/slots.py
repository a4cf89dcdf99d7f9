"""The space on the disk that several processes of one run share.

Each process has a slot in a file, with the bytes that its downloads will still take. So no process
claims space that another process has claimed. For the threads of one process, `Room` does the same.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The name of the file in the common staging directory.
ROOM = "room"

_SLOT = struct.Struct("=q")

#: Seconds that a process waits for another one that claims room, and between two attempts.
_PATIENCE, _PAUSE = 1.0, 0.005


class Slots:
    """The slots of `number` processes in a file, of which this process has the slot `mine`.

    Raises `OSError`.
    """

    def __init__(self, file: Path, number: int, mine: int) -> None:
        self._descriptor = os.open(
            file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        os.ftruncate(self._descriptor, number * _SLOT.size)
        self._map = mmap.mmap(self._descriptor, number * _SLOT.size)
        self._mine = mine
        self.clear(mine)

    def put(self, size: int) -> None:
        """Set the bytes that this process still expects."""
        _SLOT.pack_into(self._map, self._mine * _SLOT.size, size)

    def clear(self, slot: int) -> None:
        """Note that a process expects nothing any more."""
        _SLOT.pack_into(self._map, slot * _SLOT.size, 0)

    def others(self) -> int:
        """Return the bytes that all other processes still expect."""
        sizes: list[int] = [size for (size,) in _SLOT.iter_unpack(self._map[:])]
        return sum(sizes) - sizes[self._mine]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other processes from claiming room.

        Another process may have been stopped in between. Then this one continues after a while.
        Too much space may be claimed then, but the disk is checked again while bytes arrive.
        """
        until = time.monotonic() + _PATIENCE
        while not self._lock() and time.monotonic() < until:
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        self._map.close()
        os.close(self._descriptor)
