"""The part of an earlier run to repeat, as a value. `pypimirror.pipeline.retry` decides it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from pypimirror.catalog.records import ProjectFile
from pypimirror.domain.model import ProjectName


class Retry(Struct, frozen=True):
    """The work that a run repeats of an earlier run."""

    of: str  #: the name of that run
    summary: str  #: what is repeated, in words for people
    whole: bool = False  #: look for changes again, as that run did
    #: Projects that the retry is limited to; None: all with open work.
    names: tuple[ProjectName, ...] | None = None
    #: Projects whose pages are fetched again.
    look: tuple[ProjectName, ...] = ()
    #: Projects with files that are tried again.
    reopen: tuple[ProjectName, ...] = ()
    #: For these projects, only these files are fetched.
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def wants(self, row: ProjectFile) -> bool:
        """Whether a file is to be fetched."""
        return row.project not in self.only or row.filename in self.only[row.project]
