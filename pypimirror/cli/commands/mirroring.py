"""The commands that change the mirror.

Each command imports the heavy modules that it needs, so that all others start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pypimirror.cli import completion
from pypimirror.cli.app import app
from pypimirror.cli.display.output import set_up_logging
from pypimirror.cli.errors import of_result
from pypimirror.cli.options import (
    ConfigOption,
    InlineOption,
    JsonOption,
    QuietOption,
    VerboseOption,
    WaitOption,
)
from pypimirror.config.settings import DEFAULT_FILE, ConfigError, load


@app.command(
    epilog="Examples: pypimirror init six 'requests>=2.30' --directory /srv/mirror; "
    "pypimirror init -r requirements.txt; pypimirror init --lock uv.lock"
)
def init(
    projects: Annotated[
        list[str] | None,
        typer.Argument(help="What to mirror: names, requirements, globs."),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The simple index to mirror; default: the index that pip or uv uses on this "
            "machine, else PyPI.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Mirror everything that the index has.")
    ] = False,
    on_demand: Annotated[
        bool,
        typer.Option(
            "--on-demand",
            help="Fetch what clients ask for. Named projects are mirrored before anybody asks.",
        ),
    ] = False,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "-r", "--requirement", metavar="FILE", help="Mirror what a requirements file asks for."
        ),
    ] = None,
    locks: Annotated[
        list[Path] | None,
        typer.Option("--lock", metavar="FILE", help="Mirror exactly the files of a lock."),
    ] = None,
    from_environment: Annotated[
        bool,
        typer.Option(
            "--from-environment",
            help="Mirror the packages in the active virtual environment.",
        ),
    ] = False,
    directory: Annotated[Path, typer.Option(help="The mirror root.")] = Path("mirror"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace a configuration, and keep it as *.bak.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Write a first configuration."""
    from pypimirror.cli.actions import initialise

    set_up_logging(verbose, quiet)
    initialise.perform(
        config or DEFAULT_FILE,
        projects or [],
        upstream=upstream,
        everything=everything,
        on_demand=on_demand,
        files=files or [],
        locks=locks or [],
        from_environment=from_environment,
        directory=directory,
        force=force,
        as_json=as_json,
        quiet=quiet,
    )


@app.command(
    epilog="Examples: pypimirror sync; pypimirror sync six idna; pypimirror sync --dry-run --json"
)
def sync(
    projects: Annotated[
        list[str] | None,
        typer.Argument(
            help="Sync only these of the selected projects.",
            autocompletion=completion.of_projects,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Carry out the plan in FILE, made by --dry-run --json, or say why not.",
        ),
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the paths that were added, changed and removed to FILE."
        ),
    ] = None,
    inline: InlineOption = None,
    wait: WaitOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Bring the mirror up to date: discover, download, verify, publish."""
    from pypimirror.cli.actions import syncing

    raise typer.Exit(
        syncing.perform(
            projects or (),
            dry_run=dry_run,
            plan=plan,
            changes=changes,
            inline=inline,
            wait=wait,
            config=config,
            as_json=as_json,
            verbose=verbose,
            quiet=quiet,
        )
    )


@app.command(
    epilog="Examples: pypimirror retry; pypimirror retry last; pypimirror retry 20260101-0300"
)
def retry(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run's name, or the beginning of one; 'last' is the newest run; default: the "
            "newest run that left something undone.",
            autocompletion=completion.of_runs,
        ),
    ] = None,
    inline: InlineOption = None,
    wait: WaitOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Repeat only what an earlier run failed to do, or did not reach."""
    from pypimirror.cli.actions import retrying

    set_up_logging(verbose, quiet)
    result = retrying.run(
        config, load(config), run, inline=inline, as_json=as_json, quiet=quiet, wait=wait
    )
    raise typer.Exit(of_result(result))


@app.command(
    epilog="Examples: pypimirror verify; pypimirror verify --repair --max-age 7d --max-duration 2h"
)
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Take bad files off their pages and fetch them again.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Read only files whose inode, size or mtime changed; in a bucket, whose digest.",
        ),
    ] = False,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Skip what was found right within this time, as in 7d."),
    ] = None,
    max_duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after this time, as in 2h.")
    ] = None,
    wait: WaitOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Read everything on disk again and compare it with the catalog."""
    from pypimirror.cli.actions import verifying

    raise typer.Exit(
        verifying.perform(
            repair=repair,
            quick=quick,
            max_age=max_age,
            max_duration=max_duration,
            wait=wait,
            config=config,
            as_json=as_json,
            verbose=verbose,
            quiet=quiet,
        )
    )


@app.command(
    epilog="Examples: pypimirror adopt; pypimirror adopt --bandersnatch /etc/bandersnatch.conf; "
    "pypimirror adopt --bandersnatch /etc/bandersnatch.conf --dry-run"
)
def adopt(
    bandersnatch: Annotated[
        Path | None,
        typer.Option(
            metavar="CONF",
            help="First translate this configuration of bandersnatch, and say for each option "
            "what became of it. The mirror root is the tree of bandersnatch.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --bandersnatch: show the configuration, do nothing."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a configuration, and keep it as *.bak.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Take over files on disk, of bandersnatch or after a catalog was lost; download no file."""
    from pypimirror.cli.actions import adopting

    set_up_logging(verbose, quiet)
    told = None
    if bandersnatch is not None:
        from pypimirror.bandersnatch.translate import translate

        translation = translate(bandersnatch)
        told = adopting.options_as_json(translation, config)
        if not as_json:
            adopting.show_options(translation.options, quiet=quiet)
        if dry_run:
            adopting.show_text(translation, told, as_json=as_json)
            return
        adopting.configure(translation, config, force=force)
    elif dry_run or force:
        raise ConfigError("--dry-run and --force: work only with --bandersnatch")
    result = adopting.run(load(config), quiet=quiet)
    adopting.show_result(result, as_json=as_json, quiet=quiet, told=told)
    raise typer.Exit(of_result(result))
