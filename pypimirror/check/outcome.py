"""What a check found: values, and how JSON shows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Why something that is needed cannot be had from this mirror."""

    PROJECT = "project"  #: the mirror has no page of it
    VERSION = "version"  #: no version that is here fits
    PYTHON = "python"  #: what fits does not run on this Python
    PLATFORM = "platform"  #: what fits has no wheel for this environment, and no sdist
    AWAY = "away"  #: its page leads to the upstream: the bytes are not here
    UNKNOWN = "unknown"  #: only its build could tell what it requires
    FILE = "file"  #: a file that a lock names is not here
    DIGEST = "digest"  #: a file of this name is here, with other bytes
    CONFLICT = "conflict"  #: everything is here, and does not go together
    INSTALLER = "installer"  #: an installer refused what a resolver takes


class State(StrEnum):
    """What was found for one environment."""

    COMPLETE = "complete"
    MISSING = "missing"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True)
class Gap:
    """One thing that is missing."""

    kind: Kind
    project: str  #: "" where it is none of one project
    requirement: str  #: as it is needed, such as "six>1.17"
    message: str  #: the end of a sentence that begins with it
    chain: tuple[str, ...] = ()  #: who needs it, from what was asked for on
    file: str | None = None

    def __str__(self) -> str:
        what = self.file or self.requirement
        by = f" (needed by {' > '.join(self.chain)})" if self.chain else ""
        return f"{what}{by}: {self.message}" if what else self.message


@dataclass(frozen=True)
class Outcome:
    """What was found of one thing in one environment."""

    subject: str  #: what was asked for: a file, or requirements
    python: str | None  #: None: of a lock, every environment
    platform: str | None
    state: State
    releases: int = 0  #: that would be installed
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def environment(self) -> str:
        """The environment, for people."""
        if self.python is None:
            return "every environment"
        return f"Python {self.python}, {self.platform}"
