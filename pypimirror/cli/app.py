"""The typer applications: `pypimirror` and its command groups `runs` and `quarantine`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pypimirror import __version__
from pypimirror.cli.display.output import out


class _Commands(TyperGroup):
    """The commands. Ctrl-C becomes `typer.Abort`: typer alone would end without a message."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise typer.Abort from error


app = typer.Typer(
    cls=_Commands,
    help="Mirror Python package indexes, and never serve a byte that was not checked.",
    epilog="Start with: pypimirror init six; pypimirror sync",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
runs_app = typer.Typer(
    help="List past runs, newest first; 'runs show RUN' explains one.",
    epilog="Examples: pypimirror runs; pypimirror runs --since 7d --limit 50; pypimirror runs show "
    "last",
    rich_markup_mode=None,
)
app.add_typer(runs_app, name="runs")
quarantine_app = typer.Typer(
    help="List, explain, release and clear what failed verification.",
    epilog="Examples: pypimirror quarantine; pypimirror quarantine explain six-1.16.0.tar.gz",
    rich_markup_mode=None,
)
app.add_typer(quarantine_app, name="quarantine")


def _version(value: bool) -> None:
    if value:
        out.print(f"pypimirror {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass
