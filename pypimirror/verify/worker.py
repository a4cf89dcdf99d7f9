"""The verification worker: `python -P -m pypimirror.verify.worker`.

Hashing, reading archives and taking core metadata out of wheels keep a core busy, so they happen
here and not in the parent. The worker ends when its input ends, even in the middle of a job: nobody
waits for the answer, and the next run must not find this one still writing a file.
"""

from __future__ import annotations

if __name__ == "__main__":
    from pypimirror.system import abrupt

    abrupt.install(signals=False)

import hashlib
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

import msgspec

from pypimirror.system import regular
from pypimirror.system.memory import relax_collector
from pypimirror.system.workers import Note
from pypimirror.verify.dependencies import read_requirements
from pypimirror.verify.hashing import hash_file
from pypimirror.verify.protocol import Check, Checked, Hello, ToWorker
from pypimirror.verify.readers import as_problem
from pypimirror.verify.structure import check_structure
from pypimirror.verify.wheels.core_metadata import read_metadata


def check(job: Check) -> Checked:
    """Do one job. Faults of the file are in the result."""
    path = Path(job.path)
    try:
        return _check(job, path)
    except OSError as error:
        return Checked(job.id, problem=as_problem(job, error))


def _check(job: Check, path: Path) -> Checked:
    size = regular.status(job.path, job.root).st_size
    digests: dict[str, str] = {}
    if job.digests:
        size, digests, _ = hash_file(path, job.digests, job.root)
    structure, problem, metadata = "none", None, None
    if job.structure:
        verdict = check_structure(path, job.filename, job.project, released=job.released)
        structure, problem, metadata = verdict.proof, verdict.problem, verdict.metadata
    elif job.metadata_path and job.filename.endswith(".whl"):
        metadata = read_metadata(path)
    digest = ""
    if metadata is not None and job.metadata_path and problem is None:
        with open(regular.create(job.metadata_path), "wb") as file:  # noqa: PTH123
            file.write(metadata)
        digest = hashlib.sha256(metadata).hexdigest()
    requires = read_requirements(path, job.filename) if job.requires else None
    return Checked(job.id, size, digests, structure, digest, requires=requires, problem=problem)


def main() -> NoReturn:
    """Answer jobs until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    relax_collector()
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    encode = msgspec.json.Encoder().encode
    decode = msgspec.json.Decoder(ToWorker).decode
    while True:
        job = decode(lines.get())
        # This answer tells the parent that a worker can start. If it dies later, a job kills it.
        answer = Note("debug", "ready") if isinstance(job, Hello) else check(job)
        sys.stdout.buffer.write(encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def _read(lines: SimpleQueue[bytes]) -> NoReturn:
    """Read lines until the input ends; then end the process."""
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
