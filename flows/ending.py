"""The final state of a flow run. It says the same as the catalog's record and the exit code."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, FailedRun
from prefect.states import Cancelled, Completed, Crashed, Failed

from pypimirror.catalog.queries import runs
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import Problem, PypimirrorError
from pypimirror.pipeline.summary import Summary
from pypimirror.system import workers


class SkippedError(LockedError):
    """Another run works on the mirror, and this flow run does not wait for it."""


def final_state(summary: Summary) -> State[Any]:
    """Return the final state of a flow run.

    A run that left something undone has the type Failed and the name Incomplete, so that nobody who
    watches for failures misses it, in the UI or by an automation.
    """
    if summary.state == runs.COMPLETED:
        what = done(summary.counts) if summary.run else ""
        return Completed(message="; ".join(filter(None, [what, summary.message])))
    if summary.state == runs.INCOMPLETE:
        left = "; ".join(filter(None, [_left(summary), summary.message]))
        return Failed(name="Incomplete", message=f"Incomplete: {left}")
    if summary.state == runs.CANCELLED:
        return Cancelled(message="Cancelled; the next run continues from here")
    return Failed(message=summary.message)


def as_recorded(state: str, message: str) -> State[Any]:
    """Return the final state of a flow run whose end only the catalog knows."""
    if state == runs.CRASHED:
        return Crashed(message="Its process died without closing its run")
    text = f"Prefect was away when it ended. {message}".rstrip()
    if state == runs.COMPLETED:
        return Completed(message=text)
    if state == runs.INCOMPLETE:
        return Failed(name="Incomplete", message=text)
    return Cancelled(message=text) if state == runs.CANCELLED else Failed(message=text)


def without_run(error: PypimirrorError) -> State[Any]:
    """Return the final state of a flow run that ended before it had a run in the catalog.

    If another run was at work and this one does not wait, it is Skipped. That is not a failure:
    nothing is wrong with the mirror, and the next run comes.
    """
    if isinstance(error, SkippedError):
        return Cancelled(name="Skipped", message=f"Skipped: {error.holder} is at work")
    if isinstance(error, workers.Cancelled):
        return Cancelled(message="Cancelled before it began")
    return Failed(message=str(error))


def log_no_states() -> None:
    """Keep final states from being logged as program errors with a traceback.

    Prefect's engine turns the state that a flow returns into an exception and logs it. The log has
    the state already.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_is_no_state)


def _is_no_state(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, FailedRun | CancelledRun)


def done(counts: Mapping[str, int]) -> str:
    """Return the counts of a run as text."""
    return (
        f"{_number(counts['projects_changed'], 'project')} changed, "
        f"{_number(counts['files_downloaded'], 'file')} downloaded, "
        f"{_number(counts['pages_written'], 'page')} written"
    )


def _left(summary: Summary) -> str:
    """Describe the failures, in the form `3 of 5,214 files failed (2 timeouts, …)`."""
    files = [problem for problem in summary.failures if problem.file]
    projects = [problem for problem in summary.failures if problem.project and not problem.file]
    others = [problem for problem in summary.failures if not problem.project and not problem.file]
    parts = []
    if files:
        # Every run reports refusals that are still open, even if it found no files.
        total = summary.counts["files_found"]
        count = (
            f"{len(files):,} of {total:,} files" if total >= len(files) else _number(files, "file")
        )
        parts.append(f"{count} failed ({_reasons(files)})")
    if projects:
        parts.append(f"{_number(projects, 'project')} failed ({_reasons(projects)})")
    parts.extend(problem.message for problem in others)
    return ", ".join(parts)


def _reasons(problems: Sequence[Problem]) -> str:
    counted = Counter(problem.reason.value.replace("-", " ") for problem in problems)
    return ", ".join(_number(number, reason) for reason, number in counted.most_common())


def _number(things: int | Sequence[Any], noun: str) -> str:
    """Format a count. Only known nouns get a plural."""
    number = things if isinstance(things, int) else len(things)
    plural = {"mismatch": "es", "timeout": "s", "conflict": "s", "file": "s", "page": "s"}
    plural |= {"project": "s", "url": "s", "name": "s", "digest": "s", "archive": "s"}
    ending = "" if number == 1 else plural.get(noun.split()[-1], "")
    return f"{number:,} {noun}{ending}"
