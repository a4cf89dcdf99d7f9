"""Commands as processes: signals, children, locks, and what a process imports."""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from pypimirror.pipeline.executors import loop
from tests.cli.conftest import Start
from tests.flows.stack import is_running, wait_for
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


def children_of(pid: int) -> set[int]:
    """The children of a process that are still running."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def open_files_of(pid: int) -> set[str]:
    """The files that a process has open."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


def end(process: subprocess.Popen[str], number: signal.Signals) -> dict[str, Any]:
    """Send a signal and wait for the end; nothing that a run waits for here ever comes."""
    children = children_of(process.pid)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not any(is_running(child) for child in children)
    document: dict[str, Any] = json.loads(out)
    assert document["state"] == "cancelled"
    return document


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_a_run_as_cancelled_with_its_children(
    start: Start, mirror: Mirror, simulator: Simulator, number: signal.Signals
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file, after=10)
    process = start("sync", "--inline", "--json")
    hold.wait_reached()
    assert children_of(process.pid)
    end(process, number)
    assert mirror.query("SELECT state FROM runs")[0]["state"] == "cancelled"
    states = mirror.query("SELECT stage, state FROM stages ORDER BY id")
    assert [tuple(row) for row in states][-1] == ("download", "cancelled")
    mirror.check()
    hold.release()
    assert mirror.sync().state == "completed"


def test_a_page_that_never_comes_does_not_keep_a_run(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    hold = simulator.hold("/simple/six/")
    process = start("sync", "--inline", "--json")
    hold.wait_reached()
    end(process, signal.SIGINT)
    assert mirror.query("SELECT state FROM runs")[0]["state"] == "cancelled"


@pytest.mark.thorough
@pytest.mark.slow
def test_a_signal_ends_batches_that_are_side_by_side(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    """What was verified meanwhile is not downloaded again."""
    names = [f"p{i:03}" for i in range(2 * loop.BATCH_SIZE + 1)]
    for name in names:
        offer(simulator, name, "1.0")
    held = [simulator.hold(f"*/{name}-1.0-*.whl", after=10) for name in (names[0], names[-1])]
    process = start("sync", "--inline", "--json")
    for hold in held:
        hold.wait_reached()
    end(process, signal.SIGINT)
    mirror.check()
    verified = [
        row["filename"] for row in mirror.query("SELECT filename FROM files WHERE state IN (2, 3)")
    ]
    for hold in held:
        hold.release()
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert len(mirror.projects) == len(names)
    assert [name for name in verified if simulator.downloads(name)] == []


def test_a_signal_ends_a_verification(start: Start, mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    size = 1 << 40
    mirror.query("UPDATE files SET size = ?", size)
    os.truncate(mirror.path(file), size)  # it takes hours to read, and no room
    process = start("verify", "--json")
    path = str(mirror.path(file))
    wait_for(lambda: any(path in open_files_of(child) for child in children_of(process.pid)))
    end(process, signal.SIGTERM)
    runs = mirror.query("SELECT command, state FROM runs ORDER BY id")
    assert [tuple(row) for row in runs] == [("sync", "completed"), ("verify", "cancelled")]


@pytest.mark.sqlite
def test_a_second_interrupt_is_immediate_and_safe(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    """Also while the run waits for a database that somebody else holds."""
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file, after=10)
    process = start("sync", "--inline", "--json")
    hold.wait_reached()
    children = {child: os.pidfd_open(child) for child in children_of(process.pid)}
    with closing(sqlite3.connect(mirror.root / ".pypimirror" / "catalog.sqlite")) as catalog:
        catalog.execute("BEGIN IMMEDIATE")
        process.send_signal(signal.SIGINT)
        for descriptor in children.values():
            select.select([descriptor], [], [])
            os.close(descriptor)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    mirror.check()
    hold.release()
    assert mirror.sync().state == "completed"
    states = mirror.query("SELECT state FROM runs ORDER BY id")
    assert [row["state"] for row in states] == ["crashed", "completed"]


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
    assert children
    for child, descriptor in children.items():
        ready, _, _ = select.select([descriptor], [], [], 30)
        assert ready, f"worker {child} lives on"
        os.close(descriptor)


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
    assert modules & {*HEAVY, "alembic", "rich", "sqlalchemy"} == set()
    assert modules & {"pypimirror.pipeline.verify.verify", "encodings.idna"} == set()
    assert "pypimirror.domain.metadata.dependencies" not in modules


NOTING = """
import sys
from pathlib import Path
from pypimirror import __main__
LAST = "pypimirror.pipeline.publish.publish"
sys.addaudithook(lambda event, told: event == "import" and told[0] == LAST and Path("n").touch())
__main__.main()
"""


def test_the_stages_are_imported_while_the_first_answer_is_on_its_way(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    hold = simulator.hold("/simple/", nth=1)
    process = subprocess.Popen(
        [sys.executable, "-c", NOTING, "sync", "--inline", "-q"], cwd=mirror.base
    )
    hold.wait_reached()
    wait_for((mirror.base / "n").exists)
    hold.release()
    assert process.wait(60) == 0


ENDING = """
import atexit, sys, threading
from pathlib import Path
from pypimirror import __main__
def after():
    threading.main_thread().join()
    Path("after").touch()
atexit.register(Path("at exit").touch)
if sys.argv.pop() == "a thread":
    threading.Thread(target=after).start()
__main__.main()
"""


@pytest.mark.parametrize("beside", ["a thread", "nothing"])
def test_a_process_ends_with_all_output_and_waits_for_threads(mirror: Mirror, beside: str) -> None:
    command = [sys.executable, "-c", ENDING, "runs", "--json", beside]
    mirror.sync()
    done = subprocess.run(command, cwd=mirror.base, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["runs"]) == 1
    assert (mirror.base / "at exit").exists()
    assert (mirror.base / "after").exists() == (beside == "a thread")


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
    assert modules_after(mirror, *arguments) & {*HEAVY, "alembic", "sqlalchemy"} == set()


def test_a_configuration_of_pypi_imports_nothing_heavy(mirror: Mirror) -> None:
    script = (
        "import sys; from pathlib import Path; from pypimirror.config.settings import parse\n"
        "print(parse({}, Path('/x')).upstream[0].url); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    url, modules = done.stdout.splitlines()
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    assert url == PYPI_SIMPLE_ENDPOINT
    assert not set(modules.split()) & HEAVY


CANCELLED = """
import sys
from pathlib import Path
from pypimirror.config.settings import load
from pypimirror.pipeline.lifecycle import sync

def work(run):
    raise KeyboardInterrupt

print(sync(load(Path("pypimirror.toml")), (), work, trigger="test").state)
print("sqlalchemy" in sys.modules)
"""


def test_nothing_slow_is_imported_before_a_run_is_cancelled(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Fault: a second Ctrl-C during that import would have left the run open."""
    offer(simulator, "six", "1.0")
    mirror.sync()
    done = subprocess.run(
        [sys.executable, "-c", CANCELLED],
        cwd=mirror.base,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-2:] == ["cancelled", "False"]
