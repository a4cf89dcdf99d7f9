"""Parts start, and stop with all that is below them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import Config
from pypimirror.up.everything import RunningParts
from pypimirror.up.parts import Parts
from tests.environment import isolated
from tests.flows.stack import children, wait_for
from tests.up.small_parts import BAD, DEAF, GOOD, part

ROOT = Path(__file__).parents[2]


@contextmanager
def machine(directory: Path, **codes: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.up.small_parts", str(directory), json.dumps(codes)]
    with subprocess.Popen(
        command, env=isolated(), stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def is_ready(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "ready\n"


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_everything_stops_and_nothing_is_left(tmp_path: Path) -> None:
    """Also a part that hears no signal, and its child that has left its session."""
    with machine(tmp_path, web=GOOD, server=GOOD, worker=DEAF) as process:
        assert is_ready(process)
        family = children(process.pid)
        assert int((tmp_path / "worker/ready").read_text()) in family
        process.terminate()
        assert process.wait(60) == 0
        assert all(map(is_gone, family))


def test_a_second_interrupt_ends_everything_at_once(tmp_path: Path) -> None:
    with machine(tmp_path, web=DEAF, worker=GOOD) as process:
        assert is_ready(process)
        family = children(process.pid)
        worker = next(pid for pid in family if not is_gone(pid))
        process.send_signal(signal.SIGINT)
        wait_for(lambda: len(children(process.pid)) < len(family), every=0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert all(map(is_gone, [*family, worker]))


@pytest.mark.thorough
def test_a_part_that_is_given_up_ends_the_others(tmp_path: Path) -> None:
    with machine(tmp_path, web=GOOD, server=BAD.format(code=1), worker=GOOD) as process:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 3
        assert said.startswith("server ended with 1, 5 times in a row. It said:\n  no database")


def test_parts_do_not_outlive_it(tmp_path: Path) -> None:
    with machine(tmp_path, server=GOOD, worker=GOOD) as process:
        assert is_ready(process)
        family = children(process.pid)
        process.kill()
        wait_for(lambda: all(map(is_gone, family)))


def test_an_orphan_is_adopted_and_does_not_stay_as_a_zombie(tmp_path: Path) -> None:
    mother = """
import pathlib, signal, subprocess, sys
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
pathlib.Path("child").write_text(str(child.pid))
pathlib.Path("ready").touch()
signal.pause()
"""
    with machine(tmp_path, worker=mother) as process:
        assert is_ready(process)
        first = children(process.pid)
        orphan = int((tmp_path / "worker/child").read_text())
        worker = next(pid for pid in first if pid != orphan)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: is_gone(worker))
        assert orphan in children(process.pid)
        os.kill(orphan, signal.SIGKILL)
        wait_for(lambda: is_gone(orphan))
        process.terminate()
        assert process.wait(60) == 0


class Api:
    """A Prefect API that knows the deployments, and what was asked of them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __enter__(self) -> str:
        made = self.made

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"id": self.path.rpartition("/")[2]})

            def do_POST(self) -> None:
                made.append(self.path)
                self._answer({"id": "run"})

            def _answer(self, document: dict[str, str]) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/api"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("when", ["17 * * * *", ""])
def test_an_empty_mirror_gets_its_first_sync_whatever_the_schedule(
    tmp_path: Path, when: str
) -> None:
    values = {"mirror": {"directory": tmp_path / "mirror"}, "schedule": {"sync": when}}
    config = Config.model_validate(values)
    api = Api()
    with api as url:
        nothing = part(tmp_path, "")
        parts = Parts(url, "", None, None, nothing, nothing)
        asyncio.run(RunningParts(parts, config)._first_sync())
        assert api.made == ["/api/deployments/adhoc/create_flow_run"]
        (tmp_path / "mirror/simple/six").mkdir(parents=True)
        asyncio.run(RunningParts(parts, config)._first_sync())
        assert len(api.made) == 1, "it is not empty any more"
