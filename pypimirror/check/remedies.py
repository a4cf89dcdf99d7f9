"""Values for a missing project or file: what is wanted, and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pypimirror.domain.model import ProjectName


@dataclass(frozen=True)
class Wish:
    """A missing project or file."""

    project: ProjectName
    versions: str  #: as specifiers; "" for any
    fits: Callable[[str], bool]  #: whether a file with this name is good enough
    environment: str  #: for messages
    file: str | None = None  #: the only file that is good enough
    is_indirect: bool = False  #: a release needs it, and nobody named it


@dataclass(frozen=True)
class Remedy:
    """How to get a missing project or file."""

    upstream: str  #: a sentence on whether an upstream has it
    line: str | None = None  #: the setting to change, or the command to run
