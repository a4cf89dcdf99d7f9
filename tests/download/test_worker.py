"""The start of a download worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from pypimirror.download.protocol import FetchPage, FromWorker, Hello, Note, PageResult, Remote
from tests.environment import isolated
from tests.mirror import offer
from tests.simulator import Simulator

PROGRAM = """
import json, sys
import gevent.events
gevent.events.notify_and_call_entry_points = gevent.events.notify  # as in the worker
from gevent import monkey; monkey.patch_all()
import pypimirror.download.engine.loop
print(json.dumps(sorted(sys.modules)))
"""


def test_a_worker_imports_nothing_that_only_rare_answers_need() -> None:
    """Most runs are short, and importing requests takes nearly as long as all else."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=isolated())
    unwanted = {"requests", "urllib3", "http.client", "email.utils", "sqlalchemy", "pydantic"}
    assert unwanted.intersection(json.loads(done.stdout)) == set()


def test_a_worker_reads_ca_certificates_once_and_before_it_has_work(tmp_path: Path) -> None:
    """It takes 20 ms, while the process that starts it imports other modules."""
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    with Simulator(tls=True) as simulator, open_worker() as worker:
        assert simulator.ca_file is not None and worker.stdout is not None
        offer(simulator, "six", "1.0")
        hello = Hello((Remote("sim", simulator.url, ca_file=str(pipe)),))
        job = FetchPage(7, "sim", f"{simulator.url}six/", "six")
        tell(worker, hello)
        pipe.write_bytes(
            simulator.ca_file.read_bytes()
        )  # returns when somebody has opened it for reading
        tell(worker, hello, job)  # the same again, as the pool of workers sends it
        answers = (decode(line) for line in worker.stdout if line.strip())
        result = next(answer for answer in answers if not isinstance(answer, Note))
        assert isinstance(result, PageResult)
        assert (result.id, result.problem) == (7, None)


decode = msgspec.json.Decoder(FromWorker).decode


def open_worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "pypimirror.download.worker"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=isolated()
    )


def tell(worker: subprocess.Popen[bytes], *messages: msgspec.Struct) -> None:
    assert worker.stdin is not None
    worker.stdin.write(b"".join(msgspec.json.encode(each) + b"\n" for each in messages))
