"""The commands for quarantine: list, explain, release and clear what failed verification.

Each command imports the heavy modules that it needs, so that all others start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pypimirror.cli.app import quarantine_app
from pypimirror.cli.display.output import set_up_logging
from pypimirror.cli.options import ConfigOption, JsonOption, QuietOption, VerboseOption
from pypimirror.config.settings import load


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
        context.obj = config, as_json  # "quarantine --json clear" means "quarantine clear --json"
        return
    from pypimirror.cli.actions import quarantine as command

    set_up_logging(verbose, quiet)
    command.list_entries(load(config), as_json=as_json)


@quarantine_app.command(
    "explain", epilog="Example: pypimirror quarantine explain six-1.16.0.tar.gz"
)
def explain_quarantined(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file's name, or the entry's id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Show what was claimed about a file, and what was found."""
    from pypimirror.cli.actions import quarantine as command

    set_up_logging(verbose, quiet)
    before: tuple[Path | None, bool] = context.obj or (None, False)
    command.explain(load(config or before[0]), file, as_json=as_json or before[1])


@quarantine_app.command(epilog="Example: pypimirror quarantine release six-1.16.0.tar.gz")
def release(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file's name, or the entry's id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Let the next sync verify these bytes again. It accepts even a faulty archive, as long as no
    digest contradicts it."""
    from pypimirror.cli.actions import quarantine as command

    set_up_logging(verbose, quiet)
    before: tuple[Path | None, bool] = context.obj or (None, False)
    command.release(load(config or before[0]), file, as_json=as_json or before[1])


@quarantine_app.command(epilog="Example: pypimirror quarantine clear")
def clear(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(help="A file's name, or the entry's id; default: all.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Delete bytes from quarantine."""
    from pypimirror.cli.actions import quarantine as command

    set_up_logging(verbose, quiet)
    before: tuple[Path | None, bool] = context.obj or (None, False)
    command.clear(load(config or before[0]), file, as_json=as_json or before[1])
