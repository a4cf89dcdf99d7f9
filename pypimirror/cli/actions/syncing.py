"""`pypimirror sync`: inline or as a flow run, and what it prints."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pypimirror.cli.api import prefect_api
from pypimirror.cli.display.amounts import amount
from pypimirror.cli.display.output import out, print_json, set_up_logging
from pypimirror.cli.display.progress import TerminalReporter
from pypimirror.cli.errors import Exit, of_result
from pypimirror.config.settings import DEFAULT_FILE, Config, ConfigError, load, seconds
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline import lifecycle, sequence
from pypimirror.pipeline.executors.children import children
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.system import interrupts
from pypimirror.system.memory import relax_collector
from pypimirror.system.project import project_directory


def perform(
    projects: Sequence[str] = (),
    *,
    dry_run: bool = False,
    plan: Path | None = None,
    changes: Path | None = None,
    inline: bool | None = None,
    wait: str | None = None,
    config: Path | None = None,
    settings: Config | None = None,
    as_json: bool = False,
    verbose: int = 0,
    quiet: bool = False,
) -> Exit:
    """Do what `pypimirror sync` is asked for; return its exit code.

    `settings` is the configuration in the file `config`, if that was read already.
    """
    set_up_logging(verbose, quiet)
    if changes is not None:  # in the environment: a flow run reads the configuration itself
        os.environ["PYPIMIRROR_PUBLISH__CHANGES"] = str(changes.absolute())
    settings = settings or load(config)
    if plan is not None and (dry_run or projects):
        raise ConfigError("--plan: the plan says what to do; leave out projects and --dry-run")
    if dry_run:
        fine = show_plan(settings, projects, as_json=as_json, quiet=quiet, wait=wait)
        return Exit.DONE if fine else Exit.INCOMPLETE
    result = run(config, settings, projects, inline=inline, quiet=quiet, plan=plan, wait=wait)
    show(result, settings, as_json=as_json, quiet=quiet)
    return of_result(result)


def run(
    file: Path | None,
    config: Config,
    projects: Sequence[str],
    *,
    inline: bool | None,
    quiet: bool,
    retry: str | None = None,
    plan: Path | None = None,
    wait: str | None = None,
) -> Summary:
    """Sync inline, or as a Prefect flow run in this process.

    `retry` is the name of a run to repeat, `plan` the file of a plan to carry out, `wait` how long
    to wait for another run, such as `30m`.
    """
    patience = seconds(wait, "--wait") or 0.0
    if inline is False or (inline is None and prefect_api() is not None):
        return _run_flow(file or DEFAULT_FILE, projects, quiet, retry, plan, wait)
    relax_collector()
    work: Callable[[Run], None] = partial(sequence.sync, executor=children)
    if plan is not None:
        projects, work = _planned(plan)
    with TerminalReporter(quiet) as reporter:
        return lifecycle.sync(
            config,
            projects,
            work,
            trigger="inline",
            reporter=reporter,
            retry=retry,
            wait=patience,
        )


def _planned(file: Path) -> tuple[Sequence[str], Callable[[Run], None]]:
    """Return the projects of a plan, and the function that carries it out."""
    from pypimirror.pipeline.preview import execute_plan

    planned = execute_plan.read(file)
    return planned.projects, lambda run: execute_plan.apply(run, planned, executor=children)


def _run_flow(
    file: Path,
    projects: Sequence[str],
    quiet: bool,
    retry: str | None,
    plan: Path | None,
    wait: str | None,
) -> Summary:
    logging.getLogger().handlers.clear()  # Prefect's handlers say which task a line belongs to
    if quiet:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "ERROR")
    sys.path.insert(0, str(project_directory()))
    # Logs go to standard error: standard output belongs to the result.
    with contextlib.redirect_stdout(sys.stderr):
        from flows.sync import run_sync

        file, carried = file.absolute(), None if plan is None else str(plan.absolute())
        with interrupts.raised():  # Prefect must see the signal
            return run_sync(str(file), list(projects), retry, carried, wait)


def show(result: Summary, config: Config, *, as_json: bool, quiet: bool) -> None:
    """Print how a sync ended."""
    if as_json:
        print_json(result.as_json())
    elif not quiet or result.failures:
        from pypimirror.cli.display import show as rendering

        rendering.summary(result, config.directory if config.bucket is None else None)


def show_plan(
    config: Config,
    projects: Sequence[str],
    *,
    as_json: bool,
    quiet: bool,
    wait: str | None = None,
) -> bool:
    """Print what a sync would do; return whether nothing of it would fail."""
    from pypimirror.pipeline.preview import plan

    with TerminalReporter(quiet) as reporter:
        found = plan.plan(config, projects, reporter, seconds(wait, "--wait") or 0.0)
    if as_json:
        print_json(found.as_json())
        return not found.problems
    for title, entries in (
        ("Would fetch", found.fetch),
        ("Would link at the upstream", found.link),
        ("Would withdraw", found.withdraw),
        ("Would remove from disk", found.remove),
    ):
        if entries is found.link and not entries:
            continue  # most mirrors hold all that they list
        size = amount(sum(entry.size or 0 for entry in entries))
        out.print(f"{title} {number_of(len(entries), 'file')}, {size}", markup=False)
        for entry in entries:
            size = "size unknown" if entry.size is None else amount(entry.size)
            out.print(f"  {entry.project}  {entry.file}  {size}", markup=False)
    out.print(f"Would publish {number_of(len(found.publish), 'page')}", markup=False)
    for name in found.publish:
        out.print(f"  {name}", markup=False)
    if found.problems:
        out.print(f"Would fail: {len(found.problems)}", markup=False)
        from pypimirror.cli.display import show as rendering

        rendering.failures(
            (p.project and "discover", p.project, p.file, p.reason.value, p.message)
            for p in found.problems
        )
    return not found.problems
