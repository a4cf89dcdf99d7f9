"""When a later run tries a failed file again. The rules, without I/O or a clock:

1. A file waits only after a failure of the file itself or of its server. A full disk, a dead worker
   or a host that the configuration forbids says nothing about the file.
2. The first failure causes no wait: the next run tries again at once. So a short fault costs
   nothing.
3. From the second failed run in a row on, the wait doubles, from `FIRST` up to `LONGEST_WAIT`. Each
   file waits between half and all of that time, always the same share for the same file. So files
   that failed together do not all come back at the same time.
4. A success resets the count, and so does a new address, digest or size upstream. A change of the
   configured `terms` lets every file be tried at once.

Every run reports each waiting file as a failure, with its last error.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from pypimirror.catalog.records import ProjectFile
from pypimirror.catalog.states import LONGEST_WAIT, PROVEN, State
from pypimirror.config.settings import Config
from pypimirror.domain.model import Problem, Reason

#: Longest wait after two failures, in seconds.
FIRST = 3600.0

#: The count of failures stops at this number.
MOST = 1000

#: Reasons that make a file wait.
WAITING = frozenset(
    {
        Reason.CONNECTION,
        Reason.TIMEOUT,
        Reason.HTTP_STATUS,
        Reason.MISSING,
        Reason.DENIED,
        Reason.TRUNCATED,
        Reason.TOO_LARGE,
        Reason.BAD_RESPONSE,
        Reason.REDIRECT,
        Reason.DIGEST_MISMATCH,
        Reason.SIZE_MISMATCH,
        Reason.PROVENANCE_MISMATCH,
        Reason.BAD_ARCHIVE,
        Reason.WRONG_PROJECT,
    }
)

#: The values of the columns of `files` about failed attempts, if there was none.
CLEAN: Mapping[str, None] = {"attempts": None, "next_try": None, "last_error": None}

#: Columns of `files`. If one of them changes, earlier failures no longer count.
MEANINGFUL = frozenset({"url", "other_urls", "size", "sha256", "digests"})


def wait(failures: int, key: str) -> float:
    """Return how many seconds the file `key` waits after this many failed runs in a row."""
    if failures < 2:
        return 0.0
    longest = min(LONGEST_WAIT, FIRST * 2.0 ** min(failures - 2, 32))
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return longest * (1 + share) / 2


def after_failure(file: ProjectFile, problem: Problem, run_id: int, now: float) -> dict[str, Any]:
    """Return the new columns of a file that a run failed to get. `now` is the time of the run."""
    before = file.attempts or 0
    error = {"last_error": f"{problem.reason}: {problem.message}"}
    if problem.reason not in WAITING:
        return {"attempts": file.attempts, "next_try": None, **error}
    # A stage may be repeated within a run: that counts as one failure.
    repeated = before and file.run_id == run_id and file.state in (State.FAILED, State.QUARANTINED)
    failures = before if repeated else min(before + 1, MOST)
    seconds = wait(failures, f"{problem.project}/{file.filename}")
    return {"attempts": failures, "next_try": now + seconds if seconds else None, **error}


def as_problem(file: ProjectFile) -> Problem:
    """Return the problem that reports a waiting file. No attempt was made in this run."""
    reason, _, message = (file.last_error or "").partition(": ")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(file.next_try))
    message = (
        f"{message.rstrip('.')}. {file.attempts} runs in a row failed to get it; the next try is "
        f"not before {when} UTC, or with 'pypimirror retry'"
    )
    url = (file.provenance if file.state in PROVEN else None) or file.url
    return Problem(Reason(reason), message, file.project, file.filename, url, attempts=0)


def terms(config: Config) -> str:
    """Return a digest of the settings that decide whether a file can be fetched."""
    deciding = [upstream.model_dump(mode="json") for upstream in config.upstream]
    parts = [deciding, config.download.model_dump(mode="json"), config.verify.model_dump()]
    parts.append({"provenance": config.publish.provenance})
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:16]
