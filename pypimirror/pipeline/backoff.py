"""When a later run tries a file again that could not be had. The rules, without I/O or a clock:

1. Only what speaks of the file or of where it comes from makes a file wait. A full disk, a worker
   that died or a host that the configuration does not allow says nothing about it.
2. The first failure makes nobody wait: the next run tries again, whenever it is. A fault that is
   over by then has cost nothing.
3. From the second run in a row on, the wait doubles, from `FIRST` up to `LONGEST_WAIT`. Each file
   waits its own share of that, half to all of it and always the same, so that files which failed
   together do not all come back together.
4. A success forgets it, and so does another address, digest or size upstream. Another `terms` of
   the configuration lets everything be tried at once.

A file that waits is not forgotten: each run tells of it what is known, as a failure.
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

#: Seconds that nobody waits longer than after two failures.
FIRST = 3600.0

#: More failures than this in a row are not counted.
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

#: Columns of `files` that say how earlier runs failed, as they are where none did.
CLEAN: Mapping[str, None] = {"attempts": None, "next_try": None, "last_error": None}

#: Columns of `files` whose change makes a failure that came before it mean nothing.
MEANINGFUL = frozenset({"url", "other_urls", "size", "sha256", "digests"})


def wait(failures: int, key: str) -> float:
    """Return the seconds to wait after so many runs in a row failed to get the file `key`."""
    if failures < 2:
        return 0.0
    longest = min(LONGEST_WAIT, FIRST * 2.0 ** min(failures - 2, 32))
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return longest * (1 + share) / 2


def after_failure(file: ProjectFile, problem: Problem, run_id: int, now: float) -> dict[str, Any]:
    """Return the columns of a file that a run could not get, `now` being the time of the run."""
    before = file.attempts or 0
    told = {"last_error": f"{problem.reason}: {problem.message}"}
    if problem.reason not in WAITING:
        return {"attempts": file.attempts, "next_try": None, **told}
    # A stage that is repeated within a run is not another run.
    repeated = before and file.run_id == run_id and file.state in (State.FAILED, State.QUARANTINED)
    failures = before if repeated else min(before + 1, MOST)
    seconds = wait(failures, f"{problem.project}/{file.filename}")
    return {"attempts": failures, "next_try": now + seconds if seconds else None, **told}


def as_problem(file: ProjectFile) -> Problem:
    """Return what there is to tell of a file that waits. Not one attempt was made."""
    reason, _, message = (file.last_error or "").partition(": ")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(file.next_try))
    message = (
        f"{message.rstrip('.')}. {file.attempts} runs in a row failed to get it; the next try is "
        f"not before {when} UTC, or with 'pypimirror retry'"
    )
    url = (file.provenance if file.state in PROVEN else None) or file.url
    return Problem(Reason(reason), message, file.project, file.filename, url, attempts=0)


def terms(config: Config) -> str:
    """Identify what in a configuration decides whether a file can be had."""
    deciding = [upstream.model_dump(mode="json") for upstream in config.upstream]
    parts = [deciding, config.download.model_dump(mode="json"), config.verify.model_dump()]
    parts.append({"provenance": config.publish.provenance})
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:16]
