"""The results of a check, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GapKind(StrEnum):
    """Why something that is needed is not available on this mirror."""

    PROJECT = "project"  #: the mirror has no page of it
    VERSION = "version"  #: no version on the mirror fits
    PYTHON = "python"  #: the fitting versions do not run on this Python
    PLATFORM = "platform"  #: no fitting version has a wheel for the environment, or an sdist
    AWAY = "away"  #: its page leads to the upstream: the bytes are not here
    LOST = "lost"  #: its page or its bytes should be here, and cannot be read
    UNKNOWN = "unknown"  #: only a build could tell its requirements
    FILE = "file"  #: a file that a lock names is not here
    DIGEST = "digest"  #: a file of this name is here, with other bytes
    CONFLICT = "conflict"  #: everything is here, but does not fit together
    INSTALLER = "installer"  #: an installer refused a solution of the resolver


class CheckState(StrEnum):
    """The result for one environment."""

    COMPLETE = "complete"
    MISSING = "missing"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True)
class Gap:
    """Something that is missing."""

    kind: GapKind
    project: str  #: "" if it is not about one project
    requirement: str  #: the unmet requirement, such as "six>1.17"
    message: str  #: the end of a sentence that begins with the requirement
    chain: tuple[str, ...] = ()  #: who needs it, beginning with the requested requirement
    file: str | None = None

    def __str__(self) -> str:
        what = self.file or self.requirement
        by = f" (needed by {' > '.join(self.chain)})" if self.chain else ""
        return f"{what}{by}: {self.message}" if what else self.message


@dataclass(frozen=True)
class Outcome:
    """The outcome for one subject in one environment."""

    subject: str  #: a file, or requirements
    python: str | None  #: None for a lock in all environments
    platform: str | None
    state: CheckState
    releases: int = 0  #: number of releases that would be installed
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def environment(self) -> str:
        """The environment, for people."""
        if self.python is None:
            return "every environment"
        return f"Python {self.python}, {self.platform}"
