"""The engine as the stages use it: real child processes."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pypimirror.download.parent import download_workers
from pypimirror.download.protocol import (
    FetchFile,
    FetchList,
    FetchPage,
    FileResult,
    Hello,
    ListResult,
    PageResult,
    Remote,
)
from pypimirror.system.workers import Cancelled
from tests import simulator as faults
from tests.download.conftest import BODY, sha256
from tests.simulator import IndexFile, Simulator

DIGEST = {"sha256": sha256(BODY)}


def hello(simulator: Simulator, **settings: object) -> Hello:
    values = {"timeout": 10.0, "tries": 2, "backoff": 0.01, "max_backoff": 0.1, **settings}
    return Hello((Remote("sim", simulator.url),), **values)


def job(simulator: Simulator, file: IndexFile, path: Path, number: int = 1) -> FetchFile:
    url = simulator.root + file.path
    digest = {"sha256": file.digests["sha256"]} if "sha256" in file.digests else {}
    return FetchFile(number, "sim", (url,), str(path), digest, len(file.content))


def test_all_kinds_of_jobs(simulator: Simulator, six: IndexFile, tmp_path: Path) -> None:
    jobs = [
        job(simulator, six, tmp_path / "file", 1),
        FetchPage(2, "sim", simulator.url + "six/", "six"),
        FetchList(3, "sim", simulator.url, str(tmp_path / "list")),
        FetchPage(4, "sim", simulator.url + "nothing/", "nothing"),
    ]
    with download_workers(hello(simulator), processes=2) as workers:
        results = {result.id: result for result in workers.run(jobs)}
    file, page, found, missing = (results[number] for number in (1, 2, 3, 4))
    assert isinstance(file, FileResult)
    assert file.problem is None
    assert (tmp_path / "file").read_bytes() == BODY
    assert isinstance(page, PageResult)
    assert page.page is not None
    assert page.page.files[0].filename == six.filename
    assert isinstance(found, ListResult)
    assert found.size == (tmp_path / "list").stat().st_size
    assert missing.problem is not None


def test_killed_in_the_middle_of_a_job(
    simulator: Simulator, six: IndexFile, tmp_path: Path
) -> None:
    """SIGKILL to the child: the job is done all the same, and nobody else's is lost."""
    hold = simulator.hold(six, after=100)
    others = [simulator.add_file("b", f"b-{n}.tar.gz", BODY) for n in range(20)]
    jobs = [job(simulator, six, tmp_path / "six", 100)]
    jobs += [job(simulator, file, tmp_path / f"b{n}", n) for n, file in enumerate(others)]
    with download_workers(hello(simulator), processes=1) as workers:

        def kill() -> None:
            hold.wait_reached()
            os.kill(workers._children[0].process.pid, signal.SIGKILL)
            hold.release()

        killer = threading.Thread(target=kill)
        killer.start()
        results = list(workers.run(jobs))
        killer.join()
    assert sorted(result.id for result in results) == [*range(20), 100]
    assert [result.problem for result in results] == [None] * 21
    assert (tmp_path / "six").read_bytes() == BODY


def test_killed_in_the_middle_of_a_large_file(simulator: Simulator, tmp_path: Path) -> None:
    """What had arrived is not fetched again."""
    content = os.urandom(8 << 20)
    file = simulator.add_file("big", "big-1.0.tar.gz", content)
    half = 4 << 20
    hold = simulator.hold(file, after=half)
    path = tmp_path / "big"
    with download_workers(hello(simulator), processes=1) as workers:

        def kill() -> None:
            hold.wait_reached()
            while not path.exists() or path.stat().st_size < half:
                time.sleep(0.005)
            os.kill(workers._children[0].process.pid, signal.SIGKILL)
            hold.release()

        killer = threading.Thread(target=kill)
        killer.start()
        [result] = workers.run([job(simulator, file, path)])
        killer.join()
    assert result.problem is None
    assert path.read_bytes() == content
    assert isinstance(result, FileResult)
    assert result.transferred == half
    assert os.listdir(tmp_path) == ["big"]


def test_cancel_in_the_middle_of_a_job(
    simulator: Simulator, six: IndexFile, tmp_path: Path
) -> None:
    hold = simulator.hold(six)
    cancelled: list[float] = []
    with download_workers(hello(simulator), processes=1) as workers:

        def cancel() -> None:
            hold.wait_reached()
            cancelled.append(time.monotonic())
            workers.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(Cancelled):
            list(workers.run([job(simulator, six, tmp_path / "six")]))
        canceller.join()
    assert time.monotonic() - cancelled[0] < 2
    hold.release()


def test_close_in_the_middle_of_a_job(simulator: Simulator, six: IndexFile, tmp_path: Path) -> None:
    hold = simulator.hold(six)
    workers = download_workers(hello(simulator), processes=1)
    with contextlib.closing(workers.run([job(simulator, six, tmp_path / "six")])) as run:

        def close() -> None:
            hold.wait_reached()
            workers.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(Cancelled):
            next(run)
        closer.join(5)
        assert not closer.is_alive()
    hold.release()


def test_parent_gone(simulator: Simulator, six: IndexFile) -> None:
    """End of input ends the worker at once, whatever it has to do."""
    import msgspec

    hold = simulator.hold(six)
    lines = [hello(simulator), job(simulator, six, Path("/nowhere"))]
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pypimirror.download.worker"], stdin=subprocess.PIPE
    )
    assert child.stdin is not None
    child.stdin.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    child.stdin.flush()
    hold.wait_reached()
    started = time.monotonic()
    child.stdin.close()
    assert child.wait(10) == 0
    assert time.monotonic() - started < 2
    hold.release()


def test_two_runs_at_once(simulator: Simulator, tmp_path: Path) -> None:
    files = [simulator.add_file("a", f"a-{n}.tar.gz", BODY) for n in range(50)]
    results: dict[int, list[object]] = {}
    with download_workers(hello(simulator, connections=8), processes=2) as workers:

        def run(number: int) -> None:
            directory = tmp_path / str(number)
            jobs = [job(simulator, file, directory / str(n), n) for n, file in enumerate(files)]
            results[number] = [result.problem for result in workers.run(jobs)]

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert results == {0: [None] * 50, 1: [None] * 50}


def test_faults_cost_other_jobs_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """Every fault at once, in between good files: all good ones arrive."""
    broken = [
        faults.Reset(after=10),
        faults.Hangup(),
        faults.Stall(),
        faults.Drip(interval=0.05),
        faults.Truncate(),
        faults.Longer(),
        faults.Chunked(cut=True),
        faults.Chunked(bad=True),
        faults.EndlessChunked(),
        faults.HeaderFlood(),
        faults.Raw(),
        faults.RedirectLoop(),
        faults.Status(500),
        faults.HtmlError(),
        faults.GzipBomb(size=4 << 20),
        faults.Corrupt(),
        faults.CloseIdle(on_reuse=True),
    ]
    files = [simulator.add_file("a", f"a-{n}.tar.gz", BODY) for n in range(10 * len(broken))]
    for number, fault in enumerate(broken):
        simulator.fault(files[10 * number], fault)
    jobs = [job(simulator, file, tmp_path / str(n), n) for n, file in enumerate(files)]
    settings = hello(simulator, timeout=1.0, connections=32)
    with download_workers(settings, processes=2) as workers:
        failed = {result.id: result.problem for result in workers.run(jobs) if result.problem}
    assert not {number for number in failed if number % 10}, failed
    # Longer and CloseIdle are survived.
    assert len(failed) == len(broken) - 2


@pytest.mark.thorough
@pytest.mark.slow
def test_a_thousand_connections(simulator: Simulator, tmp_path: Path) -> None:
    """As many as are asked for, above the usual soft limit of open files."""
    files = [simulator.add_file("a", f"a-{n}.tar.gz", BODY) for n in range(1000)]
    hold = simulator.hold("/packages/*")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        workers = download_workers(
            hello(simulator, connections=500, modest=500, timeout=60.0), processes=2
        )
        jobs = [job(simulator, file, tmp_path / str(n), n) for n, file in enumerate(files)]
        list(workers.run([FetchPage(0, "sim", simulator.url + "a/", "a")] * 40))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with workers:

        def release() -> None:
            simulator.wait_for(lambda: simulator.active >= 1000, 60)
            hold.release()

        releaser = threading.Thread(target=release)
        releaser.start()
        results = list(workers.run(jobs))
        releaser.join()
    assert [result.problem for result in results] == [None] * 1000
    assert simulator.peak_connections >= 1000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(simulator: Simulator, tmp_path: Path) -> None:
    size = 200 << 20
    source = tmp_path / "source"
    with source.open("wb") as file:
        block = os.urandom(1 << 20)
        for number in range(200):
            file.write(number.to_bytes(4, "big") + block[4:])
    offered = simulator.add_file("big", "big-1.0.tar.gz", source)
    progress: list[int] = []
    with download_workers(hello(simulator), processes=1) as workers:
        list(workers.run([FetchPage(0, "sim", simulator.url + "big/", "big")]))
        before = peak_memory(workers._children[0].process.pid)
        [result] = workers.run(
            [job(simulator, offered, tmp_path / "big")],
            on_progress=lambda _, received: progress.append(received),
        )
        after = peak_memory(workers._children[0].process.pid)
    assert result.problem is None
    assert (tmp_path / "big").stat().st_size == size
    assert after - before < 10 << 20
    assert sum(progress) <= size


def peak_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    raise LookupError
