"""A verification worker that dies of a certain file: `python -m tests.integrity.dying_worker`."""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from pypimirror.system.workers import Note
from pypimirror.verify.protocol import Check, ToWorker
from pypimirror.verify.worker import check

#: A file with this in its name kills the worker that looks at it.
DEADLY = "deadly"


def main() -> None:
    """Answer jobs, as long as it lives."""
    decode = msgspec.json.Decoder(ToWorker).decode
    for line in sys.stdin.buffer:
        job = decode(line)
        if isinstance(job, Check) and DEADLY in job.filename:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = check(job) if isinstance(job, Check) else Note("debug", "ready")
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
