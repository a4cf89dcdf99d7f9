"""The numbers behind a progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Counts:
    """The progress of a stage, or of the whole run."""

    things: int = 0
    done: int = 0
    failed: int = 0
    size: int = 0  #: bytes in all, if known
    received: int = 0  #: bytes so far

    def add(self, more: Mapping[str, int]) -> None:
        """Add numbers to these counts, by field name."""
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
