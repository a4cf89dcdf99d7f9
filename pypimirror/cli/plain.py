"""`sync`, `verify` and `status` with the options that schedules use, read without typer.

Nearly all runs have such a command line, and most of them find nothing to do. typer, and pydantic
that it imports to read options, would take more than a third of their time. typer reads every other
command line, including wrong ones. A test compares both readings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pypimirror.cli.api import prefect_api
from pypimirror.config.settings import Config, load
from pypimirror.domain.errors import PypimirrorError

_ALL = {"--json": "as_json", "--quiet": "quiet", "-q": "quiet"}
_FLAGS = {
    "sync": {**_ALL, "--inline": "inline"},
    "verify": {**_ALL, "--quick": "quick"},
    "status": {**_ALL, "--plot": "plot"},
}


def command(arguments: Sequence[str]) -> Callable[[], object] | None:
    """Return a function that does the command; None if typer must read it."""
    asked = options(arguments)
    if asked is None:
        return None
    if "config" in asked:
        asked["config"] = Path(asked["config"])
    if arguments[0] == "status":
        from pypimirror.cli.actions import history

        return partial(history.perform_status, **asked)
    if arguments[0] == "sync":
        if asked.get("inline") or prefect_api() is None:
            asked["settings"] = _begin_sync(asked.get("config"))
        return partial(_sync, asked)
    if not asked.get("quick"):
        asked["settings"] = _begin_verify(asked.get("config"))
    return partial(_verify, asked)


def _sync(asked: dict[str, Any]) -> object:
    from pypimirror.cli.actions import syncing

    return syncing.perform(**asked)


def _verify(asked: dict[str, Any]) -> object:
    from pypimirror.cli.actions import verifying

    return verifying.perform(**asked)


def _begin_sync(file: Path | None) -> Config | None:
    """Begin a sync before its modules are imported.

    Return its configuration; None if that cannot be read.
    """
    from pypimirror.cli import early_sync

    if (config := _config(file)) is not None:
        early_sync.begin(config)
    return config


def _begin_verify(file: Path | None) -> Config | None:
    """Begin a verification before its modules are imported; return as `_begin_sync` does."""
    from pypimirror.cli import early_verify

    if (config := _config(file)) is not None:
        early_verify.begin(config)
    return config


def _config(file: Path | None) -> Config | None:
    try:
        return load(file)
    except PypimirrorError:  # the command meets the same error and reports it
        return None


def options(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the options of a command by parameter name; None if typer must read them."""
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
