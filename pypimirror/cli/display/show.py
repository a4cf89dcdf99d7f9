"""Prints summaries and runs for people. It gets values, and reads no catalog."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypimirror.catalog import states
from pypimirror.cli.display import causes, hints, table
from pypimirror.cli.display.amounts import amount, when
from pypimirror.cli.display.output import escape, out
from pypimirror.cli.display.table import Cell, Column
from pypimirror.domain import documents
from pypimirror.domain.durations import took
from pypimirror.domain.sizes import number_of

if TYPE_CHECKING:
    from pypimirror.catalog.records import FailureRecord, RunRecord
    from pypimirror.pipeline.summary import Summary

_STYLE = {states.COMPLETED: "green", states.INCOMPLETE: "yellow", states.RUNNING: "cyan"}
_SHOWN = 20

#: If a sync had anything to do, at least one of these counts is above 0.
_DONE = (
    *("projects_changed", "files_found", "files_downloaded", "files_reused", "files_verified"),
    *("files_failed", "files_denied", "files_quarantined", "files_withdrawn", "pages_written"),
)
#: If a run was called with more than `_ALL_NAMED` projects, only the first `_NAMED` are shown.
_NAMED, _ALL_NAMED = 3, 8


def styled(state: str) -> str:
    """Return a run's state with Rich's markup for its colour."""
    return f"[{style_of(state)}]{state}[/]"


def style_of(state: str) -> str:
    """Return Rich's style for a run's state."""
    return _STYLE.get(state, "red")


def summary(result: Summary, directory: Path | None) -> None:
    """Print how a sync ended and how to use the mirror, if it is in a directory (else None)."""
    out.print(f"Run {result.run} {styled(result.state)} in {result.seconds:.1f} s.")
    for line in counted(result):
        out.print(f"  {line}")
    message(result)
    failures(
        (stage, problem.project, problem.file, problem.reason.value, problem.message)
        for stage, problem in zip(result.stages, result.failures, strict=True)
    )
    kept_back([(problem.file, problem.message) for problem in result.denied])
    if result.state in (states.COMPLETED, states.INCOMPLETE):
        if directory is not None:
            _how_to_install(directory / "simple")
        else:
            command = hints.command("serve --host 0.0.0.0")
            out.print(f"\nServe it with\n  {command}", markup=False)


def counted(result: Summary) -> Iterator[str]:
    """Yield lines that say what a sync has done, and what the mirror holds now.

    If nothing changed, one sentence replaces the counts: a list of zeros would look like an empty
    mirror.
    """
    counts = result.counts
    if result.state == states.COMPLETED and not any(counts[name] for name in _DONE):
        yield f"projects  {counts['projects_seen']} seen, none changed: there was nothing to do"
    else:
        yield f"projects  {counts['projects_seen']} seen, {counts['projects_changed']} changed"
        done = {
            "on the pages read": "files_found",
            "linked at the upstream": "files_linked",
            f"downloaded ({amount(counts['bytes_downloaded'])})": "files_downloaded",
            "verified": "files_verified",
            "withdrawn": "files_withdrawn",
            "failed": "files_failed",
        }
        told = [f"{counts[name]} {what}" for what, name in done.items() if counts[name]]
        yield f"files     {', '.join(told) or 'none to fetch, none withdrawn'}"
        yield f"pages     {counts['pages_written']} written"
    if held := result.held:
        linked = f", and {held.linked} more at the upstream" if held.linked else ""
        yield (
            f"mirror    {number_of(held.files, 'file')} of {number_of(held.projects, 'project')}, "
            f"{amount(held.size)}{linked}"
        )


def _how_to_install(simple: Path) -> None:
    """Print how to install a project from this mirror, and how to serve the mirror to others."""
    from pypimirror.cli.actions import example

    found = example.find(simple)
    if found is None:
        return
    install = f"pip install --index-url {simple.as_uri()}/ {found.project}"
    out.print(f"\nInstall from it with\n  {install}", markup=False)
    if found.lacking:
        out.print(
            f"once it also has what {found.project} needs: {', '.join(found.lacking)}; add "
            "them to projects in [select], since dependencies are not mirrored by themselves",
            markup=False,
        )
    out.print(
        f"or serve it to others with\n  {hints.command('serve --host 0.0.0.0')}", markup=False
    )


def checked(result: Summary) -> None:
    """Print how a verification ended."""
    counts = result.counts
    out.print(f"Run {result.run} {styled(result.state)} in {result.seconds:.1f} s.")
    out.print(
        f"  {number_of(counts['files_checked'], 'file')} checked, "
        f"{amount(counts['bytes_checked'])} read, {counts['repaired']} repaired"
    )
    kept_back([(problem.file, problem.message) for problem in result.denied])
    if result.state != states.COMPLETED:
        message(result)
    failures(
        (stage, problem.project, problem.file, problem.reason.value, problem.message)
        for stage, problem in zip(result.stages, result.failures, strict=True)
    )


def message(result: Summary) -> None:
    """Print the message of a run, unless a failure has the same message."""
    if result.message and result.message not in {p.message for p in result.failures}:
        is_end = result.state not in (states.COMPLETED, states.INCOMPLETE)
        out.print(f"  [{'red' if is_end else 'yellow'}]{escape(result.message)}[/]")


def kept_back(denied: Sequence[tuple[str, str]], run: str = "last") -> None:
    """Print the first files that the upstream keeps back, with the upstream's words."""
    if not denied:
        return
    out.print(f"  {len(denied)} kept back by the upstream (not a failure of the mirror):")
    for file, said in denied[:_SHOWN]:
        out.print(f"    {file}: {said}", markup=False)
    if len(denied) > _SHOWN:
        more = f"{len(denied) - _SHOWN} more: {hints.command(f'runs show {run} --failures')}"
        out.print(f"    … and {more}", markup=False)


def failures(rows: Iterable[tuple[str, str, str, str, str]], run: str = "last") -> None:
    """Print the first failures of a run, one entry for each cause."""
    told = causes.grouped(rows)
    for each in told[:_SHOWN]:
        out.print(f"  [yellow]{escape(each.text)}[/]")
        if each.names:
            out.print(f"    {escape(each.names)}")
    everyone = hints.command(f"runs show {run} --failures")
    if hidden := sum(each.number for each in told[_SHOWN:]):
        out.print(f"  … and {hidden} more: {escape(everyone)}")
    elif any(each.number > 1 for each in told):
        out.print(f"  all of them: {escape(everyone)}")


_RUNS = (
    Column("run"),
    Column("started", 2, plain=True),
    Column("command", 1, plain=True),
    Column("state", plain=True),
    Column("trigger", 7),
    Column("took", 3, right=True),
    Column("files", 6, right=True),
    Column("bytes", 5, right=True),
    Column("failed", 4, right=True),
)


def run_table(rows: Iterable[documents.RunDocument]) -> None:
    """Print runs, one line each."""
    table.show(_RUNS, map(_run_row, rows))


def _run_row(row: documents.RunDocument) -> tuple[str | Cell, ...]:
    counts = row["counts"]
    return (
        row["run"],
        when(row["started_at"]),
        row["command"],
        Cell(row["state"], style_of(row["state"])),
        row["trigger"],
        took(row["seconds"]),
        str(counts.get("files_downloaded", 0)),
        amount(counts.get("bytes_downloaded", 0)),
        str(counts.get("files_failed", 0)),
    )


def arguments(given: Sequence[str], *, whole: bool = False) -> str:
    """Return a run's arguments as one line: only the first of many names, or all with `whole`."""
    options = [each for each in given if each.startswith("-")]
    names = [each for each in given if not each.startswith("-")]
    hidden = 0 if whole or len(names) <= _ALL_NAMED else len(names) - _NAMED
    told = ", ".join(names[: len(names) - hidden])
    more = f" and {hidden} more" if hidden else ""
    return " ".join(filter(None, (told + more, *options)))


def run_details(document: documents.RunDocument, *, whole: bool = False) -> None:
    """Print the facts on a run; with `whole`, all of its arguments."""
    out.print(
        f"Run {document['run']} {styled(document['state'])}: {document['command']} by "
        f"{document['trigger']} on {document['host']}, pypimirror {document['version']}"
    )
    if document["arguments"]:
        out.print(f"  arguments {escape(arguments(document['arguments'], whole=whole))}")
    out.print(f"  configuration {document['config']}")
    if document["retry_of"]:
        out.print(f"  retry of {document['retry_of']}")
    out.print(f"  started {when(document['started_at'])}  ended {when(document['ended_at'])}")
    if document["message"]:
        out.print(f"  {escape(document['message'])}")


def stage_table(stages: Iterable[Mapping[str, Any]], first: str) -> None:
    """Print stages: their totals, or the batches of one stage.

    `first` is the title and key of the second column: `batches` or `batch`.
    """
    columns = (
        Column("stage"),
        Column(first, right=True),
        Column("state", plain=True),
        Column("took", right=True, plain=True),
        Column("files/s", right=True),
        Column("bytes", right=True),
        Column("bytes/s", right=True),
        Column("counts"),
    )
    table.show(columns, (_stage_row(stage, first) for stage in stages))


def _stage_row(stage: Mapping[str, Any], first: str) -> tuple[str | Cell, ...]:
    files, size = stage["files_per_second"], stage["bytes_per_second"]
    return (
        stage["stage"],
        str(stage[first]),
        Cell(stage["state"], style_of(stage["state"])),
        took(stage["seconds"]),
        f"{files:.1f}" if files else "",
        amount(stage["bytes"]) if stage["bytes"] else "",
        f"{amount(size)}/s" if size else "",
        ", ".join(f"{key} {value}" for key, value in stage["counts"].items() if value),
    )


def failure_list(failed: Iterable[documents.Attempted]) -> None:
    """Print all failures, each with its address and how often it was tried."""
    for each in failed:
        line = causes.line(
            each["stage"], each["project"], each["file"], each["reason"], each["message"]
        )
        times = f"{each['attempts']} attempt{'' if each['attempts'] == 1 else 's'}"
        out.print(f"  [yellow]{escape(line)}[/]")
        out.print(f"    {', '.join(part for part in (each['url'], times) if part)}", markup=False)


def run_document(row: RunRecord) -> documents.RunDocument:
    """Return a run's catalog row as JSON shows it."""
    return {
        "run": row.name,
        "command": row.command,
        "trigger": row.trigger,
        "version": row.version,
        "config": row.config,
        "arguments": json.loads(row.arguments),
        "retry_of": row.retry_of,
        "host": row.host,
        "pid": row.pid,
        "state": row.state,
        "started_at": row.started_at,
        "started_at_iso": documents.iso(row.started_at),
        "ended_at": row.ended_at,
        "ended_at_iso": documents.iso(row.ended_at),
        "seconds": None if row.ended_at is None else round(row.ended_at - row.started_at, 3),
        "message": row.message,
        "counts": json.loads(row.counts) if row.counts else {},
    }


def failure_document(row: FailureRecord) -> documents.Attempted:
    """Return a failure's catalog row as JSON shows it."""
    return {
        "project": row.project,
        "file": row.file,
        "stage": row.stage,
        "reason": row.reason,
        "message": row.message,
        "url": row.url,
        "attempts": row.attempts,
    }
