"""Commands as processes: signals, children, locks, and what a process imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Start
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


def children_of(pid: int) -> set[int]:
    """The children of a process that are still running."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_a_run_as_cancelled_with_its_children(
    start: Start, mirror: Mirror, simulator: Simulator, number: signal.Signals
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file, after=10)
    process = start("sync", "--inline", "--json")
    hold.wait_reached()
    children = children_of(process.pid)
    assert children
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["state"] == "cancelled"
    assert not any(is_running(child) for child in children)
    assert mirror.query("SELECT state FROM runs")[0]["state"] == "cancelled"
    mirror.check()
    hold.release()
    assert mirror.sync().state == "completed"


def test_children_end_when_their_parent_is_killed(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file, after=10)
    process = start("sync", "--inline")
    hold.wait_reached()
    children = {child: os.pidfd_open(child) for child in children_of(process.pid)}
    process.kill()
    process.communicate(timeout=60)
    for child, descriptor in children.items():
        import select

        ready, _, _ = select.select([descriptor], [], [], 30)
        assert ready, f"worker {child} lives on"
        os.close(descriptor)
    hold.release()


def test_the_second_of_two_syncs_ends_with_exit_4(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file)
    first = start("sync", "--inline", "--json")
    hold.wait_reached()
    second = start("sync", "--inline", "--json")
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 4
    error = json.loads(out)["error"]
    assert error["exit"] == 4
    assert f"process {first.pid}" in error["message"]
    hold.release()
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 0
    assert json.loads(out)["state"] == "completed"
    assert len(mirror.query("SELECT * FROM runs")) == 1


def test_a_killed_worker_costs_nothing_but_time(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file, nth=1)
    process = start("sync", "--inline", "--json")
    hold.wait_reached()
    for child in children_of(process.pid):
        os.kill(child, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    hold.release()
    assert process.returncode == 0
    assert json.loads(out)["counts"]["files_verified"] == 1
    assert mirror.files("six") == [file.filename]


IMPORTS = """
import json, sys
started = []
sys.addaudithook(lambda event, _: event == "subprocess.Popen" and started.append("a process"))
from pypimirror.cli import main
sys.argv = ["pypimirror", *sys.argv[1:]]
code = main._run()
print(json.dumps([code, sorted(sys.modules) + started]), file=sys.stderr)
"""


def modules_after(mirror: Mirror, *arguments: str) -> set[str]:
    """What a process has imported when the command is done."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments],
        cwd=mirror.base,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


HEAVY = {"prefect", "gevent", "requests", "urllib3", "pypi_simple", "bs4", "fastapi", "flask"}


def test_a_run_that_finds_nothing_changed_imports_nothing_heavy(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    modules = modules_after(mirror, "sync", "--inline", "-q")
    assert not modules & {*HEAVY, "alembic", "rich", "sqlalchemy.dialects.postgresql"}


def test_a_run_that_finds_nothing_changed_asks_once_and_starts_no_process(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    assert "a process" in modules_after(mirror, "sync", "--inline", "-q")
    simulator.forget()
    assert "a process" not in modules_after(mirror, "sync", "--inline", "-q")
    assert [request.status for request in simulator.requests] == [304]


@pytest.mark.parametrize("arguments", [["--help"], ["sync", "--help"], ["--version"]])
def test_help_imports_no_database(mirror: Mirror, arguments: list[str]) -> None:
    assert not modules_after(mirror, *arguments) & {*HEAVY, "alembic", "sqlalchemy"}


def test_a_configuration_of_pypi_imports_nothing_heavy(mirror: Mirror) -> None:
    script = (
        "import sys; from pathlib import Path; from pypimirror.config import parse\n"
        "print(parse({}, Path('/x')).upstream[0].url); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    url, modules = done.stdout.splitlines()
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    assert url == PYPI_SIMPLE_ENDPOINT
    assert not set(modules.split()) & HEAVY
