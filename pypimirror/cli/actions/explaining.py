"""`pypimirror explain`: which files of a project are mirrored, and why."""

from __future__ import annotations

from pypimirror.cli.display import table
from pypimirror.cli.display.amounts import when
from pypimirror.cli.display.output import out, print_json
from pypimirror.cli.display.table import Column
from pypimirror.config.settings import Config
from pypimirror.pipeline.preview import explain as stage
from pypimirror.pipeline.preview.explain import Explanation, FileExplanation
from pypimirror.select.facts import Verdict


def explain(config: Config, project: str, file: str | None, *, as_json: bool) -> None:
    """Ask the upstream, decide for each file, and print the decisions with their reasons."""
    found = stage.explain(config, project, file)
    if as_json:
        print_json(found.as_json())
    else:
        _show(found, config)


def _show(found: Explanation, config: Config) -> None:
    of = f" of {found.upstream}" if found.upstream else ""
    out.print(f"{found.project}{of}: {_word(found.verdict)}; {_why(found.verdict)}", markup=False)
    if not found.files:
        if found.verdict.selected and found.upstream is not None:
            behind = "; upstreams after it are not asked" if len(config.upstream) > 1 else ""
            out.print(f"  the page of {found.upstream} has no files{behind}", markup=False)
    else:
        table.show(_FILES, map(_row, found.files))
    if not found.verdict.selected and (step := _NEXT.get(found.verdict.rule)):
        out.print(step, markup=False)


#: What to do about a project that is not mirrored, by the rule that leaves it out.
_NEXT = {
    "upstream": "Check the name. If another index has the project, name that index in a further "
    "[[upstream]].",
    "select.projects": "To mirror it, add its name to projects in [select]; then "
    "'pypimirror sync'.",
    "select.exclude": "To mirror it, remove that entry from exclude in [select]; then "
    "'pypimirror sync'.",
}

_FILES = (
    Column("file"),
    Column("", plain=True),
    Column("why", plain=True),
    Column("until"),
    Column("here"),
)


def _row(entry: FileExplanation) -> tuple[str, ...]:
    return (
        entry.file,
        "linked" if entry.is_linked else _word(entry.verdict),
        _why_of(entry),
        when(entry.verdict.until),
        entry.state or "",
    )


def _word(verdict: Verdict) -> str:
    return "in" if verdict.selected else "out"


def _why_of(entry: FileExplanation) -> str:
    failed = entry.last_error is not None and entry.verdict.selected
    return _why(entry.verdict) + (f"; the last try failed: {entry.last_error}" if failed else "")


def _why(verdict: Verdict) -> str:
    if not verdict.rule:
        return "no rule is against it"
    return f"{verdict.rule}: {verdict.fact}" if verdict.fact else verdict.rule
