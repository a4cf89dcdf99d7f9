"""The numbers behind a progress bar: how much is done, how fast, and how long the rest takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec import Struct, field

#: Seconds over which the pace is an average, and between two notes of how much was done.
_WINDOW, _STEP = 60.0, 0.5
#: Seconds before which no pace is shown.
_EARLY = 1.0


class ProgressCounts(Struct):
    """The progress of a stage, or of the whole run. Times are in seconds of any clock."""

    things: int = 0
    done: int = 0
    failed: int = 0
    size: int = 0  #: bytes in all, if known
    received: int = 0  #: bytes so far
    #: Earlier times, and how many things and bytes were done then.
    _noted: deque[tuple[float, int, int]] = field(default_factory=deque)

    def add(self, more: Mapping[str, int], now: float) -> None:
        """Add numbers to these counts, by field name."""
        if not self._noted or now - self._noted[-1][0] >= _STEP:
            self._noted.append((now, self.done, self.received))
        while now - self._noted[0][0] > _WINDOW and len(self._noted) > 1:
            self._noted.popleft()
        for name, number in more.items():
            setattr(self, name, getattr(self, name) + number)

    @property
    def total(self) -> int | None:
        """The length of the bar: bytes if known, else things; None if neither is known."""
        return self.size or self.things or None

    @property
    def completed(self) -> int:
        """The position of the bar. A failed thing counts as done, though it brings no bytes."""
        if not self.size:
            return self.done
        return self.size if self.done >= self.things else min(self.received, self.size)

    def pace(self, now: float) -> float | None:
        """Return bytes a second, or things if the bar counts these; None: it is too early."""
        if not self._noted:
            return None
        since, done, received = self._noted[0]
        if now - since < _EARLY:
            return None
        progress = self.received - received if self.size else self.done - done
        return progress / (now - since)

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest takes at this pace; None: nobody knows, or none is left.

        A stage knows only of the batches that have entered it.
        """
        pace = self.pace(now)
        rest = (self.total or 0) - self.completed
        return rest / pace if pace and rest > 0 else None
