"""Levels of proof: what claims and an archive that was read to its end prove together."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from pypimirror.domain.model import ALGORITHMS, Reason
from pypimirror.verify.proof import BAD_BYTES, WEAK, Proof, level, needs_structure, strongest

STRONG = sorted(set(ALGORITHMS) - WEAK)
SUBSETS = list(chain.from_iterable(combinations(sorted(ALGORITHMS), n) for n in range(4)))


@pytest.mark.parametrize("algorithm", STRONG)
@pytest.mark.parametrize("structure", ["structure", "partial", "none"])
def test_rule_1_a_strong_claim_proves_by_itself(algorithm: str, structure: str) -> None:
    assert level([algorithm], shared=False, structure=structure) is Proof.DIGEST
    assert level([algorithm], shared=True, structure=structure) is Proof.SHARED
    assert level([algorithm, "md5"], shared=False, structure=structure) is Proof.DIGEST


@pytest.mark.parametrize("weak", [["md5"], ["sha1"], ["md5", "sha1"]])
def test_rule_2_weak_claims_count_only_together_with_structure(weak: list[str]) -> None:
    assert level(weak, shared=False, structure="structure") is Proof.DIGEST
    assert level(weak, shared=True, structure="structure") is Proof.SHARED
    for structure in ("partial", "none"):
        assert level(weak, shared=False, structure=structure) is Proof.PARTIAL
        assert level(weak, shared=True, structure=structure) is Proof.PARTIAL


@pytest.mark.parametrize(
    ("structure", "expected"),
    [("structure", Proof.STRUCTURE), ("partial", Proof.PARTIAL), ("none", Proof.PARTIAL)],
)
def test_rule_3_without_a_claim_structure_is_what_is_left(structure: str, expected: Proof) -> None:
    for shared in (False, True):
        assert level([], shared=shared, structure=structure) is expected


@pytest.mark.parametrize("claims", SUBSETS)
def test_structure_is_needed_exactly_where_no_strong_claim_is_there(
    claims: tuple[str, ...],
) -> None:
    assert needs_structure(claims) is not any(name in STRONG for name in claims)
    proven = level(claims, shared=False, structure="none") is Proof.DIGEST
    assert proven is not needs_structure(claims)


@pytest.mark.parametrize("claims", SUBSETS)
def test_more_claims_and_more_structure_never_prove_less(claims: tuple[str, ...]) -> None:
    for structure in ("none", "partial", "structure"):
        before = level(claims, shared=False, structure=structure)
        assert level(claims, shared=False, structure="structure") <= before
        for another in ALGORITHMS:
            assert level([*claims, another], shared=False, structure=structure) <= before


def test_the_strongest_is_named() -> None:
    assert strongest([]) is None
    assert strongest(["md5", "sha1"]) == "sha1"
    assert strongest(["md5", "sha256", "sha1"]) == "sha256"
    assert strongest(["unheard-of"]) is None


def test_levels_are_ordered_and_their_numbers_are_for_ever() -> None:
    assert [(each.label, int(each)) for each in Proof] == [
        ("digest", 1),
        ("shared", 2),
        ("structure", 3),
        ("partial", 4),
        ("released", 5),
    ]


def test_a_fault_of_the_machine_or_the_line_is_no_proof_against_bytes() -> None:
    others = {Reason.DISK, Reason.WORKER, Reason.LOST, Reason.CANCELLED, Reason.TIMEOUT}
    assert not BAD_BYTES & (others | {Reason.CONNECTION, Reason.HTTP_STATUS, Reason.NO_PROOF})
