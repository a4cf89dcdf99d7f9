"""Options that every command takes, and how a command's output goes out."""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import Console

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; default: ./pypimirror.toml."),
]
InlineOption = Annotated[
    bool | None,
    typer.Option(
        "--inline/--prefect",
        help="In this process, or as a Prefect flow run; default: as a flow run where a "
        "Prefect API is configured.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
VerboseOption = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for debugging.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]


class _LazyConsole:
    """A console that is made when it is first used: many runs print nothing, and Rich is slow."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True, **self._settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)


#: For results. Wide where it is no terminal, so that nothing is cut for a program.
out = cast("Console", _LazyConsole(width=None if sys.stdout.isatty() else 200))
#: For logs, progress and errors.
err = cast("Console", _LazyConsole(stderr=True))


def escape(text: str) -> str:
    """Return `text` so that a console prints it as it is."""
    from rich.markup import escape

    return escape(text)


def set_up_logging(verbose: int, quiet: bool) -> None:
    """Send the program's log to standard error."""
    level = logging.ERROR if quiet else max(logging.DEBUG, logging.WARNING - 10 * verbose)
    handler: logging.Handler = logging.StreamHandler()
    form = "%(levelname)-8s %(message)s"
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        handler = RichHandler(console=err, show_path=False, show_time=False, markup=False)
        form = "%(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler], force=True)
    logging.getLogger("pypimirror").setLevel(level)


def print_json(document: Any) -> None:
    """Print a JSON document on standard output, for people as well as programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    sys.stdout.flush()
