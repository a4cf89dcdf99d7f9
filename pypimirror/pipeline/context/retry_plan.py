"""What a run does again of an earlier one: a value. `pypimirror.pipeline.retry` decides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pypimirror.catalog.records import ProjectFile
from pypimirror.domain.model import ProjectName


@dataclass(frozen=True)
class Retry:
    """What a run does again of an earlier one."""

    of: str  #: the name of that run
    said: str  #: what is done again, for people
    whole: bool = False  #: look for changes again, as that run did
    #: Projects that the retry is limited to; None: all that are open.
    names: tuple[ProjectName, ...] | None = None
    #: Projects whose pages are asked for again.
    look: tuple[ProjectName, ...] = ()
    #: Projects that files of are tried again.
    reopen: tuple[ProjectName, ...] = ()
    #: Of these projects, only these files are fetched.
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def wants(self, row: ProjectFile) -> bool:
        """Whether a file is one to fetch."""
        return row.project not in self.only or row.filename in self.only[row.project]
