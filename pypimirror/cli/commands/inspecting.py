"""The commands that report: `status`, `runs`, `explain`, `check`, `relock`, `metrics`, `doctor`.

Each command imports the heavy modules that it needs, so that all others start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pypimirror.cli import completion
from pypimirror.cli.app import app, runs_app
from pypimirror.cli.display.output import set_up_logging
from pypimirror.cli.options import ConfigOption, JsonOption, QuietOption, VerboseOption
from pypimirror.config.settings import DEFAULT_FILE, load
from pypimirror.domain.model import Stage


@app.command(epilog="Examples: pypimirror status; pypimirror status six --json")
def status(
    projects: Annotated[
        list[str] | None,
        typer.Argument(
            help="Show these projects, file by file.", autocompletion=completion.of_projects
        ),
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also draw the last 30 days as charts.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Show what the mirror holds, what is still to do, and how the last run ended."""
    from pypimirror.cli.actions import history

    history.perform_status(
        projects or (), plot=plot, config=config, as_json=as_json, verbose=verbose, quiet=quiet
    )


@runs_app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many runs to show.")] = 20,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Show only runs since then: a date, a date with a time, or an age such as 7d.",
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """List past runs, newest first; 'runs show RUN' explains one."""
    if context.invoked_subcommand is not None:
        context.obj = config, as_json  # "runs --json show" means what "runs show --json" does
        return
    from pypimirror.cli.actions import history

    set_up_logging(verbose, quiet)
    history.list_runs(load(config), limit, since, as_json=as_json)


@runs_app.command(
    epilog="Examples: pypimirror runs show last; pypimirror runs show 20260101-0300 --failures; "
    "pypimirror runs show last --stage download --json"
)
def show(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            help="A run's name, or the beginning of one; 'last' is the newest run.",
            autocompletion=completion.of_runs,
        ),
    ],
    stage: Annotated[
        Stage | None, typer.Option(help="Show only this stage and its failures, batch by batch.")
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Show only the failures: all, with addresses.")
    ] = False,
    files: Annotated[
        bool, typer.Option("--files", help="List the files that the run proved, with their proof.")
    ] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also draw its batches and workers over time.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Explain one run: its stages, counts and failures."""
    from pypimirror.cli.actions import history

    set_up_logging(verbose, quiet)
    before: tuple[Path | None, bool] = context.obj or (None, False)
    parts = history.RunParts(stage, failures, files, arguments=verbose > 0, plot=plot)
    history.show_run(load(config or before[0]), run, parts, as_json=as_json or before[1])


@app.command(
    epilog="Examples: pypimirror explain six; pypimirror explain six six-1.16.0.tar.gz --json"
)
def explain(
    project: Annotated[
        str,
        typer.Argument(
            help="A project's name, mirrored or not.", autocompletion=completion.of_projects
        ),
    ],
    file: Annotated[str | None, typer.Argument(help="One of its files; default: all.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Say for each file of a project whether it is mirrored, by which rule, and until when."""
    from pypimirror.cli.actions import explaining

    set_up_logging(verbose, quiet)
    explaining.explain(load(config), project, file, as_json=as_json)


@app.command(
    epilog="Examples: pypimirror check -r requirements.txt; pypimirror check --lock uv.lock "
    "--python 3.12 --platform manylinux_2_28_aarch64; pypimirror check 'httpx[http2]' --json"
)
def check(
    requirements: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REQUIREMENT]...",
            help="Requirements to install together; default, without -r and --lock: the "
            "projects that [select] names.",
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("-r", "--requirement", metavar="FILE", help="A requirements file."),
    ] = None,
    locks: Annotated[
        list[Path] | None,
        typer.Option(
            "--lock", metavar="FILE", help="A lock: its files must be here, with their digests."
        ),
    ] = None,
    pythons: Annotated[
        list[str] | None,
        typer.Option(
            "--python",
            metavar="VERSION",
            help="A version of Python, as in 3.12; default: those of select.python, else the "
            "running one (for a lock: every file).",
        ),
    ] = None,
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="TAG",
            help="A platform, as in select.platforms; default: those of select.platforms, else the "
            "running one.",
        ),
    ] = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Let uv and pip build sdists that do not say what they require. Runs their code.",
        ),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask upstreams about missing files.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Say whether an installer that knows only this mirror can install something."""
    from pypimirror.cli.actions.applications import checking

    set_up_logging(verbose, quiet)
    asked = checking.CheckArguments(
        requirements or [], files or [], locks or [], pythons or [], platforms or [], build, offline
    )
    raise typer.Exit(checking.run(load(config), asked, as_json=as_json, quiet=quiet))


@app.command(
    epilog="Examples: pypimirror relock uv.lock --base-url https://mirror.example.org/ > new.lock; "
    "pypimirror relock pylock.toml --json"
)
def relock(
    file: Annotated[Path, typer.Argument(help="A lock from elsewhere.")],
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The address of the mirror root for installers; default: that of [up].",
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Print a lock with the addresses of this mirror; digests and all else stay unchanged."""
    from pypimirror.cli.actions.applications import relocking

    set_up_logging(verbose, quiet)
    raise typer.Exit(relocking.run(load(config), file, base_url, as_json=as_json, quiet=quiet))


@app.command(
    epilog="Examples: pypimirror metrics; pypimirror metrics --textfile /srv/textfile/mirror.prom"
)
def metrics(
    textfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the metrics to this file, in one step."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Print the mirror's metrics for Prometheus; change nothing and take no lock."""
    from pypimirror.cli.actions import measuring

    set_up_logging(verbose, quiet)
    measuring.show(load(config), config or DEFAULT_FILE, textfile, as_json=as_json)


@app.command(epilog="Examples: pypimirror doctor; pypimirror doctor --json")
def doctor(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Check configuration, disk, catalog, upstreams, clock and Prefect, and say what to do."""
    from pypimirror.cli.actions import examining

    set_up_logging(verbose, quiet)
    raise typer.Exit(examining.run(config, as_json=as_json, quiet=quiet))
