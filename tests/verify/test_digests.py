"""Promise 1 at its root: bytes are what every claim says, or they are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import ALGORITHMS, Reason
from pypimirror.verify.digests import Claims, check
from pypimirror.verify.hashing import hash_file, new_hash

CONTENT = b"the bytes of a file"


def true_digest(algorithm: str, content: bytes = CONTENT) -> str:
    if algorithm == "blake2b_256":
        return hashlib.blake2b(content, digest_size=32).hexdigest()
    return hashlib.new(algorithm, content).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_computed_with_its_length(algorithm: str, file: Path) -> None:
    size, digests, _ = hash_file(file, [algorithm])
    assert size == len(CONTENT)
    assert digests == {algorithm: true_digest(algorithm), "sha256": true_digest("sha256")}
    assert len(digests[algorithm]) == 2 * ALGORITHMS[algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_flipped_bit_is_found_by_every_algorithm(algorithm: str, file: Path) -> None:
    claims = Claims({algorithm: true_digest(algorithm)})
    assert check(claims, *hash_file(file, claims.digests)[:2]) is None
    file.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    problem = check(claims, *hash_file(file, claims.digests)[:2])
    assert problem is not None
    assert problem.reason is Reason.DIGEST_MISMATCH
    assert algorithm in problem.message


def test_one_wrong_claim_among_right_ones_is_enough(file: Path) -> None:
    claims = Claims({name: true_digest(name) for name in ALGORITHMS} | {"md5": "0" * 32})
    problem = check(claims, *hash_file(file, claims.digests)[:2])
    assert problem is not None
    assert problem.reason is Reason.DIGEST_MISMATCH


def test_a_claim_that_was_not_computed_is_no_proof() -> None:
    problem = check(Claims({"sha512": "0" * 128}), 1, {"sha256": "0" * 64})
    assert problem is not None
    assert problem.reason is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1, 0])
def test_a_wrong_size_is_found_though_the_digest_is_right(size: int, file: Path) -> None:
    claims = Claims({"sha256": true_digest("sha256")}, size)
    problem = check(claims, *hash_file(file, claims.digests)[:2])
    assert problem is not None
    assert problem.reason is Reason.SIZE_MISMATCH


def test_an_empty_file_is_bytes_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    size, digests, _ = hash_file(tmp_path / "file", [])
    assert (size, digests["sha256"]) == (0, true_digest("sha256", b""))


@given(st.binary(max_size=300), st.integers(1, 7))
def test_hashing_in_pieces_is_hashing(content: bytes, step: int) -> None:
    state = new_hash("blake2b_256")
    for start in range(0, len(content), step):
        state.update(content[start : start + step])
    assert state.hexdigest() == true_digest("blake2b_256", content)


def test_files_larger_than_the_buffer_are_hashed_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192 + b"end"  # 2 MiB and a bit
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file")[1]["sha256"] == hashlib.sha256(content).hexdigest()
