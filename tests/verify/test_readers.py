"""Hashing in threads: every job is answered, whatever becomes of its file, and a stop is heard."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.system.workers import Cancelled
from pypimirror.verify import readers
from pypimirror.verify.protocol import Check
from pypimirror.verify.readers import Readers


def job(number: int, path: Path, **more: str) -> Check:
    return Check(number, str(path), "six", path.name, 10 << 20, digests=("sha256",), **more)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_job_has_its_own_answer(tmp_path: Path, threads: int) -> None:
    paths = [tmp_path / str(number) for number in range(200)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number * number * 100)
    jobs = (job(number, path, sidecar=str(path)) for number, path in enumerate(paths))
    found = {result.id: result for result in Readers(threads).run(jobs)}
    assert sorted(found) == list(range(200))
    for number, path in enumerate(paths):
        right = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found[number].digests == {"sha256": right}
        assert found[number].sidecar_sha256 == right
        assert found[number].size == path.stat().st_size


def test_what_cannot_be_read_is_told_of_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "loop").symlink_to("loop")
    names = ("good", "lost", "loop")
    jobs = [job(number, tmp_path / name) for number, name in enumerate(names)]
    found = {result.id: result.problem for result in Readers(2).run(jobs)}
    assert found[0] is None
    assert found[1] is not None
    assert found[1].reason is Reason.LOST
    assert found[2] is not None
    assert found[2].reason is Reason.LOST
    assert "loop: is a symbolic link and no file" in found[2].message


def test_no_job_is_no_answer_and_starts_nothing() -> None:
    before = threading.active_count()
    assert list(Readers(2).run([])) == []
    assert threading.active_count() == before


def test_a_stop_is_heard_while_a_disk_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(readers, "read", lambda _: never.wait())
    pool = Readers(1)

    def jobs() -> Iterator[Check]:
        yield job(1, tmp_path / "file")
        pool.cancel()

    with pytest.raises(Cancelled, match="cancelled"):
        list(pool.run(jobs()))
    with pytest.raises(Cancelled, match="cancelled"):
        list(pool.run([job(2, tmp_path / "file")]))
    never.set()  # lets the thread end


def test_little_is_under_way_when_nothing_more_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    asked = []

    def jobs() -> Iterator[Check]:
        for number in range(1000):
            asked.append(number)
            yield job(number, tmp_path / "file")

    results = Readers(1).run(jobs())
    next(results)
    assert len(asked) <= 4  # of ten megabytes each, by what they say
    results.close()  # type: ignore[attr-defined]


def test_a_fault_of_the_program_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(_: Check) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(readers, "read", fault)
    with pytest.raises(ZeroDivisionError):
        list(Readers(1).run([job(1, tmp_path / "file")]))
