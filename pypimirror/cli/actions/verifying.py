"""`pypimirror verify`: compare the disk with the catalog."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pypimirror.cli.actions.history import check_there
from pypimirror.cli.display import show
from pypimirror.cli.display.output import print_json, set_up_logging
from pypimirror.cli.display.progress import TerminalReporter
from pypimirror.cli.errors import Exit, of_result
from pypimirror.config.settings import Config, load, seconds
from pypimirror.pipeline import lifecycle, sequence
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.executors.children import children
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.system.memory import relax_collector


def perform(
    *,
    repair: bool = False,
    quick: bool = False,
    max_age: str | None = None,
    max_duration: str | None = None,
    wait: str | None = None,
    config: Path | None = None,
    settings: Config | None = None,
    as_json: bool = False,
    verbose: int = 0,
    quiet: bool = False,
) -> Exit:
    """Do what `pypimirror verify` is asked for; return its exit code.

    `settings` is the configuration in the file `config`, if that was read already.
    """
    set_up_logging(verbose, quiet)
    chosen = options(repair, quick, max_age, max_duration)
    result = run(settings or load(config), chosen, quiet=quiet, wait=wait)
    show_result(result, as_json=as_json, quiet=quiet)
    return of_result(result)


def options(repair: bool, quick: bool, max_age: str | None, max_duration: str | None) -> Options:
    """Parse the command's options; raises `ConfigError` for a wrong time."""
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
    """Check the mirror inline; `retry` is the name of a run to repeat."""

    check_there(config)

    def work(current: Run) -> None:
        audit(current, options, partial(sequence.repair, executor=children))

    relax_collector()
    with TerminalReporter(quiet) as reporter:
        return lifecycle.sync(
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
