"""A flow run's witness: silent where the flow run ends by itself, and at hand where it cannot.

What it does in Prefect is in `tests.flows.test_deployments`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.stack import children, is_running, wait_for

#: Is watched until it is told to go on, and says when.
WATCHED = """
import signal, sys, time
from pathlib import Path
from flows.witness import watching
def end(*_): print("told to end", flush=True)
signal.signal(signal.SIGTERM, end)
try:
    with watching("none", Path("none"), int(sys.argv[1])) as witness:
        witness.knows("none")
        print("watched", flush=True)
        if "fail" in sys.stdin.readline():
            raise InterruptedError
except InterruptedError:
    print("failed", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


@pytest.fixture
def worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def watched(worker: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(worker)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "watched\n"
    return process


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_flow_run_that_ends_by_itself_leaves_no_witness(
    worker: subprocess.Popen[bytes],
) -> None:
    process = watched(worker.pid)
    (witness,) = children(process.pid)
    said, _ = process.communicate("go on\n", timeout=60)
    assert (said, process.returncode) == ("done\n", 0)
    assert not is_running(witness)
    worker.communicate(b"\n")


def test_a_flow_run_that_ends_early_is_watched_until_its_process_is_gone(
    worker: subprocess.Popen[bytes],
) -> None:
    """Somebody may kill it before Prefect has heard of its end."""
    process = watched(worker.pid)
    (witness,) = children(process.pid)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("fail\n")
    process.stdin.flush()
    assert process.stdout.readline() == "failed\n"
    assert is_running(witness)
    process.kill()
    process.communicate()
    worker.communicate(b"\n")
    os.kill(witness, signal.SIGKILL)  # there is no Prefect that it could tell


def test_a_flow_run_without_its_worker_is_told_to_end(worker: subprocess.Popen[bytes]) -> None:
    process = watched(worker.pid)
    worker.communicate(b"\n")
    assert process.stdout is not None
    assert process.stdout.readline() == "told to end\n"
    process.communicate("go on\n", timeout=60)


def test_signals_for_the_whole_session_are_not_for_the_witness(
    worker: subprocess.Popen[bytes],
) -> None:
    process = watched(worker.pid)
    (witness,) = children(process.pid)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # All of them: one or the other may have been ignored before it was started.
    wait_for(lambda: all(ignores(witness, number) for number in signals), every=0.05)
    for number in signals:
        os.kill(witness, number)
    assert is_running(witness)
    process.communicate("go on\n", timeout=60)
    assert not is_running(witness)
    worker.communicate(b"\n")
