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
        help="In this process, or as a Prefect flow run; default: as a flow run where a "
        "Prefect API is configured.",
    ),
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Where another run works on the mirror, wait so long for it, as in 30m; default: end "
        "with 4 at once.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
VerboseOption = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for debugging.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]
