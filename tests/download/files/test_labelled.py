"""Files with a Content-Encoding that nobody asked for: the digest decides what the label means."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import Reason
from pypimirror.download.files.hashing import Digests
from pypimirror.download.files.labelled import encoding_of, opens, room
from tests import simulator as faults
from tests.download.conftest import BODY, Lab, MakeLab, good, problem, sha256
from tests.serve.tree import wheel
from tests.simulator import IndexFile, Simulator

NOISE = os.urandom(300_000)  #: grows when it is packed
SDIST = gzip.compress(NOISE)


@pytest.fixture
def noise(simulator: Simulator) -> IndexFile:
    return simulator.add_file("noise", "noise-1.0.tar.gz", NOISE)


def answer(simulator: Simulator, file: IndexFile, label: str, body: bytes | None = None) -> None:
    """Have a file sent with a label, and other bytes in its place where some are given."""
    if body is not None:
        simulator.fault(file, faults.Replace(body))
    simulator.fault(file, faults.SetHeaders({"Content-Encoding": label}))


@pytest.mark.parametrize("size", ["told", "untold"])
@pytest.mark.parametrize(
    "label",
    [
        *("gzip", "x-gzip", "GZIP", "deflate", "gzip, gzip", "aws-chunked", "aws-chunked,gzip"),
        *("x-bzip2", "br", "binary", "utf-8", "none", "identity", "x" * 100),
    ],
)
def test_bytes_as_they_are_sent_are_the_file_if_they_have_its_digest(
    lab: Lab, simulator: Simulator, label: str, size: str
) -> None:
    file = simulator.add_file("big", "big-1.0.tar.gz", SDIST)
    answer(simulator, file, label)
    good(lab.file(file, **({} if size == "told" else {"size": None})), lab.path(), SDIST)
    assert [path.name for path in lab.directory.iterdir()] == ["file"]


@pytest.mark.parametrize("size", ["told", "untold"])
@pytest.mark.parametrize("label", ["gzip", "x-gzip", "deflate", "aws-chunked, gzip"])
def test_else_what_they_unpack_to_is(
    lab: Lab, simulator: Simulator, noise: IndexFile, label: str, size: str
) -> None:
    packed = zlib.compress(NOISE) if label == "deflate" else SDIST
    assert len(packed) > len(NOISE)
    answer(simulator, noise, label, packed)
    result = lab.file(noise, **({} if size == "told" else {"size": None}))
    good(result, lab.path(), NOISE)
    assert result.transferred == len(packed)
    assert [path.name for path in lab.directory.iterdir()] == ["file"]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512", "blake2b_256"])
def test_any_digest_decides(
    lab: Lab, simulator: Simulator, noise: IndexFile, algorithm: str
) -> None:
    digests = Digests([algorithm])
    digests.update(NOISE)
    answer(simulator, noise, "gzip", SDIST)
    expected = {algorithm: digests.hex()[algorithm]}
    good(lab.file(noise, digests=expected), lab.path(), NOISE)


@pytest.mark.parametrize("label", ["gzip", "x-bzip2", "br"])
def test_without_a_digest_nothing_decides(
    lab: Lab, simulator: Simulator, six: IndexFile, label: str
) -> None:
    answer(simulator, six, label)
    told = problem(lab.file(six, digests={}), Reason.BAD_RESPONSE).message
    assert label in told and "no digest" in told
    assert list(lab.directory.iterdir()) == []


def test_what_says_nothing_needs_no_digest(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    """The archive is read to its end: bytes that were framed as well would be seen."""
    answer(simulator, six, "aws-chunked")
    good(lab.file(six, digests={}), lab.path(), six.content)


def test_neither_is_the_file(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    packed = gzip.compress(b"another")
    answer(simulator, six, "gzip", packed)
    result = lab.file(six)
    told = problem(result, Reason.DIGEST_MISMATCH).message
    assert "'gzip'" in told and "neither as sent nor unpacked" in told
    assert lab.path().read_bytes() == packed  # for quarantine
    assert result.digests["sha256"] == sha256(packed)
    assert [path.name for path in lab.directory.iterdir()] == ["file"]


def test_what_cannot_be_unpacked_is_not_taken_for_bad_bytes(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    answer(simulator, six, "br", BODY[::-1])
    assert "'br'" in problem(lab.file(six), Reason.BAD_RESPONSE).message
    assert list(lab.directory.iterdir()) == []


def test_a_packed_error_page_is_called_one(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.HtmlError())
    simulator.fault(six, faults.Encoded())
    assert "HTML page" in problem(lab.file(six), Reason.BAD_RESPONSE).message
    assert list(lab.directory.iterdir()) == []


@pytest.mark.parametrize("size", ["told", "untold"])
def test_a_bomb_costs_no_more_than_the_limit(
    make_lab: MakeLab,
    simulator: Simulator,
    six: IndexFile,
    size: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator.fault(six, faults.GzipBomb(size=64 << 20))
    lab = make_lab(max_file_size=1 << 20)
    most = 0
    replace = os.unlink

    def unlink(path: str, **options: int) -> None:
        nonlocal most
        if path.endswith(".unpacked"):
            most = max(most, os.stat(path).st_size)
        replace(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    problem(lab.file(six, **({} if size == "told" else {"size": None})), Reason.DIGEST_MISMATCH)
    assert 0 <= most <= 1 << 20


def test_more_than_the_limit_is_refused_also_where_it_comes_packed(
    make_lab: MakeLab, simulator: Simulator, noise: IndexFile
) -> None:
    answer(simulator, noise, "gzip")
    lab = make_lab(max_file_size=len(NOISE) - 1)
    problem(lab.file(noise, size=None), Reason.TOO_LARGE)
    answer(simulator, noise, "gzip", SDIST)
    assert lab.file(noise, size=None).problem is not None


def test_a_size_that_the_index_says_binds_what_is_sent_as_it_is(
    lab: Lab, simulator: Simulator, noise: IndexFile
) -> None:
    answer(simulator, noise, "gzip")
    problem(lab.file(noise, size=len(NOISE) - 1), Reason.SIZE_MISMATCH)
    problem(lab.file(noise, size=len(NOISE) + 1), Reason.SIZE_MISMATCH)
    huge = b"\0" * (room(len(BODY)) + 1)
    answer(simulator, noise, "gzip", huge)
    problem(lab.file(noise, size=len(BODY)), Reason.SIZE_MISMATCH)
    assert lab.file(noise, size=len(BODY)).transferred == 0


def test_a_broken_transfer_is_continued_under_the_same_label(
    make_lab: MakeLab, simulator: Simulator
) -> None:
    file = simulator.add_file("big", "big-1.0.tar.gz", SDIST)
    answer(simulator, file, "gzip")
    simulator.fault(file, faults.Truncate(at=200_000), nth=1)
    lab = make_lab(tries=3)
    result = lab.file(file)
    good(result, lab.path(), SDIST)
    assert result.transferred == len(SDIST)
    assert [request.headers.get("range") for request in simulator.requests] == [
        None,
        "bytes=200000-",
    ]


def test_what_ends_early_without_a_length_is_asked_for_again(
    make_lab: MakeLab, simulator: Simulator, noise: IndexFile
) -> None:
    answer(simulator, noise, "gzip", SDIST)
    simulator.fault(noise, faults.MissingLength(at=1000), nth=1)
    lab = make_lab(tries=3)
    result = lab.file(noise)
    good(result, lab.path(), NOISE)
    assert result.attempts == 2


@given(st.binary(max_size=70_000), st.integers(0, 9))
def test_there_is_room_for_what_does_not_get_smaller(data: bytes, level: int) -> None:
    assert len(gzip.compress(data, level)) <= room(len(data))


@pytest.mark.parametrize(
    ("label", "known"),
    [("", False), ("identity", False), (" Gzip ", True), ("aws-chunked", False), ("br", False)],
)
def test_labels(label: str, known: bool) -> None:
    found = encoding_of({"Content-Encoding": label})
    assert opens(found) is known
    assert bool(found) is (label not in ("", "identity", "aws-chunked"))


def test_wheels_that_come_packed_keep_their_core_metadata(
    lab: Lab, simulator: Simulator, tmp_path: Path
) -> None:
    """It is taken from what was unpacked, by the stage that verifies."""
    name, content, _ = wheel("six", "1.0")
    file = simulator.add_file("six", name, content)
    answer(simulator, file, "gzip", gzip.compress(content))
    result = lab.file(file, metadata_path=str(tmp_path / "metadata"))
    good(result, lab.path(), content)
    assert result.metadata_sha256 == ""
