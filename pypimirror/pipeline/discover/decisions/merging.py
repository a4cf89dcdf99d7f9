"""Merge the claims of all sources about a file. No I/O.

Claims of the same algorithm must agree. If the configuration calls one source authoritative, only
its claims and those of locks count. The owner is the source whose page lists the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pypimirror.catalog.records import FileRecord
from pypimirror.domain.model import Claim, File
from pypimirror.upstream.claims import rank
from pypimirror.verify.proof import Proof, strongest

_REMEDIES = {
    False: "name the one to believe with 'authoritative = true' in its [[upstream]]",
    True: "make the lock again, if the other is right",
}
#: Proofs that a later claimed digest may contradict: nobody had claimed a digest before.
_OWN = frozenset({Proof.STRUCTURE, Proof.PARTIAL, Proof.RELEASED})


class ConflictError(Exception):
    """Sources contradict each other about a digest. The message names both claims."""


class Terms(Struct, frozen=True):
    """What the configuration says about trust."""

    owner: str  #: the name of the upstream whose page is decided on
    authoritative: str | None = None  #: the source whose claims win
    replace_changed: bool = False  #: whether a changed digest replaces the file
    keep: bool = False  #: whether files that the upstream deletes stay, with a mark
    lets_go: bool = True  #: whether files that are replaced may leave their pages

    def replaces(self, old: FileRecord) -> bool:
        """Whether a claim that contradicts a proven file replaces the file."""
        return self.replace_changed or old.proof in _OWN


def merge(file: File, others: Sequence[Claim], terms: Terms) -> tuple[dict[str, str], str | None]:
    """Merge the claims of all sources about a file. Return the digests and the source of the best.

    The owner counts as the source if its own claims are as strong as any. Raises `ConflictError`.
    """
    if not others:  # the case of most files
        return file.digests, terms.owner if file.digests else None
    claims = [Claim(terms.owner, file.digests), *others]
    trusted = [claim for claim in claims if claim.source == terms.authoritative and claim.digests]
    trusted += [claim for claim in others if trusted and claim.is_lock]
    digests: dict[str, tuple[str, str]] = {}
    for claim in trusted or claims:
        for algorithm, value in claim.digests.items():
            before = digests.setdefault(algorithm, (value, claim.source))
            if before[0] != value:
                raise ConflictError(
                    f"{before[1]} says that its {algorithm} is {before[0]}, and {claim.source} "
                    f"says {value}; {_REMEDIES[claim.is_lock]}"
                )
    best = strongest(digests)
    source = digests[best][1] if best else None
    return {algorithm: value for algorithm, (value, _) in digests.items()}, source


def of_claim(source: str | None, terms: Terms) -> Proof:
    """Return the level of proof that a claim of this source gives."""
    return Proof.DIGEST if source == terms.owner else Proof.SHARED


def further_links(file: File, others: Sequence[Claim], owner: str) -> list[tuple[str, str]]:
    """Return the other links of a file as pairs of source and address, the owner's first.

    Links of other sources are sorted by the strength of their proof. All copies must meet all
    claims.
    """
    links = [(owner, url) for url in file.other_urls]
    for claim in sorted(others, key=lambda claim: rank(claim.digests)):
        links.extend((claim.source, url) for url in claim.urls)
    return list(dict.fromkeys(links))
