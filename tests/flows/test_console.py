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
from flows.console import outlive_reader
log = logging.getLogger("flow")
log.addHandler(PrefectConsoleHandler())
if sys.argv[1] == "outlive":
    outlive_reader()
print("ready", flush=True)
sys.stdin.readline()
while sys.argv[1] == "outlive" and os.readlink("/proc/self/fd/2") != os.devnull:
    time.sleep(0.01)
for _ in range(3):
    log.error("anybody?")
    print("hello?", flush=True)
os._exit(7)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this is how it is looked at")
@pytest.mark.parametrize(("way", "code"), [("outlive", 7), ("die", 1)])
def test_a_flow_run_outlives_the_worker_that_reads_it(way: str, code: int) -> None:
    """Without that it dies, which is what it is for."""
    reading, writing = os.pipe()
    command = [sys.executable, "-c", PROGRAM, way]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=writing, stderr=writing, cwd=ROOT
    ) as process:
        os.close(writing)
        with os.fdopen(reading) as output:
            ready = output.readline()
        process.communicate(b"\n", timeout=60)
    assert (ready, process.returncode) == ("ready\n", code)
