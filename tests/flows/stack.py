"""A Prefect server of its own, its command line and a worker, for tests; all on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pypimirror.system.project import project_directory
from tests.environment import isolated
from tests.ports import free_port

T = TypeVar("T")
PROGRAMS = Path(sys.executable).parent


def wait_for(what: Callable[[], T], seconds: float = 180, every: float = 0.25) -> T:
    """What `what` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(every)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            direct = [int(child) for child in (task / "children").read_text().split()]
        except OSError:  # ended meanwhile
            continue
        for child in direct:
            found += [child, *children(child)]
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_worker(pid: int) -> bool:
    """Whether a process is a child of a run, which downloads or verifies."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return re.search(rb"pypimirror\.(download|verify)\.worker", command) is not None


class Stack:
    """The server, and what is done with it; everything runs in `home` unless told otherwise."""

    def __init__(self, home: Path, programs: Path = PROGRAMS) -> None:
        self.home = home
        self.programs = programs
        self.project = project_directory()
        self._server = ExitStack()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = isolated(
            PREFECT_HOME=str(home / "prefect"),
            PREFECT_API_URL=self.url,
            PREFECT_WORKER_QUERY_SECONDS="1",
            PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS="1",
        )

    @contextmanager
    def process(self, name: str, *command: str | Path, **more: str) -> Iterator[int]:
        """Run something in the background; its process id."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=self.environment | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
            )
        try:
            yield process.pid
        finally:
            family = children(process.pid)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def start_server(self) -> None:
        """Start the server; returns once it answers. The database stays from one to the next."""
        command = (self.programs / "prefect", "server", "start", "--port", str(self.port))
        self._server.enter_context(self.process("server", *command))
        wait_for(self.is_healthy)

    def stop_server(self) -> None:
        """Stop the server; returns once it has ended."""
        self._server.close()

    def run(
        self, *command: str | Path, code: int | None = 0, cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run something to its end."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=cwd or self.home,
            timeout=600,  # on a machine that is busy
        )
        said = f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        return done

    def prefect(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.run(self.programs / "prefect", "--no-prompt", *arguments, **more)

    def pypimirror(self, *arguments: str | Path, code: int | None = 0, **more: str) -> Any:
        """Run a command with --json; the document that it prints."""
        command = (self.programs / "pypimirror", *arguments, "--json")
        return json.loads(self.run(*command, code=code, **more).stdout)

    def api(self, path: str, *, method: str | None = None, **body: Any) -> Any:
        """Ask the API: without a method, GET without a body and POST with one. Asks again where its
        database is busy.
        """
        data = json.dumps(body).encode() if body else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            except TimeoutError:  # its database is waited for, on a machine that is busy
                if time.monotonic() > deadline:
                    raise

    def is_healthy(self) -> bool:
        try:
            return bool(self.api("health"))
        except OSError:
            return False

    def flow_runs(self, **which: Any) -> list[dict[str, Any]]:
        """Flow runs of one name or deployment, newest first."""
        found: list[dict[str, Any]] = self.api(
            "flow_runs/filter", flow_runs=which, sort="START_TIME_DESC"
        )
        return found

    def flow_run(self, name: str) -> dict[str, Any]:
        """The flow run of a run of the catalog."""
        return wait_for(lambda: self.flow_runs(name={"any_": [f"sync-{name}"]}))[0]

    def artifacts(self, flow_run: dict[str, Any], kind: str) -> list[dict[str, Any]]:
        """What a flow run shows of one kind: `table` or `progress`."""
        which = {"flow_run_id": {"any_": [flow_run["id"]]}, "type": {"any_": [kind]}}
        found: list[dict[str, Any]] = self.api("artifacts/filter", artifacts=which)
        return found

    def logs(self, flow_run: dict[str, Any]) -> list[dict[str, Any]]:
        """The lines of a flow run and its task runs."""
        which = {"flow_run_id": {"any_": [flow_run["id"]]}}
        found: list[dict[str, Any]] = self.api("logs/filter", logs=which, limit=200)
        return found

    def task_runs(self, flow_run: dict[str, Any]) -> dict[str, str]:
        """State types of a flow run's task runs, by name; they become known with some delay."""
        which = {"id": {"any_": [flow_run["id"]]}}
        final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}

        def settled() -> dict[str, str]:
            runs = self.api("task_runs/filter", flow_runs=which, sort="EXPECTED_START_TIME_ASC")
            found = {run["name"]: run["state_type"] for run in runs}
            return found if set(found.values()) <= final else {}

        return wait_for(settled)


@contextmanager
def running(stack: Stack) -> Iterator[None]:
    """A server that is up, with a database of its own."""
    stack.start_server()
    try:
        yield
    finally:
        stack.stop_server()
