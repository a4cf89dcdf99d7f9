"""Options that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; default: ./pypimirror.toml."),
]
InlineOption = Annotated[
    bool | None,
    typer.Option(
        "--inline/--prefect",
        help="Run in this process, or as a Prefect flow run; default: as a flow run if a "
        "Prefect API is configured.",
    ),
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="If another run works on the mirror, wait this long for it, as in 30m; default: end "
        "at once, with exit code 4.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
VerboseOption = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Print more; twice for debugging.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only problems.")]
