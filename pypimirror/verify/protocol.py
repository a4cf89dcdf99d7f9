"""What parent and verification worker say to each other: one JSON object a line.

As in `pypimirror.download.protocol`: a `Hello`, then jobs, each answered by one result.
"""

from __future__ import annotations

import msgspec

from pypimirror.domain.model import Problem
from pypimirror.system.workers import Note, Progress


class Hello(msgspec.Struct, frozen=True, omit_defaults=True, tag="hello"):
    """The first line to a worker."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True, tag="check"):
    """Look at one file on disk. What is looked at is chosen flag by flag."""

    id: int
    path: str
    project: str
    filename: str
    size: int | None = None  #: bytes, as far as known; only tells how much work this is
    root: str = ""  #: the mirror root, where the file is in its place; see `regular.status`
    digests: tuple[str, ...] = ()  #: algorithms; none: the bytes are not hashed
    structure: bool = False  #: read the archive to its end
    released: bool = False  #: the operator lets it contradict itself
    metadata_path: str = ""  #: where a wheel's core metadata is to be written
    sidecar: str = ""  #: where its core metadata is, to be hashed as well
    provenance: str = ""  #: where its attestations are, to be hashed as well

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
    sidecar_sha256: str = ""  #: of the core metadata that is there, hex; "" where it is not
    provenance_sha256: str = ""  #: of the attestations that are there, hex; "" where they are not
    stamp: int | None = None  #: of the file that was hashed, while it was; see `paths.stamp`
    #: What is wrong with the bytes; LOST where there are none.
    problem: Problem | None = None


FromWorker = Checked | Note | Progress
ToWorker = Hello | Check
