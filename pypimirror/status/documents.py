"""The documents of the status pages, as types. `/status.json` is `MirrorStatus`.

`docs/schemas/` is generated from them, and the rules of `pypimirror.domain.documents` apply. They
contain no path and no name of a machine, except in keys that are `NotRequired`. Documents have
these keys only if the pages are for this machine alone (`[serve] status = "local"`).
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec

from pypimirror.domain.documents import RunState, StageTotal

Word = Annotated[str, msgspec.Meta(pattern="^(fresh|late|stale|never)$")]
Day = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class Freshness(TypedDict):
    """How old the mirror is: seconds since its last complete sync began."""

    word: Word
    synced_at: float | None
    synced_at_iso: str | None
    age: float | None


class HeldTotals(TypedDict):
    """The files on the pages of the mirror: files here, with their bytes, and files elsewhere."""

    projects: int
    files: int
    bytes: int
    linked: int


class Backlog(TypedDict):
    """Files with open work, by state, and how many others wait for another try.

    With `is_more`, counting stopped early.
    """

    files: dict[str, int]
    waiting: int
    is_more: bool


class Proven(TypedDict):
    """How many files were found right within this many days, and their share of all."""

    days: int
    files: int
    share: float


class Proofs(TypedDict):
    """How recent the proofs of files were at a time."""

    counted_at: float
    counted_at_iso: str | None
    files: int
    within: list[Proven]
    oldest: float | None
    oldest_iso: str | None


class Space(TypedDict):
    """Free bytes, the reserve that downloads leave free, and when the rest is used up.

    `per_day` is how many bytes of free space were used up each day; below 0: free space grew.
    """

    free: int
    reserve: int
    per_day: int | None
    full_at: float | None
    full_at_iso: str | None


class FailureSubject(TypedDict):
    """The subject of a failure: a file, a project, or "" and "" for a whole run."""

    project: str
    file: str
    stage: str
    message: NotRequired[str]


class Failing(TypedDict):
    """Failures with one reason: what it means, what to do, and examples."""

    reason: str
    meaning: str
    remedy: str
    number: int
    examples: list[FailureSubject]


class DayFigures(TypedDict):
    """A day in UTC: the contents of the mirror after its last run, and the work of its runs.

    `oldest_age` is the highest age of the last complete sync. `failures` has the most failures of
    one run, by reason. `seconds` is the duration of the longest sync.
    """

    day: Day
    projects: int
    files: int
    bytes: int
    free: int | None
    backlog: int
    oldest_age: float | None
    runs: int
    undone: int
    seconds: float
    downloaded: int
    failures: dict[str, int]


class RunLine(TypedDict):
    """A run in a list."""

    run: str
    command: str
    state: RunState
    started_at: float
    started_at_iso: str | None
    seconds: float | None
    files: int
    bytes: int
    failed: int
    message: NotRequired[str]


class MirrorStatus(TypedDict):
    """`/status.json`. `proofs` is null before they were counted, `space` if nobody knows it.

    `days` are the last 30, `months` the last day of each month of two years, the oldest first.
    `failures` are the open failures, of the run `failures_of`. `kept_back` is the number of files
    that a policy of the upstream keeps back. `runs` are the newest runs, and the newest undone
    ones.
    """

    at: float
    at_iso: str | None
    freshness: Freshness
    held: HeldTotals
    backlog: Backlog
    proofs: Proofs | None
    space: Space | None
    failures_of: str | None
    failures: list[Failing]
    kept_back: int
    days: list[DayFigures]
    months: list[DayFigures]
    runs: list[RunLine]


class WorkerLine(TypedDict):
    """A worker of a run."""

    name: str
    executor: str
    state: str
    seconds: float | None
    batches: int
    projects: int
    files: int
    bytes: int
    host: NotRequired[str]
    message: NotRequired[str]


class ProvenFileName(TypedDict):
    """A file that a run proved or looked at."""

    project: str
    file: str


class RunPage(TypedDict):
    """A run with all of its details."""

    line: RunLine
    trigger: str
    version: str
    ended_at: float | None
    ended_at_iso: str | None
    retry_of: str | None
    counts: dict[str, int]
    stages: list[StageTotal]
    workers: list[WorkerLine]
    failures: list[Failing]
    kept_back: int
    proven: list[ProvenFileName]
    is_more: bool
    host: NotRequired[str]
    arguments: NotRequired[list[str]]
