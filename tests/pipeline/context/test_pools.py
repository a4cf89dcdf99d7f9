"""The contract of the pools: what the pipeline relies on, whoever does the work.

Each implementation passes it: child processes, the same work in this process, and the one without
any socket, with which the whole pipeline runs in the last test.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from pypimirror.domain.model import Reason
from pypimirror.download.protocol import FetchFile, FetchList, FetchPage, Job, Result
from pypimirror.pipeline.context import pools as pooling
from pypimirror.pipeline.context.pools import Pools
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.system.workers import Cancelled
from pypimirror.verify.protocol import Check
from tests.corpus.build import make_sdist, make_wheel
from tests.mirror import Mirror
from tests.pools import Answers, by_thread, inline, memory
from tests.simulator import IndexFile, Simulator

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
def files(simulator: Simulator) -> list[IndexFile]:
    """What the upstream offers."""
    return [
        simulator.add_file("six", *make_sdist("six", "1.0")),
        simulator.add_file("six", *make_wheel("six", "1.0")),
    ]


def remembered(simulator: Simulator, *urls: str) -> Answers:
    """What an upstream answers, by address."""
    found = {url: requests.get(url, headers=JSON, timeout=30) for url in urls}
    return {url: (r.headers["Content-Type"], r.content) for url, r in found.items() if r.ok}


@pytest.fixture(params=["processes", "inline", "by thread", "memory"])
def pools(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    simulator: Simulator,
    files: list[IndexFile],
) -> Iterator[Pools]:
    config = Mirror(tmp_path / "m", simulator).config
    if request.param == "memory":
        urls = [simulator.url, f"{simulator.url}six/", *(link(simulator, file) for file in files)]
        make = memory(remembered(simulator, *urls))
    else:
        make = {"inline": inline, "by thread": by_thread}.get(request.param, pooling.start)
    made = make(config, LogReporter(), nullcontext)
    yield made
    made.close()


def link(simulator: Simulator, file: IndexFile) -> str:
    return simulator.root + file.quoted_path


def one(pools: Pools, job: Job) -> Result:
    (result,) = pools.fetcher.run([job])
    assert result.id == job.id
    return result


def file_job(simulator: Simulator, file: IndexFile, path: Path, number: int = 7) -> FetchFile:
    digests, size = {"sha256": file.sha256}, len(file.content)
    return FetchFile(number, "sim0", (link(simulator, file),), str(path), digests, size)


def test_a_list_stands_whole_at_its_path(
    pools: Pools, simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "list"
    result = one(pools, FetchList(3, "sim0", simulator.url, str(path)))
    assert result.problem is None
    assert [p["name"] for p in json.loads(path.read_bytes())["projects"]] == ["six"]


def test_a_page_is_parsed(pools: Pools, simulator: Simulator, files: list[IndexFile]) -> None:
    result = one(pools, FetchPage(4, "sim0", f"{simulator.url}six/", "six"))
    assert result.problem is None
    assert {file.filename for file in result.page.files} == {file.filename for file in files}


def test_a_project_that_is_not_there_is_missing(pools: Pools, simulator: Simulator) -> None:
    result = one(pools, FetchPage(5, "sim0", f"{simulator.url}idna/", "idna"))
    assert result.problem.reason is Reason.MISSING


def test_a_file_stands_whole_and_hashed_at_its_path(
    pools: Pools, simulator: Simulator, files: list[IndexFile], tmp_path: Path
) -> None:
    for number, file in enumerate(files):
        path = tmp_path / str(number)
        result = one(pools, file_job(simulator, file, path))
        assert result.problem is None
        assert path.read_bytes() == bytes(file.content)
        assert result.size == result.transferred == len(file.content)
        assert result.digests["sha256"] == file.sha256


def test_bytes_that_are_not_what_was_claimed_are_said_and_kept(
    pools: Pools, simulator: Simulator, files: list[IndexFile], tmp_path: Path
) -> None:
    file = files[0]
    job = FetchFile(1, "sim0", (link(simulator, file),), str(tmp_path / "x"), {"sha256": "0" * 64})
    result = one(pools, job)
    assert result.problem.reason is Reason.DIGEST_MISMATCH
    assert (tmp_path / "x").read_bytes() == bytes(file.content)
    assert result.digests["sha256"] == file.sha256


def test_each_job_has_one_result_and_bytes_are_told_while_they_come(
    pools: Pools, simulator: Simulator, files: list[IndexFile], tmp_path: Path
) -> None:
    told: list[int] = []
    jobs = [file_job(simulator, files[n % 2], tmp_path / str(n), n) for n in range(20)]
    results = list(pools.fetcher.run(jobs, on_progress=lambda _, size: told.append(size)))
    assert sorted(result.id for result in results) == list(range(20))
    assert sum(told) <= sum(result.transferred for result in results)


def test_jobs_are_taken_lazily_and_a_cancelled_pool_begins_none(
    pools: Pools, simulator: Simulator, files: list[IndexFile], tmp_path: Path
) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[FetchFile]:
        for number in range(100_000):
            taken.append(number)
            if number == 3:
                pools.cancel()
            yield file_job(simulator, files[0], tmp_path / str(number % 2), number)

    with pytest.raises(Cancelled):
        list(pools.fetcher.run(jobs()))
    assert len(taken) < 100_000
    path = tmp_path / "file"
    path.write_bytes(b"x")
    for pool in (pools.checker, pools.reader):
        with pytest.raises(Cancelled):
            list(pool.run([Check(1, str(path), "six", "six-1.0.tar.gz", 1)]))


def test_what_is_here_is_hashed_and_an_archive_is_read_to_its_end(
    pools: Pools, files: list[IndexFile], tmp_path: Path
) -> None:
    path = tmp_path / files[0].filename
    path.write_bytes(bytes(files[0].content))
    size = len(files[0].content)
    check = Check(9, str(path), "six", files[0].filename, size, digests=("sha256",))
    (read,) = pools.reader.run([check])
    assert read.digests["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    check = Check(9, str(path), "six", files[0].filename, size, structure=True)
    (whole,) = pools.checker.run([check])
    assert whole.problem is None
    path.write_bytes(path.read_bytes()[:-20])
    (broken,) = pools.checker.run([check])
    assert broken.problem is not None


def test_the_pipeline_runs_without_sockets_and_without_child_processes(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket, or a process")

    mirror = Mirror(tmp_path, simulator)
    mirror.select("six", "idna")
    good, bad = make_wheel("six", "1.0"), make_sdist("idna", "1.0")
    page = {"meta": {"api-version": "1.0"}, "name": "", "files": []}
    answers: dict[str, tuple[str, bytes]] = {}
    for name, (filename, content) in {"six": good, "idna": bad}.items():
        url = f"{simulator.root}/files/{filename}"
        digest = hashlib.sha256(content).hexdigest() if name == "six" else "0" * 64
        file = {"filename": filename, "url": url, "hashes": {"sha256": digest}}
        answers[url] = "application/octet-stream", content
        body = json.dumps(page | {"name": name, "files": [file]}).encode()
        answers[f"{simulator.url}{name}/"] = JSON["Accept"], body
    with monkeypatch.context() as patch:
        if not mirror.catalog_url.startswith("postgresql"):
            patch.setattr(socket.socket, "connect", forbidden)
        patch.setattr(subprocess.Popen, "__init__", forbidden)
        result = mirror.sync(make_pools=memory(answers))
    assert [failure.reason for failure in result.failures] == [Reason.DIGEST_MISMATCH]
    assert result.state == "incomplete"
    assert mirror.files("six") == [good[0]]
    assert simulator.requests == []
