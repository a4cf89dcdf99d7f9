"""Hashing in threads and children: every job is answered, whatever becomes of its file or of the
child that has it, and a stop is heard.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import select
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pypimirror.domain.model import Reason
from pypimirror.storage.stamps import stamp
from pypimirror.system import children
from pypimirror.system.workers import Cancelled
from pypimirror.verify import hash_worker, readers
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import Readers
from tests.on_demand.site import until

MODULE = "pypimirror.verify.hash_worker"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children start with the first job."""
    monkeypatch.setattr(readers, "_ENOUGH", 0)


def read_all(jobs: Iterable[Check], threads: int = 2) -> dict[int, Checked]:
    """Return the results of jobs by their numbers."""
    with contextlib.closing(Readers(threads)) as pool:
        return {result.id: result for result in pool.run(jobs)}


def job(number: int, path: Path, **more: str) -> Check:
    return Check(number, str(path), "six", path.name, 10 << 20, digests=("sha256",), **more)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_job_has_its_own_answer(tmp_path: Path, threads: int) -> None:
    paths = [tmp_path / str(number) for number in range(200)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number * number * 100)
    jobs = (job(number, path, sidecar=str(path)) for number, path in enumerate(paths))
    found = read_all(jobs, threads)
    assert sorted(found) == list(range(200))
    for number, path in enumerate(paths):
        right = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found[number].digests == {"sha256": right}
        assert found[number].sidecar_sha256 == right
        assert found[number].size == path.stat().st_size
        assert found[number].stamp == stamp(str(path))


@pytest.mark.parametrize("children_from", [0, 64], ids=["by a child", "by a thread"])
def test_what_cannot_be_read_is_told_of_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children_from: int
) -> None:
    monkeypatch.setattr(readers, "_ENOUGH", children_from)
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "loop").symlink_to("loop")
    names = ("good", "lost", "loop")
    jobs = [job(number, tmp_path / name) for number, name in enumerate(names)]
    found = {number: result.problem for number, result in read_all(jobs).items()}
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
    assert len(asked) <= 14  # of ten megabytes each, by what they say
    results.close()  # type: ignore[attr-defined]


def test_a_fault_of_the_program_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(_: Check) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(readers, "read", fault)
    with pytest.raises(ZeroDivisionError):
        list(Readers(1).run([job(1, tmp_path / "file")]))


# Children


def test_the_jobs_of_a_child_that_dies_are_done_and_its_end_is_told(
    tmp_path: Path, at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    found = []
    with contextlib.closing(Readers(1)) as pool, caplog.at_level(logging.WARNING):
        for result in pool.run(job(number, tmp_path / "file") for number in range(500)):
            found.append(result.id)
            if len(found) == 100:
                pool._children._all[0]._process.kill()
    assert sorted(found) == list(range(500))
    assert "ended with status -9" in caplog.text


def test_threads_do_all_if_no_child_can_start(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: str) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(children, "start_apart", refused)
    (tmp_path / "file").write_bytes(b"x")
    assert len(read_all(job(number, tmp_path / "file") for number in range(100))) == 100


def test_few_jobs_start_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(children, "start_apart", started.append)
    (tmp_path / "file").write_bytes(b"x")
    assert len(read_all(job(number, tmp_path / "file") for number in range(50))) == 50
    assert started == []


def test_there_are_no_more_children_than_threads_and_runs_share_them(
    tmp_path: Path, at_once: None
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with contextlib.closing(Readers(1)) as pool:
        first, second = (pool.run([job(n, tmp_path / "file") for n in range(300)]) for _ in "12")
        next(first), next(second)
        assert len(list(first)) == len(list(second)) == 299
        assert len(list(pool.run([job(1, tmp_path / "file")]))) == 1
        assert len(pool._children._all) == 1


def test_a_stop_ends_a_child_in_the_middle_of_a_file(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 40)
    pool = Readers(1)
    is_asked = threading.Event()
    receive = readers._Child.receive

    def observed(child: readers._Child) -> Any:
        is_asked.set()
        return receive(child)

    monkeypatch.setattr(readers._Child, "receive", observed)

    def jobs() -> Iterator[Check]:
        yield job(1, tmp_path / "large")
        assert is_asked.wait(30)
        pool.cancel()

    with pytest.raises(Cancelled):
        list(pool.run(jobs()))
    assert pool._children._all[0]._process.wait(30) == -9


def test_a_child_ends_with_its_input_in_the_middle_of_a_file(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 40)
    process = children.start_apart(MODULE)
    assert process.stdin is not None
    task = (str(tmp_path / "large"), "", (), "", "")
    process.stdin.write(hash_worker.message([]) + hash_worker.message([task]))
    assert process.stdout is not None
    assert hash_worker.receive(process.stdout.fileno()) == []
    process.stdin.close()
    assert process.wait(30) == 0


def test_what_a_child_prints_is_logged_and_disturbs_nothing(
    tmp_path: Path,
    at_once: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if it is more than a pipe holds, and before any code of ours runs."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nfor stream in (1, 2):\n"
        "    for _ in range(500):\n        os.write(stream, b'x' * 200 + b' of %d\\n' % stream)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "file").write_bytes(b"x")
    found = read_all(job(number, tmp_path / "file") for number in range(100))
    assert {result.digests["sha256"] for result in found.values()} == {sha256(b"x")}
    for stream in ("x of 1", "x of 2"):
        assert caplog.text.count(stream) >= 500, "some would be logged after the end"


def test_a_child_that_cannot_understand_its_input_ends() -> None:
    """Otherwise the parent would wait for its answer for ever."""
    process = children.start_apart(MODULE)
    assert process.stdin is not None and process.stderr is not None
    with process, process.stderr:
        os.write(process.stdin.fileno(), (4).to_bytes(4, "big") + b"????")
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()


def test_a_child_that_starts_during_a_stop_is_killed(at_once: None) -> None:
    pool = readers._Children(1)
    pool.kill()
    assert pool.find() is not None
    pool.close()
    assert [child._process.returncode for child in pool._all] == [-signal.SIGKILL]


# Files that are hashed ahead


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Readers]:
    """A pool with a child that has hashed `packages/six/0` to `3` and their sidecars ahead."""
    packages = tmp_path / "packages" / "six"
    packages.mkdir(parents=True)
    for number in range(4):
        (packages / str(number)).write_bytes(b"%d" % number)
        (packages / f"{number}.metadata").write_bytes(b"of %d" % number)
    children.start_early(MODULE, hash_worker.message(str(tmp_path)), children.start_apart)
    early = children._early[MODULE]
    assert select.select([early.stdout], [], [], 30)[0]  # it has answered, so it is through
    with contextlib.closing(Readers(2)) as found:
        assert len(list(found.run([job(9, tmp_path / "nothing")]))) == 1
        assert not children._early
        yield found


def of_mirror(root: Path, number: int) -> Check:
    path = root / "packages" / "six" / str(number)
    return job(number, path, root=f"{root}/", sidecar=f"{path}.metadata")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_was_hashed_ahead_is_not_read_again(
    pool: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packages" / "six" / "1"
    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", None)  # none can start
        (found,) = pool.run([of_mirror(tmp_path, 1)])
    assert (found.size, found.digests) == (1, {"sha256": sha256(b"1")})
    assert found.stamp == stamp(str(path))
    assert (found.sidecar_sha256, found.provenance_sha256) == (sha256(b"of 1"), "")
    path.write_bytes(b"other")
    (found,) = pool.run([of_mirror(tmp_path, 1)])
    assert found.digests["sha256"] == sha256(b"other"), "an answer counts once"


@pytest.mark.parametrize("name", ["1", "1.metadata"])
def test_a_file_that_was_changed_since_is_read_again_though_its_mtime_is_restored(
    pool: Readers, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "packages" / "six" / name
    before, right = path.stat(), path.read_bytes()
    until(lambda: later_than(before.st_ctime_ns, tmp_path))
    with path.open("r+b") as stream:
        stream.write(right[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (found,) = pool.run([of_mirror(tmp_path, 1)])
    assert sha256(right[:-1] + b"?") in (found.digests["sha256"], found.sidecar_sha256)


def later_than(time: int, directory: Path) -> bool:
    """Whether the file system's clock has gone on, which it does a few hundred times a second."""
    (directory / "clock").touch()
    return (directory / "clock").stat().st_mtime_ns > time


@pytest.mark.parametrize("name", ["1", "1.metadata"])
def test_a_file_that_was_touched_since_is_read_again(
    pool: Readers, tmp_path: Path, name: str
) -> None:
    (tmp_path / "packages" / "six" / name).write_bytes(b"other")
    (found,) = pool.run([of_mirror(tmp_path, 1)])
    other = sha256(b"other")
    assert other in (found.digests["sha256"], found.sidecar_sha256)
    assert found.digests["sha256"] == (other if name == "1" else sha256(b"1"))


def test_a_file_that_has_gone_since_is_lost(pool: Readers, tmp_path: Path) -> None:
    (tmp_path / "packages" / "six" / "1").unlink()
    (found,) = pool.run([of_mirror(tmp_path, 1)])
    assert found.problem is not None and found.problem.reason is Reason.LOST


def test_a_sidecar_that_was_not_there_is_looked_for_again(pool: Readers, tmp_path: Path) -> None:
    provenance = tmp_path / "packages" / "six" / "1.provenance"
    provenance.write_bytes(b"new")
    asked = msgspec.structs.replace(of_mirror(tmp_path, 1), provenance=str(provenance))
    (found,) = pool.run([asked])
    assert found.provenance_sha256 == sha256(b"new")


def test_other_digests_are_computed(pool: Readers, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(of_mirror(tmp_path, 1), digests=("md5",))
    (found,) = pool.run([asked])
    assert found.digests == {"md5": hashlib.md5(b"1").hexdigest(), "sha256": sha256(b"1")}


def test_only_files_are_hashed_ahead(tmp_path: Path) -> None:
    packages = tmp_path / "packages" / "six"
    packages.mkdir(parents=True)
    (packages / "file").write_bytes(b"x")
    (packages / "link").symlink_to("file")
    os.mkfifo(packages / "fifo")
    with (packages / "large").open("wb") as stream:
        stream.truncate(1 << 40)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"x")
    (tmp_path / "packages" / "linked").symlink_to(tmp_path / "elsewhere")
    found = hash_worker._ahead(str(tmp_path), queue.SimpleQueue())
    assert [os.path.basename(path) for path in found] == ["file"]
    assert list(found) == [str(packages / "file")]
