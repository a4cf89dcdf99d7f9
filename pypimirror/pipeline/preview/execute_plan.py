"""Execute a plan: do exactly what a dry run showed, or do nothing and say why.

The upstreams are asked again. Their answers are compared with the plan before any file is fetched,
any page is written or anything is removed. If they differ, the catalog still keeps the answers, as
after any run that stopped there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec

from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, Executor
from pypimirror.pipeline.preview import plan
from pypimirror.pipeline.preview.plan import VERSION, Plan, PlanEntry
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.pipeline.sequence import perform
from pypimirror.system import texts

#: Most differences that a message names.
_SHOWN = 5


class Planned(msgspec.Struct, frozen=True):
    """The part of a plan file that is executed. The rest of the file is for people."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    projects: list[str]
    fetch: list[PlanEntry]
    publish: list[str]
    withdraw: list[PlanEntry]
    remove: list[PlanEntry]
    link: list[PlanEntry] = []


def read(path: Path) -> Planned:
    """Read the output of `sync --dry-run --json`. Raises `ConfigError`."""
    advice = "make one with 'pypimirror sync --dry-run --json'"
    try:
        return msgspec.json.decode(texts.read(path), type=Planned)
    except texts.TextError as error:
        raise ConfigError(f"{path}: {error}; {advice}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: is not a plan of version {VERSION}: {error}; {advice}"
        ) from error


def apply(run: Run, planned: Planned, call: Call = perform, executor: Executor = inline) -> None:
    """Execute a plan. Raises `StoppedError` if the work to do now differs from the plan."""
    call(run, Stage.DISCOVER, Batch(0))
    run = sequence.discover_all(run, call, executor)
    if run.ledger.unreachable:
        return
    differences = list(islice(_differences(planned, plan.rest(run)), _SHOWN + 1))
    if differences:
        more = "; and more" if len(differences) > _SHOWN else ""
        message = (
            f"the plan no longer fits: {'; '.join(differences[:_SHOWN])}{more}. Nothing was "
            "changed; make a new plan with 'pypimirror sync --dry-run --json'"
        )
        raise StoppedError(Problem(Reason.PLAN_DIFFERS, message))
    sequence.repair(run, call, executor)


def _differences(planned: Planned, now: Plan) -> Iterable[str]:
    """Yield a phrase for each difference between the plan and the work to do now."""
    yield from _compare("fetch", _files(planned.fetch), _files(now.fetch))
    yield from _compare("link", _files(planned.link), _files(now.link))
    yield from _compare("withdraw", _files(planned.withdraw), _files(now.withdraw))
    yield from _compare("remove", _files(planned.remove), _files(now.remove))
    pages = dict.fromkeys(planned.publish)
    yield from _compare("write the page of", pages, now.publish)


def _files(entries: Iterable[PlanEntry]) -> dict[str, object]:
    """Return what identifies each file. The reason why it is in the plan does not matter."""
    return {f"{e.project}/{e.file}": (e.size, e.sha256) for e in entries}


def _compare(verb: str, planned: Mapping[str, object], now: Mapping[str, object]) -> Iterable[str]:
    """Yield a phrase for each name that only one side has or that differs."""
    for name in sorted(planned.keys() | now.keys()):
        if name not in now:
            yield f"there is no need to {verb} {name} any more"
        elif name not in planned:
            yield f"to {verb} {name} was not planned"
        elif planned[name] != now[name]:
            yield f"{name} is another file than was planned"
