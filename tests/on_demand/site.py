"""A mirror on demand as it runs: the web server with its fetcher in processes, and clients for it.

A client here is strict: it knows whether an answer was complete.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from tests import buckets
from tests.environment import isolated
from tests.mirror import Mirror
from tests.simulator import IndexFile, Simulator

T = TypeVar("T")
JSON = "application/vnd.pypi.simple.v1+json"
PATIENCE = 60.0  #: seconds until something has to have happened

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
_PROGRAM = "pypimirror.on_demand"  #: part of the fetcher's command line


@dataclass(frozen=True)
class Got:
    """What a client got."""

    status: int  #: 0: the connection ended before an answer
    body: bytes
    complete: bool
    headers: dict[str, str]  #: names in lower case

    @property
    def is_honest_error(self) -> bool:
        """Whether the client knows that it has nothing, and that it may ask again."""
        if self.status in (0, 200):
            return not self.complete
        return self.status in (502, 503) and self.complete and b" " in self.body.strip()

    def files(self) -> list[str]:
        """The names that a page in JSON lists."""
        assert self.status == 200, self
        assert self.complete
        return [file["filename"] for file in json.loads(self.body)["files"]]


def ask(url: str, *, leave_after: int | None = None, **headers: str) -> Got:
    """Ask for an address; with `leave_after`, leave when so many bytes have come."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    status, found, body, complete = 0, {}, b"", False
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", parts.path, headers={"Accept": JSON} | named)
        answer = connection.getresponse()
        status = answer.status
        found = {name.lower(): value for name, value in answer.getheaders()}
        while leave_after is None or len(body) < leave_after:
            data = answer.read1(1 << 16) if leave_after else answer.read(1 << 20)
            body += data
            if not data:
                complete = len(body) == int(found.get("content-length", len(body)))
                break
    except (http.client.HTTPException, ConnectionError) as error:
        body += getattr(error, "partial", b"")
    finally:
        connection.close()
    return Got(status, body, complete, found)


class Served:
    """A running server. `said` is what it wrote to its errors."""

    def __init__(self, url: str, process: subprocess.Popen[str], said: Path) -> None:
        self.url = url
        self.process = process
        self._said = said

    @property
    def said(self) -> str:
        """What it has written to its errors so far."""
        return self._said.read_text()

    def page(self, project: str, **more: Any) -> Got:
        """Ask for the page of a project."""
        return ask(urljoin(self.url, f"simple/{project}/"), **more)

    def get(self, file: IndexFile, suffix: str = "", **more: Any) -> Got:
        """Ask for a file, without its page."""
        return self.file(file.project.normalized, file.filename + suffix, **more)

    def file(self, project: str, filename: str, **more: Any) -> Got:
        """Ask for a file by its name."""
        return ask(urljoin(self.url, f"packages/{project}/{quote(filename)}"), **more)

    def metric(self, name: str) -> float:
        """The sum of a metric of its web server."""
        lines = ask(urljoin(self.url, "metrics")).body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))

    @property
    def fetchers(self) -> list[int]:
        """The process ids of its fetcher, without what that has started."""
        said = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in said.stdout.splitlines()]
        mine = str(self.process.pid)
        return [int(pid) for pid, parent, args in rows if parent == mine and _PROGRAM in args]

    def kill_fetcher(self) -> None:
        """Kill the fetcher with SIGKILL."""
        for pid in self.fetchers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(mirror: Mirror, before: Sequence[str] = ()) -> Iterator[Served]:
    """`pypimirror serve`, with words before it; when it ends, its fetcher has ended, too."""
    descriptor, name = tempfile.mkstemp(prefix="serve-", suffix=".log")
    said = Path(name)
    command = [*before, sys.executable, "-m", "pypimirror", "serve", "--port", "0"]
    with open(descriptor, "w") as errors:
        process = subprocess.Popen(
            [*command, "--config", str(mirror.file)],
            env=isolated(**{k: v for k, v in os.environ.items() if k in buckets.ENVIRONMENT}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    served = None
    try:
        assert process.stdout is not None
        found = next((m for line in process.stdout if (m := _ADDRESS.search(line))), None)
        timer.cancel()
        assert found is not None, said.read_text()
        served = Served(found[0], process, said)
        yield served
    finally:
        timer.cancel()
        children = served.fetchers if served else []
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        print(said.read_text()[-3000:])  # pytest shows it if the test fails
        said.unlink()
        until(lambda: not any(_is_running(pid) for pid in children), 20)


def _is_running(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip() != "" and not found.stdout.startswith("Z")


def on_demand(base: Path, *simulators: Simulator, **sections: dict[str, Any]) -> Mirror:
    """A mirror that selects nothing, and fetches whatever it is asked for."""
    demand = {"projects": ["*"]} | sections.pop("on_demand", {})
    return Mirror(base, *simulators, on_demand=demand, **sections)


def until(what: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Wait until `what` returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.02)
    return found


def at_once(jobs: Sequence[Callable[[], T]], most: int = 200) -> list[T]:
    """Do jobs in parallel; return their results in order."""
    with ThreadPoolExecutor(min(most, len(jobs))) as pool:
        return list(pool.map(lambda job: job(), jobs))


def seeded() -> random.Random:
    """Return a generator with a new seed, which is printed; the variable SEED sets it."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
    print(f"SEED={seed}", flush=True)
    return random.Random(seed)


def whole(simulator: Simulator, file: IndexFile, suffix: str = "") -> int:
    """How often a file was sent as it is, from its beginning to its end."""
    found = simulator.find(file.path + suffix, method="GET", status=200)
    return sum(request.finished and set(request.faults) <= {"Hold"} for request in found)


def wait_placed(mirror: Mirror, files: Iterable[IndexFile]) -> None:
    """Wait until files are in the mirror's tree and on its pages."""

    def placed(project: str) -> set[str]:
        page = mirror.root / "simple" / project / "index.v1_json"
        return set(mirror.files(project)) if page.exists() else set()

    def missing() -> list[str]:
        return [
            each.filename for each in wanted if each.filename not in placed(each.project.normalized)
        ]

    wanted = list(files)
    deadline = time.monotonic() + PATIENCE
    while found := missing():
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert [file.filename for file in wanted if not mirror.holds(file)] == []


def verify(mirror: Mirror, **options: Any) -> Summary:
    """Run `pypimirror verify` in this process."""

    def work(run: Run) -> None:
        audit(run, Options(**options), sequence.repair)

    return run_sync(mirror.config, (), work, trigger="test", command="verify")


def check_whole(mirror: Mirror, held: Iterable[IndexFile]) -> None:
    """The files are held, a sync finds nothing to fetch again, and a verification nothing wrong.

    The server has ended. What it had fetched but not placed may be fetched once more.
    """
    mirror.check(agree=False)
    done = mirror.sync()
    assert done.state == "completed", done.failures
    for file in held:
        assert mirror.holds(file)
        assert file.filename in mirror.files(file.project.normalized)
    found = verify(mirror)
    assert found.state == "completed", found.failures
    assert list((mirror.root / ".pypimirror" / "staging").glob("*")) == []
