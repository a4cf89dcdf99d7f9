"""A fetcher in this process, and shorthands for asking it for things of the simulator."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pypimirror.domain.model import Problem, Reason
from pypimirror.download.engine.fetch import HttpFetcher
from pypimirror.download.protocol import (
    FetchFile,
    FetchList,
    FetchPage,
    FileResult,
    Hello,
    ListResult,
    Note,
    PageResult,
    Progress,
    Remote,
)
from tests.simulator import IndexFile, Simulator

BODY = bytes(range(256)) * 40  # 10 KiB


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


class Lab:
    """One fetcher against one simulator. `settings` go into its Hello."""

    def __init__(self, simulator: Simulator, directory: Path, **settings: Any) -> None:
        self.simulator = simulator
        self.directory = directory
        self.told: list[Progress | Note] = []
        self.numbers = itertools.count(1)
        self.hello = Hello(
            **{
                "remotes": (Remote("sim", simulator.url),),
                "timeout": 10.0,  # tests of time-outs set their own
                "tries": 2,
                "backoff": 0.01,
                "max_backoff": 0.05,
                **settings,
            }
        )
        self.fetcher = HttpFetcher(self.hello, self.told.append)

    def path(self, name: str = "file") -> Path:
        return self.directory / name

    def url(self, what: IndexFile | str) -> str:
        if isinstance(what, str):
            return what if "://" in what else self.simulator.root + what
        return f"{self.simulator.root}{what.path}"

    def job(self, *what: IndexFile | str, name: str = "file", **fields: Any) -> FetchFile:
        """A job for a file, with the digest and size that the index says."""
        if isinstance(what[0], IndexFile):
            fields.setdefault("digests", {"sha256": sha256(what[0].content)})
            fields.setdefault("size", len(what[0].content))
        fields.setdefault("digests", {})
        return FetchFile(
            next(self.numbers),
            "sim",
            tuple(self.url(one) for one in what),
            str(self.path(name)),
            **fields,
        )

    def file(self, *what: IndexFile | str, **fields: Any) -> FileResult:
        result = self.fetcher.do(self.job(*what, **fields))
        assert isinstance(result, FileResult)
        return result

    def page(self, project: str = "six", **fields: Any) -> PageResult:
        url = fields.pop("url", f"{self.simulator.url}{project}/")
        result = self.fetcher.do(FetchPage(next(self.numbers), "sim", url, project, **fields))
        assert isinstance(result, PageResult)
        return result

    def list(self, **fields: Any) -> ListResult:
        job = FetchList(
            next(self.numbers), "sim", self.simulator.url, str(self.path("list")), **fields
        )
        result = self.fetcher.do(job)
        assert isinstance(result, ListResult)
        return result

    def together(self, jobs: list[FetchFile]) -> list[FileResult]:
        """Do jobs at the same time."""
        greenlets = [gevent.spawn(self.fetcher.do, job) for job in jobs]
        gevent.joinall(greenlets, raise_error=True)
        return [greenlet.value for greenlet in greenlets]


MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(simulator: Simulator, tmp_path: Path) -> Iterator[MakeLab]:
    labs: list[Lab] = []

    def make(**settings: Any) -> Lab:
        labs.append(Lab(settings.pop("simulator", simulator), tmp_path, **settings))
        return labs[-1]

    yield make
    for lab in labs:
        lab.fetcher.close()


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator over TLS, of an authority that nobody trusts yet."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)
    with Simulator(tls=True) as running:
        yield running


@pytest.fixture
def six(simulator: Simulator) -> IndexFile:
    return simulator.add_file("six", "six-1.0.tar.gz", BODY)


def problem(result: FileResult | PageResult | ListResult, reason: Reason) -> Problem:
    """The problem of a result, which has to be of that reason."""
    assert result.problem is not None, "it worked"
    assert result.problem.reason is reason, result.problem
    return result.problem


def good(result: FileResult, path: Path, content: bytes | memoryview = BODY) -> None:
    """Check that a file arrived."""
    assert result.problem is None, result.problem
    assert path.read_bytes() == content
    assert result.size == len(content)
    assert result.digests["sha256"] == sha256(content)
    assert not Path(f"{path}.json").exists()
