"""The command line: its commands, and how each ends.

Heavy modules are imported by the commands that need them, so that `--help` and runs that find
nothing to do start fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from pypimirror import __version__, interrupts
from pypimirror.cli.errors import OF_STATE, Exit, of_error
from pypimirror.cli.options import (
    ConfigOption,
    InlineOption,
    JsonOption,
    QuietOption,
    VerboseOption,
    err,
    out,
    print_json,
    set_up_logging,
)
from pypimirror.config import DEFAULT_FILE, ConfigError, load
from pypimirror.model import PypimirrorError, Stage

#: Wrong use of a command; which class that is depends on whether typer brings its own click.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    help="Mirror Python package indexes, and never serve a byte that was not checked.",
    epilog="Start with: pypimirror init six; pypimirror sync",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
runs_app = typer.Typer(
    help="List past runs, newest first; 'runs show RUN' explains one.", rich_markup_mode=None
)
app.add_typer(runs_app, name="runs")
quarantine_app = typer.Typer(
    help="List, explain, release and clear what failed verification.", rich_markup_mode=None
)
app.add_typer(quarantine_app, name="quarantine")


def _version(value: bool) -> None:
    if value:
        out.print(f"pypimirror {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: pypimirror init six 'requests>=2.30' --directory /srv/mirror")
def init(
    projects: Annotated[
        list[str] | None,
        typer.Argument(help="What to mirror: names, requirements, globs; none for everything."),
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="The simple index to mirror; default: PyPI.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="The mirror root.")] = Path("mirror"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace a configuration, keeping it as *.bak.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Write a configuration to begin with."""
    from pypimirror.cli.initialise import write_configuration

    set_up_logging(verbose, quiet)
    file = config or DEFAULT_FILE
    write_configuration(file, projects or [], upstream, directory, force=force)
    if as_json:
        print_json({"config": str(file.absolute())})
    elif not quiet:
        out.print(f"Wrote {file}. Next: pypimirror sync{_config_hint(config)}")


@app.command(
    epilog="Examples: pypimirror sync; pypimirror sync six idna; pypimirror sync --dry-run --json"
)
def sync(
    projects: Annotated[
        list[str] | None, typer.Argument(help="Only these of the selected projects.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Do what the plan in FILE says, made with --dry-run --json, or say why not.",
        ),
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the paths that were added, changed and removed to FILE."
        ),
    ] = None,
    inline: InlineOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Bring the mirror up to date: discover, download, verify, publish."""
    from pypimirror.cli import syncing

    set_up_logging(verbose, quiet)
    if changes is not None:  # in the environment: a flow run reads the configuration itself
        os.environ["PYPIMIRROR_PUBLISH__CHANGES"] = str(changes.absolute())
    settings = load(config)
    if plan is not None and (dry_run or projects):
        raise ConfigError("--plan: says itself what to do; name no projects, and no --dry-run")
    if dry_run:
        fine = syncing.show_plan(settings, projects or [], as_json=as_json, quiet=quiet)
        raise typer.Exit(Exit.DONE if fine else Exit.INCOMPLETE)
    result = syncing.run(config, settings, projects or [], inline=inline, quiet=quiet, plan=plan)
    syncing.show(result, settings, as_json=as_json, quiet=quiet)
    raise typer.Exit(OF_STATE[result.state])


@app.command(
    epilog="Examples: pypimirror retry; pypimirror retry last; pypimirror retry 20260101-0300"
)
def retry(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run's name or its beginning; 'last': the newest; none: the newest that left "
            "something undone."
        ),
    ] = None,
    inline: InlineOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Run again only what failed, or was not reached, in an earlier run."""
    from pypimirror.cli import retrying

    set_up_logging(verbose, quiet)
    result = retrying.run(config, load(config), run, inline=inline, as_json=as_json, quiet=quiet)
    raise typer.Exit(OF_STATE[result.state])


@app.command(epilog="Examples: pypimirror status; pypimirror status six --json")
def status(
    projects: Annotated[
        list[str] | None, typer.Argument(help="Show these projects, file by file.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Show what the mirror holds, what is open, and how the last run ended."""
    from pypimirror.cli import history

    set_up_logging(verbose, quiet)
    history.status(load(config), projects or [], as_json=as_json)


@runs_app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many runs to show.")] = 20,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Only runs since then: a date, a date with a time, or an age as in 7d.",
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
    from pypimirror.cli import history

    set_up_logging(verbose, quiet)
    history.list_runs(load(config), limit, since, as_json=as_json)


@runs_app.command(
    epilog="Examples: pypimirror runs show last; pypimirror runs show 20260101-0300 --failures; "
    "pypimirror runs show last --stage download --json"
)
def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's name or its beginning; 'last': the newest.")],
    stage: Annotated[
        Stage | None, typer.Option(help="Only this stage and what failed in it, batch by batch.")
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Only what failed, all of it, with addresses.")
    ] = False,
    files: Annotated[
        bool, typer.Option("--files", help="List the files that it proved, each with its proof.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Explain one run: its stages, counts and failures."""
    from pypimirror.cli import history

    set_up_logging(verbose, quiet)
    before: tuple[Path | None, bool] = context.obj or (None, False)
    parts = history.Parts(stage, failures, files)
    history.show_run(load(config or before[0]), run, parts, as_json=as_json or before[1])


@app.command(
    epilog="Examples: pypimirror explain six; pypimirror explain six six-1.16.0.tar.gz --json"
)
def explain(
    project: Annotated[str, typer.Argument(help="A project's name, mirrored or not.")],
    file: Annotated[str | None, typer.Argument(help="One of its files; none for all.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Say of each file of a project whether it is mirrored, by which rule, until when."""
    from pypimirror.cli import explaining

    set_up_logging(verbose, quiet)
    explaining.explain(load(config), project, file, as_json=as_json)


@app.command(epilog="Example: pypimirror serve --host 0.0.0.0 --port 8080")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8080,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Serve the mirror over HTTP until interrupted."""
    from pypimirror.cli.serving import serve_mirror

    set_up_logging(verbose, quiet)
    file = config or DEFAULT_FILE
    serve_mirror(load(config), file, host, port, as_json=as_json, verbose=verbose > 0)


@app.command(epilog="Examples: pypimirror up; pypimirror up --host 0.0.0.0 --prefect-port 0")
def up(
    web: Annotated[
        bool | None, typer.Option("--web/--no-web", help="Serve the mirror, or not.")
    ] = None,
    server: Annotated[
        bool,
        typer.Option(
            "--server/--no-server",
            help="Start a Prefect server, or use the one that PREFECT_API_URL names.",
        ),
    ] = True,
    host: Annotated[str | None, typer.Option(help="Address that the mirror is served on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Its port; 0 for any free one.")
    ] = None,
    prefect_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the Prefect server; 0 for any free one."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Run everything on this machine until interrupted: Prefect with schedules, worker, web."""
    from pypimirror.cli import operating

    set_up_logging(verbose, quiet)
    settings = operating.with_options(load(config), host=host, port=port, prefect_port=prefect_port)
    wanted = settings.up.web if web is None else web
    raise typer.Exit(
        operating.run_up(
            config,
            settings,
            web=wanted,
            server=server,
            as_json=as_json,
            verbose=verbose > 0,
            quiet=quiet,
        )
    )


@app.command(epilog="Example: PREFECT_API_URL=http://127.0.0.1:4200/api pypimirror deploy")
def deploy(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Set up a Prefect server: work pool, deployments, schedules and alerts."""
    from pypimirror.cli import operating

    set_up_logging(verbose, quiet)
    operating.deploy(config, load(config), as_json=as_json, quiet=quiet)


@app.command(
    epilog="Examples: pypimirror verify; pypimirror verify --repair --max-age 7d --max-duration 2h"
)
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Take bad files off their pages and fetch them again.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read only what inode, size and mtime say was touched.")
    ] = False,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Leave out what was seen to be right since, as in 7d."),
    ] = None,
    max_duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after this long, as in 2h.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Read everything on disk again and hold it against the catalog."""
    from pypimirror.cli import verifying

    set_up_logging(verbose, quiet)
    options = verifying.options(repair, quick, max_age, max_duration)
    result = verifying.run(load(config), options, quiet=quiet)
    verifying.show_result(result, as_json=as_json, quiet=quiet)
    raise typer.Exit(OF_STATE[result.state])


@app.command(
    epilog="Examples: pypimirror metrics; pypimirror metrics --textfile /srv/textfile/mirror.prom"
)
def metrics(
    textfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write them to this file, in one step."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Print what Prometheus is told of this mirror; changes nothing, and takes no lock."""
    from pypimirror.cli import measuring

    set_up_logging(verbose, quiet)
    measuring.show(load(config), textfile, as_json=as_json)


@app.command(epilog="Examples: pypimirror doctor; pypimirror doctor --json")
def doctor(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Check configuration, disk, catalog, upstreams, clock and Prefect, and say what to do."""
    from pypimirror.cli import examining

    set_up_logging(verbose, quiet)
    raise typer.Exit(examining.run(config, as_json=as_json, quiet=quiet))


@app.command(epilog="Example: pypimirror adopt")
def adopt(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Rebuild a lost catalog from the tree: hash what is there, match it, fetch no file."""
    from pypimirror.cli import adopting

    set_up_logging(verbose, quiet)
    result = adopting.run(load(config), quiet=quiet)
    adopting.show_result(result, as_json=as_json, quiet=quiet)
    raise typer.Exit(OF_STATE[result.state])


@quarantine_app.callback(invoke_without_command=True)
def quarantine(
    context: typer.Context,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """List what failed verification; 'quarantine explain FILE' says why."""
    if context.invoked_subcommand is not None:
        return
    from pypimirror.cli import quarantine as command

    set_up_logging(verbose, quiet)
    command.list_entries(load(config), as_json=as_json)


@quarantine_app.command(
    "explain", epilog="Example: pypimirror quarantine explain six-1.16.0.tar.gz"
)
def explain_quarantined(
    file: Annotated[str, typer.Argument(help="A file's name, or the entry's id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Say what was claimed of a file and what was seen."""
    from pypimirror.cli import quarantine as command

    set_up_logging(verbose, quiet)
    command.explain(load(config), file, as_json=as_json)


@quarantine_app.command(epilog="Example: pypimirror quarantine release six-1.16.0.tar.gz")
def release(
    file: Annotated[str, typer.Argument(help="A file's name, or the entry's id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Have the next sync verify these bytes again; they reach no page without proof."""
    from pypimirror.cli import quarantine as command

    set_up_logging(verbose, quiet)
    command.release(load(config), file, as_json=as_json)


@quarantine_app.command(epilog="Example: pypimirror quarantine clear")
def clear(
    file: Annotated[
        str | None, typer.Argument(help="A file's name, or the entry's id; none for all.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Delete bytes from quarantine."""
    from pypimirror.cli import quarantine as command

    set_up_logging(verbose, quiet)
    command.clear(load(config), file, as_json=as_json)


def _config_hint(config: Path | None) -> str:
    return f" --config {config}" if config else ""


def main() -> None:
    """Run the command line; the process ends with one of `pypimirror.cli.errors.Exit`."""
    # A service manager's SIGTERM ends a run as Ctrl-C does: cleanly, and recorded.
    interrupts.install()
    code = _run()
    interrupts.ignore()
    sys.exit(code)


def _run() -> int:
    as_json = "--json" in sys.argv
    try:
        result = app(standalone_mode=False)
    except PypimirrorError as error:
        code = of_error(error)
        return _failed(str(error), code, as_json=as_json)
    except UsageError as error:
        if as_json:
            return _failed(str(error), Exit.USAGE, as_json=True)
        error.show()  # type: ignore[attr-defined]
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", Exit.INTERRUPTED, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - a fault of this program must not look like code 1
        err.print(traceback.format_exc(), markup=False)
        message = f"a fault of pypimirror itself, please report it: {error!r}"
        return _failed(message, Exit.STOPPED, as_json=as_json)
    return result if isinstance(result, int) else Exit.DONE


def _failed(message: str, code: Exit, *, as_json: bool) -> int:
    err.print(f"pypimirror: {message}", style="red", markup=False)
    if as_json:
        print_json({"error": {"exit": int(code), "message": message}})
    return code


if __name__ == "__main__":
    main()
