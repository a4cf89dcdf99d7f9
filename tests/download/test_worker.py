"""The start of a download worker."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pypimirror.domain.addresses import basic
from pypimirror.download.protocol import FetchPage, FromWorker, Hello, Note, PageResult, Remote
from pypimirror.system.logins import Keyring
from tests.environment import isolated
from tests.keyrings import KeyringProgram
from tests.mirror import offer
from tests.simulator import Locked, Simulator

#: What a worker imports only for rare upstreams or rare answers.
RARE = {
    *("requests", "urllib3", "http.client", "email.utils", "sqlalchemy", "pydantic"),
    *("gevent.subprocess", "inspect", "pprint"),
}

#: What it imports while the parent reads the first answer.
LATER = {"pypimirror.download.files.transfer", "pypimirror.upstream.read"}


def test_a_worker_imports_nothing_that_its_first_request_does_not_need() -> None:
    """Most runs are short, and importing requests takes nearly as long as all else."""
    command = [sys.executable, "-X", "importtime", *PROGRAM]
    done = subprocess.run(
        command, input="", capture_output=True, text=True, check=True, env=isolated()
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pypimirror.download.engine.loop" in imported
    assert (RARE | LATER) & imported == set()


def test_nobody_waits_for_a_keyring_but_its_upstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring, go = KeyringProgram(tmp_path / "keyring", monkeypatch), tmp_path / "go"
    os.mkfifo(go)
    keyring.does(f"cat {shlex.quote(str(go))}")  # it answers when somebody writes there
    with Simulator() as locked, Simulator() as simulator, open_worker() as worker:
        offer(locked, "six", "1.0")
        offer(simulator, "six", "1.0")
        locked.fault("*", Locked(basic("me", "good")))
        first = Remote("locked", locked.url, keyring=Keyring(("s",)))
        tell(worker, Hello((first, Remote("sim", simulator.url))))
        tell(worker, FetchPage(1, "locked", f"{locked.url}six/", "six"))
        with go.open("w") as answer:  # opens when the keyring was asked
            tell(worker, FetchPage(2, "sim", f"{simulator.url}six/", "six"))
            assert result_of(worker).id == 2
            answer.write('{"username": "me", "password": "good"}')
        result = result_of(worker)
        assert (result.id, result.problem) == (1, None)


def test_a_worker_reads_ca_certificates_once_and_before_it_has_work(tmp_path: Path) -> None:
    """It takes 20 ms, while the process that starts it imports other modules."""
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    with Simulator(tls=True) as simulator, open_worker() as worker:
        assert simulator.ca_file is not None
        offer(simulator, "six", "1.0")
        hello = Hello((Remote("sim", simulator.url, ca_file=str(pipe)),))
        job = FetchPage(7, "sim", f"{simulator.url}six/", "six")
        tell(worker, hello)
        pipe.write_bytes(
            simulator.ca_file.read_bytes()
        )  # returns when somebody has opened it for reading
        tell(worker, hello, job)  # the same again, as the pool of workers sends it
        result = result_of(worker)
        assert (result.id, result.problem) == (7, None)


PROGRAM = ["-P", "-m", "pypimirror.download.worker"]

decode = msgspec.json.Decoder(FromWorker).decode


def open_worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, *PROGRAM]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=isolated()
    )


def tell(worker: subprocess.Popen[bytes], *messages: msgspec.Struct) -> None:
    assert worker.stdin is not None
    worker.stdin.write(b"".join(msgspec.json.encode(each) + b"\n" for each in messages))


def result_of(worker: subprocess.Popen[bytes]) -> PageResult:
    """The next result of a page."""
    assert worker.stdout is not None
    answers = (decode(line) for line in worker.stdout if line.strip())
    result = next(answer for answer in answers if not isinstance(answer, Note))
    assert isinstance(result, PageResult)
    return result
