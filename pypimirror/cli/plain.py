"""`sync` and `verify` with the options that schedules use, read without typer.

Nearly all runs are these, and most of them find nothing to do: typer, and what it imports, would
take a fifth of their time. What is not known here is typer's to read, also what is wrong. A test
holds both readings against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_ALL = {"--json": "as_json", "--quiet": "quiet", "-q": "quiet"}
_FLAGS = {"sync": {**_ALL, "--inline": "inline"}, "verify": {**_ALL, "--quick": "quick"}}


def command(arguments: Sequence[str]) -> Callable[[], int] | None:
    """Return what does the command and returns its exit code; None if only typer can read it."""
    asked = options(arguments)
    if asked is None:
        return None
    if arguments[0] == "sync":
        from pypimirror.cli.actions import syncing

        return lambda: syncing.perform(**asked)
    from pypimirror.cli.actions import verifying

    return lambda: verifying.perform(**asked)


def options(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the options of `sync` or `verify`, by the names of their parameters, or None."""
    if not arguments or arguments[0] not in _FLAGS:
        return None
    flags = _FLAGS[arguments[0]]
    found: dict[str, Any] = {}
    left = iter(arguments[1:])
    for argument in left:
        option, is_given, value = argument.partition("=")
        if argument in flags:
            found[flags[argument]] = True
        elif option == "--config" and (value or not is_given):
            value = value or next(left, "")
            if not value or value.startswith("-"):
                return None
            found["config"] = Path(value)
        else:
            return None
    return found
