"""`pypimirror up`, for real: one for the tests of a module, which wait for it together."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.environment import isolated
from tests.flows.stack import PROGRAMS, Stack, children, wait_for

NOWHERE = "http://127.0.0.1:9/api"


class Listener:
    """Takes what is posted to it."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []

    def __enter__(self) -> Listener:
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=secret"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, which: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        """The first post that is as wanted."""
        return wait_for(lambda: [post for post in self.posts if which(post)], seconds)[0]


@dataclass
class Up:
    """A `pypimirror up` that runs."""

    process: subprocess.Popen[str]
    config: Path
    said: dict[str, Any]
    stack: Stack  #: asks its Prefect API
    log: Path
    seen: set[int] = field(default_factory=set)  #: processes that were seen below it

    def part(self, words: str) -> int | None:
        """The process id of the part whose command has these words."""
        for pid in children(self.process.pid):
            self.seen.add(pid)
            if words in command_of(pid):
                return pid
        return None

    def deployment(self, name: str) -> str:
        """The id of a deployment of the flow `sync`."""
        found: str = self.stack.api(f"deployments/name/sync/{name}")["id"]
        return found

    def api(self, path: str, **body: Any) -> Any:
        """POST to the Prefect API, also without anything to say."""
        return self.stack.api(path, **(body or {"_": None}))

    def start(self) -> str:
        """Ask for a run of sync/adhoc; the flow run's id."""
        path = f"deployments/{self.deployment('adhoc')}/create_flow_run"
        made: str = self.stack.api(path, state={"type": "SCHEDULED"})["id"]
        return made

    def runs(self, **which: Any) -> list[dict[str, Any]]:
        """Runs of the catalog that have these values, newest first."""
        found = self.stack.pypimirror("runs", "--config", self.config)["runs"]
        return [run for run in found if which.items() <= run.items()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def command(*arguments: str | Path, programs: Path = PROGRAMS) -> list[str]:
    return [str(programs / "pypimirror"), *map(str, arguments)]


@contextmanager
def running_up(
    config: Path, *options: str, programs: Path = PROGRAMS, **environment: str
) -> Iterator[Up]:
    """`pypimirror up` once it says that it is ready; killed in the end if it still runs."""
    log = config.parent / "up.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command("up", "--json", "-v", "--config", config, *options, programs=programs),
            env=isolated(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd="/",
        )
    try:
        said = first_document(process)
        assert said is not None, log.read_text()
        stack = Stack(config.parent)
        stack.url = said["prefect"]
        yield Up(process, config, said, stack, log)
    finally:
        process.kill()
        process.communicate()


def first_document(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The first JSON document that a process prints; None where it ends without."""
    text = ""
    assert process.stdout is not None
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            found: dict[str, Any] = json.loads(text)
            return found
    return None
