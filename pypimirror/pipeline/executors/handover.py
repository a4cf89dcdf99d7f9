"""The values that a child gets from the process that leads the run.

The configuration, and the files that it names, may change while a run works. The environment may
override keys. So a child reads none of them: it gets the values, and the selection made from them.

Values go through the child's standard input, which no other user can read. So no login appears in
the arguments or in the environment of a process. They are pickled, because both processes are the
same program and trust each other, and because pickle keeps every value as it is.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from typing import BinaryIO

from msgspec import Struct

from pypimirror import __version__
from pypimirror.config.settings import Config
from pypimirror.domain.model import Problem, ProjectName, PypimirrorError, Stage
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.context.upstream_cache import UpstreamCache
from pypimirror.pipeline.run import Run
from pypimirror.select.selection import Selection


class HandoverError(PypimirrorError):
    """A child cannot work for the process that started it."""


class Handover(Struct, frozen=True):
    """What a child needs in order to work on a run."""

    config: Config
    selection: Selection
    run_id: int
    name: str  #: of the run
    command: str
    names: tuple[ProjectName, ...] | None
    retry: Retry | None
    fetches: bool
    now: float
    cache: UpstreamCache
    answered: bool  #: whether any upstream has answered
    unreachable: Problem | None
    no_room: Problem | None
    stages: tuple[Stage, ...]
    number: int  #: of its first batch
    small_ends: bool  #: see `loop.WorkOff`
    worker: str  #: the child's name in the history
    slot: int  #: its place among the workers of this machine, from 0 on
    workers: int  #: their number
    log_level: int


def of_run(
    run: Run,
    config: Config,
    stages: Sequence[Stage],
    number: int,
    *,
    small_ends: bool,
    place: int,
    workers: int,
) -> Handover:
    """Return what the child at this place, from 0 on, needs to work on a run."""
    return Handover(
        config=config,
        selection=run.selection,
        run_id=run.id,
        name=run.name,
        command=run.command,
        names=run.names,
        retry=run.retry,
        fetches=run.fetches,
        now=run.now,
        cache=run.cache,
        answered=run.ledger.answered,
        unreachable=run.ledger.unreachable,
        no_room=run.ledger.no_room,
        stages=tuple(stages),
        number=number,
        small_ends=small_ends,
        worker=str(place + 1),
        slot=place,
        workers=workers,
        log_level=logging.getLogger("pypimirror").getEffectiveLevel(),
    )


def encode(handover: Handover) -> bytes:
    """Return the bytes for a child's standard input."""
    data = pickle.dumps(handover, pickle.HIGHEST_PROTOCOL)
    return f"{__version__} {len(data)}\n".encode() + data


def read(stream: BinaryIO) -> Handover | None:
    """Read the handover. None means that the other process has ended.

    Raises `HandoverError` if that process is another version of this program.
    """
    version, _, size = stream.readline(200).decode().rpartition(" ")
    if not size.endswith("\n"):
        return None
    if version != __version__:
        raise HandoverError(
            f"pypimirror was changed from version {version} to {__version__} while it worked; the "
            "next run uses the new one"
        )
    data = stream.read(int(size))
    if len(data) < int(size):
        return None
    found = pickle.loads(data)  # noqa: S301 - see above
    assert isinstance(found, Handover)
    return found
