"""What a check found. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class FindingState(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  #: works, but not well, or not for long
    FAILED = "failed"
    SKIPPED = "skipped"  #: there is nothing to check


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str  #: the name of the check
    state: FindingState
    seen: str  #: what the check saw
    remedy: str = ""  #: the next step, if one is needed

    def as_json(self) -> dict[str, Any]:
        """Return the finding as `doctor --json` shows it."""
        return asdict(self)


def ok(name: str, seen: str) -> Finding:
    """Return a finding: all is well."""
    return Finding(name, FindingState.OK, seen)


def warning(name: str, seen: str, remedy: str) -> Finding:
    """Return a finding: somebody should look at this."""
    return Finding(name, FindingState.WARNING, seen, remedy)


def failed(name: str, seen: str, remedy: str) -> Finding:
    """Return a finding: this does not work."""
    return Finding(name, FindingState.FAILED, seen, remedy)


def skipped(name: str, seen: str) -> Finding:
    """Return a finding: there is nothing to check."""
    return Finding(name, FindingState.SKIPPED, seen)
