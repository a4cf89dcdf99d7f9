"""Share transfers with syncs and other fetchers, so that a file that two need comes once.

A worker of a sync writes what it receives to a part in its own directory of staging. While such a
part grows, its bytes are copied to the store, and hashed. The rules:

* Only a part that is here is followed. A file that waits for its turn in the sync has none, and
  neither has one that a worker on another machine receives. So a client never waits for a batch.
* Nothing is believed before the copy has all claimed digests. Until then, it counts as a transfer
  that goes on.
* If the part does not grow for `PATIENCE`, becomes smaller, or has wrong bytes, this
  process fetches the file itself. So a sync that dies costs its clients a few seconds.

What another fetcher has received for a client is in its store before it has its place, and gets a
second name here. What another machine's fetcher is still receiving keeps clients waiting with its
first bytes: see `DeskFiles`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries.work import asked
from pypimirror.domain.model import Problem, Reason
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.pipeline.run import Run
from pypimirror.system import regular
from pypimirror.verify.digests import Claims, check
from pypimirror.verify.hashing import hash_file, new_hash

#: Seconds without a byte after which a part is not followed any more.
PATIENCE = 3.0

#: Seconds between two checks whether the part has grown: first and longest.
_SOONEST, _LATEST = 0.004, 0.1

#: Seconds between two calls that say how much is here.
_PACE = 0.5

_BUFFER = 1 << 20  # bytes


def part_of(run: Run, connection: Connection, pair: asked.Pair) -> Path | None:
    """Return where a sync under way writes a file if it is receiving it; None if no sync has it."""
    found = asked.in_a_run(connection, pair)
    if found is None:
        return None
    worker_id, file_id = found
    return run.workspace.of_worker(worker_id).staged(file_id)


def follow(part: Path, job: FetchFile, copied: Callable[[], None]) -> FileResult | None:
    """Copy a part that grows to the path of a job; None if it is not, or does not become, the file.

    `copied` is called now and then. Errors of the disk are in the result.
    """
    try:
        source = FileIO(regular.open_file(str(part))[0], "rb")
    except OSError:
        return None
    try:
        with source, FileIO(regular.create(job.path), "wb") as target:
            return _copied(source, target, job, copied)
    except OSError as error:
        return job.failed(Problem(Reason.DISK, f"{job.path}: {error.strerror or error}"))


def linked(there: str, job: FetchFile) -> FileResult | None:
    """Give a file of another fetcher's store a name at the path of a job; None if it is not the
    file of the job, or if the file system has no hard links.
    """
    try:
        os.link(there, job.path)
        size, digests, _ = hash_file(job.path, job.digests)
    except OSError:
        return None
    is_wrong = check(Claims(job.digests, job.size), size, digests)
    return None if is_wrong else FileResult(job.id, size=size, digests=digests)


def _copied(
    source: FileIO, target: FileIO, job: FetchFile, copied: Callable[[], None]
) -> FileResult | None:
    hashes = {name: new_hash(name) for name in {*job.digests, "sha256"}}
    buffer = memoryview(bytearray(_BUFFER))
    size, pause, heard, told = 0, _SOONEST, time.monotonic(), 0.0
    while True:
        try:
            count = source.readinto(buffer)
        except OSError:  # of the other directory; what is fetched may still be good
            return None
        if count:
            size += _write(target, buffer[:count], hashes)
            pause, heard = _SOONEST, time.monotonic()
            if heard >= told + _PACE:
                told = heard
                copied()
            continue
        digests = {name: one.hexdigest() for name, one in hashes.items()}
        if job.digests.items() <= digests.items() and job.size in (None, size):
            return FileResult(job.id, size=size, digests=digests)
        is_over = job.size is not None and size >= job.size
        if is_over or os.fstat(source.fileno()).st_size < size:
            return None
        if time.monotonic() - heard > PATIENCE:
            return None
        time.sleep(pause)
        pause = min(2 * pause, _LATEST)


def _write(target: FileIO, data: memoryview, hashes: Mapping[str, Any]) -> int:
    for one in hashes.values():
        one.update(data)
    left = data
    while left:
        left = left[target.write(left) or 0 :]
    return len(data)
