"""A child process for `tests.system.test_workers`: it obeys its jobs, without HTTP or gevent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from pypimirror.domain.model import Problem
from pypimirror.system.workers import Note, Progress


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    connections: int = 4
    crash_at_start: bool = False
    say: str = ""
    ready: bool = False  #: whether it reports its start


class Echo(msgspec.Struct, frozen=True, tag="echo"):
    id: int
    text: str = ""
    size: int = 0  #: bytes of the answer
    act: str = ""
    path: str = ""
    weight: int = 1

    @property
    def cost(self) -> int:
        return self.weight

    def failed(self, problem: Problem) -> Echoed:
        return Echoed(self.id, problem=problem)


class Echoed(msgspec.Struct, frozen=True, tag="echoed"):
    id: int
    text: str = ""
    pid: int = 0
    problem: Problem | None = None


FromEcho = Echoed | Note | Progress


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hello = msgspec.json.decode(sys.stdin.buffer.readline(), type=Hello)
    if hello.crash_at_start:
        print(hello.say, file=sys.stderr, flush=True)
        os._exit(3)
    decoder = msgspec.json.Decoder(Echo)
    lock = threading.Lock()

    def say(message: FromEcho) -> None:
        data = msgspec.json.encode(message) + b"\n"
        with lock:
            while data:
                data = data[os.write(1, data) :]

    if hello.ready:
        say(Note("debug", "ready"))
    for line in sys.stdin.buffer:
        act(decoder.decode(line), say)


def act(job: Echo, say) -> None:
    match job.act:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill once":
            try:
                Path(job.path).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            Path(job.path).touch()
            time.sleep(600)
        case "note":
            say(Note("info", job.text))
        case "stderr":
            print(job.text, file=sys.stderr, flush=True)
        case "garbage":
            os.write(1, b"this is not JSON\n")
        case "progress":
            say(Progress(job.id, 5))
            say(Progress(job.id, 7))
        case "wait":
            while not Path(job.path).exists():
                time.sleep(0.005)
    say(Echoed(job.id, job.text + "x" * job.size, os.getpid()))


if __name__ == "__main__":
    main()
