"""The commands as people type them: their arguments and options. `actions` do the work."""

from __future__ import annotations

from typing import Any

import typer

from pypimirror.cli.app import app as app
from pypimirror.cli.commands import inspecting, meant, mirroring, operating, quarantining
from pypimirror.cli.display.output import err
from pypimirror.cli.errors import WrongUse

#: The modules with the commands, in the order of `--help`. Importing one registers its commands.
GROUPS = (mirroring, inspecting, operating, quarantining)

#: The error of wrong use. Its class depends on whether typer brings its own click.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run() -> object:
    """Run the command of the command line; return its result.

    Raises `WrongUse`, and `KeyboardInterrupt` if the command is interrupted.
    """
    try:
        return app(standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _UsageError as error:
        raise _wrong_use(error) from error


def _wrong_use(error: Any) -> WrongUse:
    """Return what a person is told about an error of typer."""
    is_after = error.ctx is not None and error.ctx.parent is not None
    hint = meant.instead(error.ctx.info_name if is_after else "", str(error))

    def show() -> None:
        error.show()
        if hint:
            err.print(hint, markup=False)

    said = str(error)
    return WrongUse(f"{said.rstrip('.')}. {hint}" if hint else said, show)
