"""The verification worker: one answer for each job, whatever the file is."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pypimirror.domain.model import Reason
from pypimirror.system.workers import Note
from pypimirror.verify.protocol import Check, Checked, FromWorker, Hello
from pypimirror.verify.worker import check
from tests.corpus.build import core_metadata, make_sdist, make_wheel

WHEEL = make_wheel("six", "1.0")
SDIST = make_sdist("six", "1.0")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "1.part"
    path.write_bytes(WHEEL[1])
    return path


def job(path: Path, name: str = WHEEL[0], **flags: Any) -> Check:
    return Check(7, str(path), "six", name, **flags)


# What a job asks for


def test_digests_as_asked_and_sha256_besides(wheel: Path) -> None:
    result = check(job(wheel, digests=("md5", "blake2b_256")))
    assert (result.id, result.size, result.problem) == (7, len(WHEEL[1]), None)
    assert result.digests == {
        "md5": hashlib.md5(WHEEL[1]).hexdigest(),
        "sha256": hashlib.sha256(WHEEL[1]).hexdigest(),
        "blake2b_256": hashlib.blake2b(WHEEL[1], digest_size=32).hexdigest(),
    }
    assert result.structure == "none", "nobody asked"


def test_structure_and_core_metadata(wheel: Path, tmp_path: Path) -> None:
    to = tmp_path / "1.metadata"
    result = check(job(wheel, structure=True, metadata_path=str(to)))
    assert (result.structure, result.problem, result.digests) == ("structure", None, {})
    assert to.read_bytes() == core_metadata("six", "1.0")
    assert result.metadata_sha256 == hashlib.sha256(to.read_bytes()).hexdigest()


def test_core_metadata_without_structure(wheel: Path, tmp_path: Path) -> None:
    to = tmp_path / "1.metadata"
    result = check(job(wheel, metadata_path=str(to)))
    assert (result.structure, to.read_bytes()) == ("none", core_metadata("six", "1.0"))


def test_of_a_broken_wheel_no_core_metadata_is_written(wheel: Path, tmp_path: Path) -> None:
    wheel.write_bytes(WHEEL[1] + b"behind the end")
    to = tmp_path / "1.metadata"
    result = check(job(wheel, structure=True, metadata_path=str(to)))
    assert result.problem is not None and result.problem.reason is Reason.BAD_ARCHIVE
    assert result.metadata_sha256 == "" and not to.exists()


def test_an_sdist_has_no_core_metadata_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "1.part"
    path.write_bytes(SDIST[1])
    to = tmp_path / "1.metadata"
    result = check(job(path, SDIST[0], structure=True, metadata_path=str(to)))
    assert (result.structure, result.metadata_sha256, to.exists()) == ("structure", "", False)


# What may be wrong


@pytest.mark.parametrize("flags", [{"digests": ("sha256",)}, {"structure": True}, {}])
def test_a_file_that_is_not_there_is_lost(tmp_path: Path, flags: dict[str, Any]) -> None:
    result = check(job(tmp_path / "nothing", **flags))
    assert result.problem is not None
    assert (result.problem.reason, result.problem.file) == (Reason.LOST, WHEEL[0])


def test_what_is_no_file_is_lost(tmp_path: Path) -> None:
    result = check(job(tmp_path, digests=("sha256",)))
    assert result.problem is not None and result.problem.reason is Reason.LOST
    assert "is a directory" in result.problem.message


def test_a_place_that_cannot_be_written_is_a_fault_of_the_disk(wheel: Path) -> None:
    result = check(job(wheel, metadata_path=str(wheel / "below" / "a-file")))
    assert result.problem is not None and result.problem.reason is Reason.DISK


# The process


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    found = subprocess.Popen(
        [sys.executable, "-P", "-m", "pypimirror.verify.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with found:
        yield found
        found.kill()


def say(process: subprocess.Popen[bytes], *messages: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(msgspec.json.encode(each) + b"\n" for each in messages))
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> Checked:
    assert process.stdout is not None
    while True:
        found = msgspec.json.decode(process.stdout.readline(), type=FromWorker)
        if not isinstance(found, Note):
            assert isinstance(found, Checked)
            return found


def test_each_job_is_answered_and_the_end_of_input_ends_it(
    process: subprocess.Popen[bytes], wheel: Path, tmp_path: Path
) -> None:
    jobs = [
        msgspec.structs.replace(job(path, structure=True), id=number)
        for number, path in enumerate([wheel, tmp_path / "nothing", tmp_path, wheel])
    ]
    say(process, Hello(), *jobs)
    answers = [hear(process) for _ in jobs]
    assert [answer.id for answer in answers] == [0, 1, 2, 3]
    reasons = [answer.problem and answer.problem.reason for answer in answers]
    assert reasons == [None, Reason.LOST, Reason.LOST, None]
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_an_interrupt_on_the_terminal_is_the_parents_affair(
    process: subprocess.Popen[bytes], wheel: Path
) -> None:
    say(process, Hello(), job(wheel))
    hear(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    say(process, job(wheel))
    assert hear(process).problem is None
