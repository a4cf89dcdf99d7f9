"""How far something has come, as a bar shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Counts:
    """How far one thing has come: a stage, or the run."""

    things: int = 0
    done: int = 0
    failed: int = 0
    size: int = 0  #: bytes that are to come, where that is known
    received: int = 0  #: bytes

    def add(self, more: Mapping[str, int]) -> None:
        """Add to these counts, by name."""
        for name, number in more.items():
            setattr(self, name, getattr(self, name) + number)

    @property
    def total(self) -> int | None:
        """What the bar counts to: bytes where they are known, else things; None: unknown."""
        return self.size or self.things or None

    @property
    def completed(self) -> int:
        """How far the bar is. What failed brings no bytes, and is done nevertheless."""
        if not self.size:
            return self.done
        return self.size if self.done >= self.things else min(self.received, self.size)
