"""The commands as people type them: arguments and options, and nothing of the work."""

from __future__ import annotations

import typer

from pypimirror.cli.app import app as app
from pypimirror.cli.commands import inspecting, mirroring, operating, quarantining
from pypimirror.cli.errors import WrongUse

#: The groups of commands, in the order of `--help`; to import them is to have them.
GROUPS = (mirroring, inspecting, operating, quarantining)

#: Wrong use of a command; which class that is depends on whether typer brings its own click.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run() -> object:
    """Do what the command line asks for; return what the command returns.

    Raises `WrongUse`, and `KeyboardInterrupt` where the command is interrupted.
    """
    try:
        return app(standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _UsageError as error:
        raise WrongUse(str(error), error.show) from error  # type: ignore[attr-defined]
