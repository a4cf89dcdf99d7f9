"""The JSON documents of commands that set up, run and check a mirror, as types.

The rules are those of `pypimirror.domain.documents`, which has the documents about the contents of
a mirror and its runs. Few processes need this module.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec

from pypimirror.domain.documents import RunResult


class ErrorText(TypedDict):
    """The exit code and the error message."""

    exit: int
    message: str


class Error(TypedDict):
    """The document of a command that ended without a result."""

    error: ErrorText


class TranslatedOption(TypedDict):
    """The outcome for one option of bandersnatch."""

    section: str
    option: str
    outcome: str
    note: str


class Adopted(RunResult):
    """`adopt`; with `--bandersnatch`, also the outcome for each option."""

    config: NotRequired[str]
    options: NotRequired[list[TranslatedOption]]


class TranslationDocument(TypedDict):
    """`adopt --bandersnatch CONF --dry-run`."""

    config: str
    options: list[TranslatedOption]
    text: str


class Initialised(TypedDict):
    """`init`: the configuration file, the upstream in it, and where the upstream was found."""

    config: str
    upstream: str
    taken_from: NotRequired[str]
    not_taken: NotRequired[list[str]]


class Sample(TypedDict):
    """One value of a metric."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics(TypedDict):
    """`metrics`: the metrics for Prometheus."""

    metrics: list[Sample]


class CheckDocument(TypedDict):
    """The result of a check, and the next step if one is needed."""

    name: str
    state: str
    seen: str
    remedy: str


class Examination(TypedDict):
    """`doctor`: the worst state, and the result of each check."""

    state: str
    checks: list[CheckDocument]


class Served(TypedDict):
    """`serve`: the directory and the address, once the server answers."""

    directory: str
    url: str


class Up(TypedDict):
    """`up`: the addresses, once all parts are ready."""

    directory: str
    prefect: str
    web: NotRequired[str]
    unfinished: int  #: projects that an unfinished sync has left


class Deployed(TypedDict):
    """`deploy`: the work pools, deployments and automations on the Prefect server."""

    api: str
    work_pools: list[str]
    deployments: dict[str, str]
    automations: list[str]


class Missing(TypedDict):
    """Something that `check` does not find on the mirror, who needs it, and how to get it."""

    project: str | None
    requirement: str | None
    file: str | None
    kind: str
    message: str
    needed_by: list[str]
    upstream: str | None
    remedy: str | None


class CheckedEnvironment(TypedDict):
    """A subject that was checked in one environment; without one, a lock in all of them."""

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


class RelockDocument(TypedDict):
    """`relock`: the lock with addresses of this mirror, or the files that this mirror lacks."""

    complete: bool
    text: str | None
    files: int
    indexes: int
    kept: int
    missing: list[str]
