"""`pypimirror adopt`: take over what is in the mirror root already."""

from __future__ import annotations

from pypimirror.catalog import runs
from pypimirror.cli import show
from pypimirror.cli.options import out, print_json
from pypimirror.cli.progress import TerminalReporter
from pypimirror.config import Config
from pypimirror.stages import adopt, record, sequence
from pypimirror.stages.run import Run
from pypimirror.stages.summary import Summary


def run(config: Config, *, quiet: bool) -> Summary:
    """Adopt the tree inline."""

    def work(current: Run) -> None:
        adopt.adopt(current, sequence.sync)

    with TerminalReporter(quiet) as reporter:
        return record.sync(config, (), work, command="adopt", trigger="inline", reporter=reporter)


def show_result(result: Summary, *, as_json: bool, quiet: bool) -> None:
    """Print what was taken over and what is left."""
    if as_json:
        print_json(result.as_json())
        return
    if quiet and not result.failures:
        return
    counts = result.counts
    out.print(f"Run {result.run} {show.styled(result.state)} in {result.seconds:.1f} s.")
    out.print(
        f"  {counts['files_verified']} files taken over, {show.amount(counts['bytes_checked'])} "
        f"read, {counts['files_missing']} are not here; the next sync fetches them"
    )
    if result.message and result.state != runs.COMPLETED:
        out.print(f"  {result.message}", markup=False)
    show.failures(
        (stage, problem.project, problem.file, problem.reason.value, problem.message)
        for stage, problem in zip(result.stages, result.failures, strict=True)
    )
