"""Counts of answers, in memory that all processes of the web server share.

Each process has a row and writes only there. A process that is started again continues the row of
its predecessor, so no count ever falls.
"""

from __future__ import annotations

import mmap
import os
import tempfile

#: Numbers of a row: answers by their status, and then direct answers on demand.
_ROW = 1024
_PAGES, _FILES = 1022, 1023
_BYTES = 8  #: of a number


def shared_memory(rows: int) -> int:
    """Return the descriptor of memory for the counts of this many processes."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("counts")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.write(memory, bytes(rows * _ROW * _BYTES))
    return memory


class AnswerCounts:
    """The counts of `rows` processes, of which this one has the row `own`.

    `memory` is what `shared_memory` returned; -1 if there is only this process.
    """

    def __init__(self, memory: int = -1, rows: int = 1, own: int = 0) -> None:
        self._all = memoryview(mmap.mmap(memory, rows * _ROW * _BYTES)).cast("Q")
        self._own = self._all[own * _ROW : (own + 1) * _ROW]

    def answered(self, status: int) -> None:
        """Count an answer."""
        self._own[status] += 1

    def direct(self, *, is_page: bool) -> None:
        """Count a direct answer with a page or a file."""
        self._own[_PAGES if is_page else _FILES] += 1

    def answers(self) -> dict[int, int]:
        """Return how many answers there were, by status."""
        sums = {status: self._sum(status) for status in range(_PAGES)}
        return {status: number for status, number in sums.items() if number}

    def directly(self, *, is_page: bool) -> int:
        """Return how many direct answers with a page or a file there were."""
        return self._sum(_PAGES if is_page else _FILES)

    def _sum(self, place: int) -> int:
        return sum(self._all[place::_ROW])
