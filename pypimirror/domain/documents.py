"""The JSON documents that commands print with `--json`, as types: a mirror's contents and its runs.

The code that makes the documents is checked against these types, and `docs/schemas/` is generated
from them. Readers must ignore unknown keys: keys may be added, but no key changes its meaning.
Times are given twice: in seconds since the epoch, and in UTC as ISO 8601 under the same key with
`_iso`.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec

from pypimirror.domain import moments

RunState = Annotated[
    str, msgspec.Meta(pattern="^(running|completed|incomplete|failed|cancelled|crashed)$")
]


def iso(seconds: float | None) -> str | None:
    """Format a time as ISO 8601 in UTC. A time outside of the calendar becomes the nearest valid
    one.
    """
    if seconds is None:
        return None
    moment = moments.dated(seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Failure(TypedDict):
    """A failure, with its stage and reason."""

    project: str
    file: str
    stage: str
    reason: str
    message: str


class RunResult(TypedDict):
    """The result of a run: `sync`, `retry`, `verify`. `run` is null if there was nothing to do."""

    run: str | None
    state: RunState
    counts: dict[str, int]
    seconds: float
    failures: list[Failure]
    denied: list[Failure]


class PlannedFile(TypedDict):
    """A file in a plan."""

    project: str
    file: str
    size: int | None
    reason: str
    sha256: str | None


class PlanDocument(TypedDict):
    """`sync --dry-run`: what a sync would do."""

    version: int
    projects: list[str]
    fetch: list[PlannedFile]
    link: list[PlannedFile]
    publish: list[str]
    withdraw: list[PlannedFile]
    remove: list[PlannedFile]
    bytes: int
    bytes_removed: int
    failures: list[Failure]


class RunDocument(TypedDict):
    """A run in the history."""

    run: str
    command: str
    trigger: str
    version: str
    config: str
    arguments: list[str]
    retry_of: str | None
    host: str
    pid: int
    state: RunState
    started_at: float
    started_at_iso: str | None
    ended_at: float | None
    ended_at_iso: str | None
    seconds: float | None
    message: str | None
    counts: dict[str, int]


class Runs(TypedDict):
    """`runs`: the newest run first."""

    runs: list[RunDocument]


class Speed(TypedDict):
    """The amount of work of a stage, and its speed."""

    files: int
    bytes: int
    files_per_second: float | None
    bytes_per_second: int | None


class StageTotal(Speed):
    """A stage, summed over its batches."""

    stage: str
    batches: int
    state: str
    started_at: float
    started_at_iso: str | None
    ended_at: float | None
    ended_at_iso: str | None
    seconds: float
    counts: dict[str, int]


class StageBatch(Speed):
    """One batch in one stage."""

    stage: str
    batch: int
    state: str
    started_at: float
    started_at_iso: str | None
    ended_at: float | None
    ended_at_iso: str | None
    seconds: float | None
    counts: dict[str, int]


class RunWorker(TypedDict):
    """A worker of a run: where it ran, how it ended, and what it did."""

    name: str
    executor: str
    host: str
    state: str
    started_at: float
    started_at_iso: str | None
    ended_at: float | None
    ended_at_iso: str | None
    seconds: float | None
    batches: int
    projects: int
    files: int
    bytes: int
    counts: dict[str, int]
    message: str | None


class Attempted(Failure):
    """A failure with its address and the number of attempts."""

    url: str
    attempts: int


class ProofDocument(TypedDict):
    """The proof of a file: level, algorithm, source and time."""

    level: str
    algorithm: str | None
    source: str | None
    at: float | None
    at_iso: str | None


class ProvenFile(TypedDict):
    """A file that a run proved or checked."""

    project: str
    file: str
    state: str
    proof: ProofDocument | None


class RunDetails(RunDocument):
    """`runs show RUN`: `--failures` leaves out stages and workers, `--files` adds proven files."""

    workers: NotRequired[list[RunWorker]]
    totals: NotRequired[list[StageTotal]]
    stages: NotRequired[list[StageBatch]]
    failures: list[Attempted]
    files: NotRequired[list[ProvenFile]]


class UnsureDependency(TypedDict):
    """A release or a project whose dependencies are unknown or not mirrored, and why."""

    project: str
    version: str | None
    why: str


class Dependencies(TypedDict):
    """The projects that are mirrored only as dependencies, and gaps: numbers and examples."""

    projects: int
    unknown: int
    missing: int
    unreadable: int
    unknown_releases: list[UnsureDependency]
    missing_projects: list[UnsureDependency]
    unreadable_requirements: list[UnsureDependency]


class Status(TypedDict):
    """`status`: the mirror as a whole. `dependencies` is null if none are followed.

    `storage` is the address of the bucket with the served files; null if they are in `directory`.
    """

    directory: str
    storage: str | None
    projects: int
    files: dict[str, int]
    bytes: int
    kept: dict[str, int]
    released: int
    dependencies: Dependencies | None
    last_run: RunDocument | None


class Tries(TypedDict):
    """Failed attempts to get a file."""

    failed: int
    next: float | None
    next_iso: str | None
    last_error: str


class RequestTimes(TypedDict):
    """When clients asked for a file that `[on_demand]` lets them ask for.

    `since` is the time of the request for which it was fetched last.
    """

    since: float
    since_iso: str | None
    last: float
    last_iso: str | None


class HeldFile(TypedDict):
    """A file of a project in the catalog."""

    file: str
    state: str
    proof: ProofDocument | None
    size: int | None
    sha256: str | None
    core_metadata: bool
    kept: float | None
    kept_iso: str | None
    tries: Tries | None
    url: str
    selected: bool
    asked: RequestTimes | None


class HeldProject(TypedDict):
    """A project in the catalog."""

    project: str
    upstream: str | None
    serial: int | None
    status: str
    gone: str | None
    kept: float | None
    kept_iso: str | None
    files: list[HeldFile]


class ProjectsDocument(TypedDict):
    """`status PROJECT…`: each file of the projects."""

    projects: list[HeldProject]


class VerdictDocument(TypedDict):
    """Whether something is selected, by which rule and fact, and until when."""

    selected: bool
    rule: str | None
    fact: str | None
    until: float | None
    until_iso: str | None


class ExplainedFile(VerdictDocument):
    """Why a file is mirrored or not."""

    file: str
    metadata_only: bool
    state: str | None
    last_error: str | None


class ExplanationDocument(VerdictDocument):
    """`explain PROJECT [FILE]`: the verdict for the project and for each file."""

    project: str
    upstream: str | None
    files: list[ExplainedFile]


class QuarantineEntry(TypedDict):
    """`quarantine explain FILE`: the claimed and the observed values."""

    id: int
    project: str
    file: str
    url: str
    run: str
    at: float
    at_iso: str | None
    reason: str
    message: str
    claimed: dict[str, str]
    claimed_size: int | None
    observed: dict[str, str]
    observed_size: int
    host: str


class Quarantine(TypedDict):
    """`quarantine`: the files that failed verification, the oldest first."""

    quarantine: list[QuarantineEntry]


class Released(TypedDict):
    """`quarantine release FILE`."""

    file: str
    released: bool


class Cleared(TypedDict):
    """`quarantine clear [FILE]`."""

    cleared: list[str]


class SearchHit(TypedDict):
    """A project that a search has found. `summary` is "" if none is known."""

    name: str
    summary: str


class SearchResults(TypedDict):
    """`/search.json`. The best result is the first."""

    query: str
    results: list[SearchHit]
