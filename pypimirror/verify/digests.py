"""Compare digests with claims.

All claimed digests must agree, and a claimed size too. `pypimirror.verify.proof` says what this
proves, `pypimirror.verify.hashing` computes digests.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pypimirror.domain.model import Problem, Reason


class Claims(Struct, frozen=True):
    """The expected digests and size of a file."""

    digests: Mapping[str, str]  #: algorithm to lower-case hex
    size: int | None = None  #: bytes


def check(claims: Claims, size: int, digests: Mapping[str, str]) -> Problem | None:
    """Return the problem of bytes with this size and these digests, or None."""
    if claims.size is not None and claims.size != size:
        return Problem(Reason.SIZE_MISMATCH, f"has {size} bytes where {claims.size} were announced")
    for algorithm, claimed in claims.digests.items():
        if digests.get(algorithm) != claimed:
            return Problem(
                Reason.DIGEST_MISMATCH,
                f"has {algorithm} {digests.get(algorithm)} where {claimed} was announced",
            )
    return None
