"""A flow run prints on, whoever reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, os, sys, time
from prefect.logging.handlers import PrefectConsoleHandler
from flows import console
log = logging.getLogger("flow")
log.addHandler(PrefectConsoleHandler())
if sys.argv[1] == "early":
    console._lead_nowhere_then = lambda: None  # the thread is late
if sys.argv[1] != "die":
    console.outlive_reader()
print("ready", flush=True)
sys.stdin.readline()
while sys.argv[1] == "outlive" and os.readlink("/proc/self/fd/2") != os.devnull:
    time.sleep(0.01)
print("buffered, if anything is")
for _ in range(3):
    log.error("anybody?")
sys.exit(7)
"""


def ended(way: str, unbuffered: str) -> int:
    """The exit code of the program, whose reader went away before it printed."""
    reading, writing = os.pipe()
    command = [sys.executable, "-c", PROGRAM, way]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=writing,
        cwd=ROOT,
        env=environment,
    ) as process:
        os.close(writing)
        with os.fdopen(reading) as output:
            assert output.readline() == "ready\n"
        process.communicate(b"\n", timeout=100)
    return process.returncode


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this is how it is looked at")
# Unbuffered and early, it is the program's own print that fails, which flows do not use.
@pytest.mark.thorough
@pytest.mark.parametrize(("way", "unbuffered"), [("outlive", ""), ("outlive", "1"), ("early", "")])
def test_a_flow_run_outlives_the_worker_that_reads_it(way: str, unbuffered: str) -> None:
    """And ends by its own code; also if it prints before anybody has noticed."""
    assert ended(way, unbuffered) == 7


def test_without_that_it_dies() -> None:
    """Which is what it is for. The code is Python's: 1, or 120 where a buffer was not empty."""
    assert ended("die", "") in (1, 120)
