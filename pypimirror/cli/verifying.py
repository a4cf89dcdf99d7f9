"""`pypimirror verify`: is what is on disk still what it should be?"""

from __future__ import annotations

from pypimirror.cli import show
from pypimirror.cli.history import check_there
from pypimirror.cli.output import print_json
from pypimirror.cli.progress import TerminalReporter
from pypimirror.config import Config, seconds
from pypimirror.memory import relax_collector
from pypimirror.stages import record, sequence
from pypimirror.stages.recheck import Options, recheck
from pypimirror.stages.run import Run
from pypimirror.stages.summary import Summary


def options(repair: bool, quick: bool, max_age: str | None, max_duration: str | None) -> Options:
    """Put the command's options together; raises `ConfigError`."""
    return Options(
        repair=repair,
        quick=quick,
        max_age=seconds(max_age, "--max-age"),
        max_duration=seconds(max_duration, "--max-duration"),
    )


def run(
    config: Config,
    options: Options,
    *,
    quiet: bool,
    retry: str | None = None,
    wait: str | None = None,
) -> Summary:
    """Check the mirror inline; `retry` names the run whose check is done again."""

    check_there(config)

    def work(current: Run) -> None:
        recheck(current, options, sequence.repair)

    relax_collector()
    with TerminalReporter(quiet) as reporter:
        return record.sync(
            config,
            (),
            work,
            command="verify",
            trigger="inline",
            reporter=reporter,
            retry=retry,
            options=options.words(),
            wait=seconds(wait, "--wait") or 0.0,
        )


def show_result(result: Summary, *, as_json: bool, quiet: bool) -> None:
    """Print how a check ended."""
    if as_json:
        print_json(result.as_json())
        return
    if quiet and not result.failures:
        return
    show.checked(result)
