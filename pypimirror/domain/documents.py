"""The documents that commands print with `--json`: what is in them, and of which kind.

Those who make the documents are checked against these types, and `docs/schemas/` is made from them.
A reader passes over keys that it does not know: keys are added, and none changes its meaning. Times
are told twice: in seconds since the epoch, and with `_iso` behind the name in ISO 8601, in UTC.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec

from pypimirror.domain import moments

RunState = Annotated[
    str, msgspec.Meta(pattern="^(running|completed|incomplete|failed|cancelled|crashed)$")
]


def iso(seconds: float | None) -> str | None:
    """Write a time in ISO 8601, in UTC; what no calendar has as the nearest that it has."""
    if seconds is None:
        return None
    moment = moments.dated(seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ErrorText(TypedDict):
    """The exit code, and what is wrong."""

    exit: int
    message: str


class Error(TypedDict):
    """What any command prints that ended before there was a result."""

    error: ErrorText


class Failure(TypedDict):
    """What failed, in which stage and why."""

    project: str
    file: str
    stage: str
    reason: str
    message: str


class RunResult(TypedDict):
    """How a run ended: `sync`, `retry`, `verify`. Without a run there was nothing to do."""

    run: str | None
    state: RunState
    counts: dict[str, int]
    seconds: float
    failures: list[Failure]
    denied: list[Failure]


class PlannedFile(TypedDict):
    """A file that something would be done with."""

    project: str
    file: str
    size: int | None
    reason: str
    sha256: str | None


class Plan(TypedDict):
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


class TranslatedOption(TypedDict):
    """What became of an option of bandersnatch."""

    section: str
    option: str
    outcome: str
    note: str


class Adopted(RunResult):
    """`adopt`; with `--bandersnatch`, also what became of each option."""

    config: NotRequired[str]
    options: NotRequired[list[TranslatedOption]]


class Translated(TypedDict):
    """`adopt --bandersnatch CONF --dry-run`."""

    config: str
    options: list[TranslatedOption]
    text: str


class Initialised(TypedDict):
    """`init`: where the configuration is, and which upstream it names, from where."""

    config: str
    upstream: str
    taken_from: NotRequired[str]
    not_taken: NotRequired[list[str]]


class Run(TypedDict):
    """A run of the history."""

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
    """`runs`: the newest first."""

    runs: list[Run]


class Speed(TypedDict):
    """How much a stage did, and how fast."""

    files: int
    bytes: int
    files_per_second: float | None
    bytes_per_second: int | None


class StageTotal(Speed):
    """A stage, summed up over its batches."""

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
    """A stage of one batch."""

    stage: str
    batch: int
    state: str
    started_at: float
    started_at_iso: str | None
    ended_at: float | None
    ended_at_iso: str | None
    seconds: float | None
    counts: dict[str, int]


class Attempted(Failure):
    """What failed, with its address and how often it was tried."""

    url: str
    attempts: int


class Proof(TypedDict):
    """How well a file is proven."""

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
    proof: Proof | None


class RunDetails(Run):
    """`runs show RUN`: with `--failures` nothing of stages, with `--files` what it proved."""

    totals: NotRequired[list[StageTotal]]
    stages: NotRequired[list[StageBatch]]
    failures: list[Attempted]
    files: NotRequired[list[ProvenFile]]


class Status(TypedDict):
    """`status`: the mirror as a whole."""

    directory: str
    projects: int
    files: dict[str, int]
    bytes: int
    kept: dict[str, int]
    released: int
    last_run: Run | None


class Tries(TypedDict):
    """How runs have failed to get a file."""

    failed: int
    next: float | None
    next_iso: str | None
    last_error: str


class HeldFile(TypedDict):
    """A file of a project, as the catalog has it."""

    file: str
    state: str
    proof: Proof | None
    size: int | None
    sha256: str | None
    core_metadata: bool
    kept: float | None
    kept_iso: str | None
    tries: Tries | None
    url: str


class HeldProject(TypedDict):
    """A project, as the catalog has it."""

    project: str
    upstream: str | None
    serial: int | None
    status: str
    gone: str | None
    kept: float | None
    kept_iso: str | None
    files: list[HeldFile]


class ProjectStatus(TypedDict):
    """`status PROJECT…`: file by file."""

    projects: list[HeldProject]


class Verdict(TypedDict):
    """In or out, by which rule, from which fact, until when."""

    selected: bool
    rule: str | None
    fact: str | None
    until: float | None
    until_iso: str | None


class ExplainedFile(Verdict):
    """Why a file is mirrored or not."""

    file: str
    metadata_only: bool
    state: str | None
    last_error: str | None


class Explanation(Verdict):
    """`explain PROJECT [FILE]`: what is mirrored, by which rule, until when."""

    project: str
    upstream: str | None
    files: list[ExplainedFile]


class QuarantineEntry(TypedDict):
    """`quarantine explain FILE`: what was claimed, and what was seen."""

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


class Quarantine(TypedDict):
    """`quarantine`: what failed verification, the oldest first."""

    quarantine: list[QuarantineEntry]


class Released(TypedDict):
    """`quarantine release FILE`."""

    file: str
    released: bool


class Cleared(TypedDict):
    """`quarantine clear [FILE]`."""

    cleared: list[str]


class Sample(TypedDict):
    """One figure."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics(TypedDict):
    """`metrics`: what Prometheus is told."""

    metrics: list[Sample]


class Check(TypedDict):
    """What a check found, and the next step where one is needed."""

    name: str
    state: str
    seen: str
    remedy: str


class Examination(TypedDict):
    """`doctor`: the worst state, and each check."""

    state: str
    checks: list[Check]


class Served(TypedDict):
    """`serve`: where, once it can be asked."""

    directory: str
    url: str


class Up(TypedDict):
    """`up`: where, once all parts are ready."""

    directory: str
    prefect: str
    web: NotRequired[str]


class Deployed(TypedDict):
    """`deploy`: what there is on the Prefect server now."""

    api: str
    work_pools: list[str]
    deployments: dict[str, str]
    automations: list[str]


class Missing(TypedDict):
    """What `check` does not find on the mirror, who needs it, and what would bring it."""

    project: str | None
    requirement: str | None
    file: str | None
    kind: str
    message: str
    needed_by: list[str]
    upstream: str | None
    remedy: str | None


class CheckedEnvironment(TypedDict):
    """One thing that was checked in one environment; without one, a lock in all of them."""

    subject: str
    python: str | None
    platform: str | None
    state: Annotated[str, msgspec.Meta(pattern="^(complete|missing|not-checked)$")]
    releases: int
    missing: list[Missing]
    notes: list[str]


class Installable(TypedDict):
    """`check`: whether an installer that knows only this mirror can install something."""

    complete: bool
    environments: list[CheckedEnvironment]
