"""The fetcher's process starts, is watched, and ends with its server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.on_demand.messages import Ready
from tests.serve.demand.conftest import LONG, Serve
from tests.serve.test_server import read_line

PAGE = "/simple/six/"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_fetcher_ends_with_its_server(serve: Serve, number: signal.Signals) -> None:
    site = serve()
    site.server.process.send_signal(number)
    assert site.puppet.hears_nothing_more()
    site.server.process.wait(LONG)


def test_a_fetcher_that_does_not_end_is_killed(serve: Serve) -> None:
    site = serve(keeping_GRACE=0.05)
    os.kill(site.puppet.pid, signal.SIGSTOP)
    site.server.process.terminate()
    assert site.server.process.wait(LONG) == 0
    assert site.puppet.hears_nothing_more()


def test_ctrl_c_at_a_terminal_reaches_only_the_server(serve: Serve) -> None:
    site = serve()
    assert os.getpgid(site.puppet.pid) == site.puppet.pid


def test_a_fetcher_that_dies_is_started_again_after_growing_pauses(serve: Serve) -> None:
    site = serve(keeping_FIRST=0.01, keeping_LONGEST=0.02)
    for pause in ("0.01", "0.02", "0.02"):
        site.puppet.kill()
        site.puppet.begins()
        told = lines_until(site.server.process, "The fetcher")
        assert told == (
            f"pypimirror: The fetcher ended with -9. It is started again in {pause} s;"
            " what is held is served.\n"
        )


def test_a_fetcher_that_lived_long_is_started_again_soon(serve: Serve) -> None:
    site = serve(keeping_FIRST=0.01, keeping_LIVED=0)
    for _ in range(3):
        site.puppet.kill()
        site.puppet.begins()
        assert "again in 0.01 s" in lines_until(site.server.process, "The fetcher")


@pytest.mark.parametrize(
    "said",
    [b"\n", b"Traceback\n", b'{"type":"other"}\n', b"\xff\n", b"x" * (2 << 20)],
    ids=["an empty line", "no JSON", "another message", "no UTF-8", "a line without end"],
)
def test_a_fetcher_that_cannot_be_understood_is_replaced(serve: Serve, said: bytes) -> None:
    site = serve(keeping_FIRST=0.01)
    site.puppet.say_bytes(said)
    assert "cannot be understood" in lines_until(site.server.process, "The fetcher")
    site.puppet.begins()


def test_a_fetcher_of_another_version_is_told(serve: Serve) -> None:
    site = serve(ready=False)
    site.puppet.say(Ready("99"))
    assert "Restart the server." in lines_until(site.server.process, "The fetcher")


def test_answers_that_nobody_waits_for_are_ignored(serve: Serve) -> None:
    from pypimirror.on_demand.messages import Coming, Here

    site = serve()
    site.puppet.say(Coming(7, "/x", 1), Here(7))
    client = site.ask(PAGE)
    site.puppet.say(Here(site.puppet.hears_page().id))
    assert client.getresponse().status == 200


def test_without_on_demand_nothing_of_it_is_imported() -> None:
    code = "import sys, pypimirror.serve.server; print([m for m in sys.modules if 'demand' in m])"
    command = [sys.executable, "-P", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


def lines_until(process: subprocess.Popen[str], start: str) -> str:
    """Return the next line of the server's errors that has this text."""
    while start not in (line := read_line(process.stderr)):
        assert line
    return line
