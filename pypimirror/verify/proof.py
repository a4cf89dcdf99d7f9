"""Levels of proof for the bytes of a file, and which claims lead to which level.

Rules:

1. A matching digest of a strong algorithm proves the bytes: `digest` if the owning upstream gave
   it, `shared` if another source did.
2. md5 and sha1 can be forged, so they catch accidents only. They count as a digest once the archive
   was also read to its end (`structure`).
3. Without any digest, the level is `structure`. It is `partial` if the file can be checked in part
   only, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from pypimirror.domain.model import ALGORITHMS, Reason

WEAK = frozenset({"md5", "sha1"})

#: Reasons that prove bytes to be bad. Others, such as a dead worker, say nothing about the bytes.
BAD_BYTES = frozenset(
    {
        Reason.BAD_ARCHIVE,
        Reason.DIGEST_MISMATCH,
        Reason.SIZE_MISMATCH,
        Reason.TOO_LARGE,
        Reason.TRUNCATED,
        Reason.WRONG_PROJECT,
    }
)


class Proof(IntEnum):
    """A level of proof, strongest first. Stored as its number; never renumber."""

    DIGEST = 1  #: the owning upstream gave a digest, and the bytes have it
    SHARED = 2  #: another source gave one for the same project and file name
    STRUCTURE = 3  #: nobody gave one; the bytes were read to the end
    PARTIAL = 4  #: nobody gave one, and only part of the bytes can be checked
    RELEASED = 5  #: good enough only because the operator has released exactly these bytes

    @property
    def label(self) -> str:
        """The word for people, JSON and the configuration."""
        return self.name.lower()


def weakest(accept: str) -> Proof:
    """Return the weakest level that is good enough for this value of `[verify] accept`."""
    return Proof[accept.upper()]


def strongest(algorithms: Iterable[str]) -> str | None:
    """Return the strongest of these algorithms; None if none of them is known."""
    known = set(algorithms)
    return next((name for name in ALGORITHMS if name in known), None)


def needs_structure(algorithms: Iterable[str]) -> bool:
    """Whether digests of these algorithms prove nothing until the archive was read to its end."""
    return WEAK.issuperset(algorithms)


def level(algorithms: Iterable[str], *, shared: bool, structure: str) -> Proof:
    """Return the level of bytes that match digests of these algorithms.

    `structure` says how much of the archive was checked: "structure", "partial", "none", or that
    it contradicts itself and is "released".
    """
    claimed = set(algorithms)
    if claimed and (not needs_structure(claimed) or structure == "structure"):
        return Proof.SHARED if shared else Proof.DIGEST
    return {"structure": Proof.STRUCTURE, "released": Proof.RELEASED}.get(structure, Proof.PARTIAL)
