"""Options that every command takes, and how a command's output goes out."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.logging import RichHandler

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; default: ./pypimirror.toml."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
VerboseOption = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for debugging.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]

#: For results. Wide where it is no terminal, so that nothing is cut for a program.
out = Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=True)
#: For logs, progress and errors.
err = Console(stderr=True, highlight=False, soft_wrap=True)


def set_up_logging(verbose: int, quiet: bool) -> None:
    """Send the program's log to standard error."""
    level = logging.ERROR if quiet else max(logging.DEBUG, logging.WARNING - 10 * verbose)
    handler = RichHandler(console=err, show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("pypimirror").setLevel(level)


def print_json(document: Any) -> None:
    """Print a JSON document on standard output, for people as well as programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    sys.stdout.flush()
