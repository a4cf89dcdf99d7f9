"""The messages between parent and verification worker: one JSON object a line.

As in `pypimirror.download.protocol`: a `Hello`, then jobs, each answered by one result.
"""

from __future__ import annotations

import msgspec

from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import Problem
from pypimirror.system.workers import Note, Progress


class Hello(msgspec.Struct, frozen=True, omit_defaults=True, tag="hello"):
    """The first line to a worker."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True, tag="check"):
    """Check one file on disk. Each flag asks for one check."""

    id: int
    path: str
    project: str
    filename: str
    size: int | None = None  #: bytes, if known; only to estimate the work
    root: str = ""  #: the mirror root, if the file is in it; see `regular.status`
    digests: tuple[str, ...] = ()  #: algorithms; with none, the bytes are not hashed
    structure: bool = False  #: read the archive to its end
    released: bool = False  #: the operator has released these bytes
    metadata_path: str = ""  #: where to write a wheel's core metadata
    sidecar: str = ""  #: the path of its core metadata, to hash as well
    provenance: str = ""  #: the path of its attestations, to hash as well
    requires: bool = False  #: read its requirements; only for proven bytes
    #: The stamp for the result, if the file at `path` is a copy; None for the file's own.
    stamp: int | None = None

    @property
    def cost(self) -> int:
        """Effort, in units of a small job: a megabyte takes about as long as one."""
        return 1 + ((self.size or 0) >> 20)

    def failed(self, problem: Problem) -> Checked:
        """Return the result that says that this job failed."""
        return Checked(self.id, problem=problem)


class Checked(msgspec.Struct, frozen=True, omit_defaults=True, tag="checked"):
    """The answer to a `Check`."""

    id: int
    size: int = 0  #: bytes
    digests: dict[str, str] = {}  #: computed
    #: How much of the archive could be checked: "structure", "partial", "released" or "none".
    structure: str = "none"
    metadata_sha256: str = ""  #: of the core metadata that was written, hex
    sidecar_sha256: str = ""  #: of the core metadata file, hex; "" if there is none
    provenance_sha256: str = ""  #: of the attestations file, hex; "" if there is none
    stamp: int | None = None  #: of the file while it was hashed; see `stamps.stamp`
    requires: Requirements | None = None  #: if the job asked for it
    #: What is wrong with the bytes; LOST if there is no file.
    problem: Problem | None = None


FromWorker = Checked | Note | Progress
ToWorker = Hello | Check
