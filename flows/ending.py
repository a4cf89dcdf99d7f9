"""How a flow run ends: the state that says what the catalog's record and the exit code say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from pypimirror.catalog import runs
from pypimirror.model import Problem
from pypimirror.stages.summary import Summary


def final_state(summary: Summary) -> State[Any]:
    """Return the state that a flow run ends in.

    A run that left something undone is of the type Failed, under the name Incomplete: whoever
    watches for failures, in the UI or by an automation, must not miss it.
    """
    if summary.state == runs.COMPLETED:
        return Completed(message=_done(summary) if summary.run else summary.message)
    if summary.state == runs.INCOMPLETE:
        return Failed(name="Incomplete", message=f"Incomplete: {_left(summary)}")
    if summary.state == runs.CANCELLED:
        return Cancelled(message="Cancelled; the next run goes on from here")
    return Failed(message=summary.message)


def _done(summary: Summary) -> str:
    counts = summary.counts
    return (
        f"{_number(counts['projects_changed'], 'project')} changed, "
        f"{_number(counts['files_downloaded'], 'file')} downloaded, "
        f"{_number(counts['pages_written'], 'page')} written"
    )


def _left(summary: Summary) -> str:
    """Say what failed, in the words of `3 of 5,214 files failed (2 timeouts, …)`."""
    files = [problem for problem in summary.failures if problem.file]
    projects = [problem for problem in summary.failures if problem.project and not problem.file]
    others = [problem for problem in summary.failures if not problem.project and not problem.file]
    parts = []
    if files:
        # What stands refused is named by every run, also by one that found no file anew.
        of = summary.counts["files_found"]
        count = f"{len(files):,} of {of:,} files" if of >= len(files) else _number(files, "file")
        parts.append(f"{count} failed ({_reasons(files)})")
    if projects:
        parts.append(f"{_number(projects, 'project')} failed ({_reasons(projects)})")
    parts.extend(problem.message for problem in others)
    return ", ".join(parts)


def _reasons(problems: Sequence[Problem]) -> str:
    counted = Counter(problem.reason.value.replace("-", " ") for problem in problems)
    return ", ".join(_number(number, reason) for reason, number in counted.most_common())


def _number(things: int | Sequence[Any], noun: str) -> str:
    """Write a count; only words that are nouns get a plural."""
    number = things if isinstance(things, int) else len(things)
    plural = {"mismatch": "es", "timeout": "s", "conflict": "s", "file": "s", "page": "s"}
    plural |= {"project": "s", "url": "s", "name": "s", "digest": "s", "archive": "s"}
    ending = "" if number == 1 else plural.get(noun.split()[-1], "")
    return f"{number:,} {noun}{ending}"
