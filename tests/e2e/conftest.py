"""One mirror of the corpus for all of these tests, made once, and servers on it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import upstream
from tests.e2e.mirror import Mirror
from tests.e2e.serving import Recorder, serve, static
from tests.sampling import sample
from tests.simulator import Simulator


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of this test session share."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory = base / "e2e"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def corpus_upstream(corpus_directory: Path) -> Iterator[Simulator]:
    """The upstream that `corpus_mirror` mirrors; no test changes it."""
    with Simulator() as simulator:
        yield upstream.load(simulator, corpus_directory)


@pytest.fixture(scope="session")
def corpus_mirror(shared: Path, corpus_upstream: Simulator) -> Mirror:
    """A mirror of the whole upstream, synced once in a session; no test changes it."""
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror = Mirror(shared / "corpus", corpus_upstream.url)
        done = shared / "done"
        if not done.exists():
            mirror.sync()
            done.touch()
    return mirror


@pytest.fixture(scope="session")
def served(corpus_mirror: Mirror) -> Iterator[str]:
    """The mirror's index, served by the program itself."""
    with serve(corpus_mirror) as url:
        yield url


@pytest.fixture(scope="session")
def plain(corpus_mirror: Mirror) -> Iterator[str]:
    """The mirror's index from a plain static server, in HTML alone."""
    with static(corpus_mirror.root) as url:
        yield url


@pytest.fixture(scope="session")
def on_disk(corpus_mirror: Mirror) -> str:
    """The mirror's index without any server."""
    return f"{corpus_mirror.root.as_uri()}/simple/"


@pytest.fixture(params=sample(["served", "plain", "on_disk"], "served"))
def index(request: pytest.FixtureRequest) -> str:
    """The mirror's index, by each way to serve it."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def recorder(served: str) -> Iterator[Recorder]:
    """The served mirror, with a note of what is asked of it."""
    with Recorder(served) as recorder:
        yield recorder


@pytest.fixture(params=sample(["served", "plain"], "served"))
def recorded(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """The mirror over HTTP in JSON and in HTML, with a note of what is asked of it."""
    with Recorder(request.getfixturevalue(request.param)) as recorder:
        yield recorder
