"""`sync` and `verify` with the options that schedules use, read without typer.

Nearly all runs are these, and most of them find nothing to do. Importing typer would take a fifth
of their time. typer reads every other command line, including wrong ones. A test compares both
readings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_ALL = {"--json": "as_json", "--quiet": "quiet", "-q": "quiet"}
_FLAGS = {"sync": {**_ALL, "--inline": "inline"}, "verify": {**_ALL, "--quick": "quick"}}


def command(arguments: Sequence[str]) -> Callable[[], int] | None:
    """Return a function that does the command; None if typer must read it."""
    asked = options(arguments)
    if asked is None:
        return None
    if "config" in asked:
        from pathlib import Path  # slow to import, and `pypimirror.cli.idle` does without it

        asked["config"] = Path(asked["config"])
    if arguments[0] == "sync":
        from pypimirror.cli.actions import syncing

        return lambda: syncing.perform(**asked)
    from pypimirror.cli.actions import verifying

    return lambda: verifying.perform(**asked)


def options(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the options of `sync` or `verify` by parameter name; None if typer must read them."""
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
            found["config"] = value
        else:
            return None
    return found
