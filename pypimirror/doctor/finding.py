"""What a check found. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  #: works, and will not for long, or not as well as it could
    FAILED = "failed"
    SKIPPED = "skipped"  #: there is nothing to check


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str  #: of the check
    state: State
    seen: str
    remedy: str = ""  #: the next step, where one is needed

    def as_json(self) -> dict[str, Any]:
        """Return it as `doctor --json` shows it."""
        return asdict(self)


def ok(name: str, seen: str) -> Finding:
    """Return that all is well."""
    return Finding(name, State.OK, seen)


def warning(name: str, seen: str, remedy: str) -> Finding:
    """Return that something should be looked at."""
    return Finding(name, State.WARNING, seen, remedy)


def failed(name: str, seen: str, remedy: str) -> Finding:
    """Return that something does not work."""
    return Finding(name, State.FAILED, seen, remedy)


def skipped(name: str, seen: str) -> Finding:
    """Return that there is nothing to check."""
    return Finding(name, State.SKIPPED, seen)
