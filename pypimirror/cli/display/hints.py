"""Makes the commands in messages work when a person types them here.

Messages name commands in quotes, such as 'pypimirror retry'. They know neither the path that the
program was called by nor its `--config`. This module adds both when a message is printed for
people, and the path to commands such as 'prefect server start'. JSON documents keep the messages
unchanged.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

NAME = "pypimirror"
_PREFECT = "prefect"

_COMMAND = re.compile(rf"'({NAME}|{_PREFECT}) ([a-z][^'\n]*)'")


def command(arguments: str) -> str:
    """Return a command line for these arguments that works here, with path and `--config`."""
    config = "" if "--config" in arguments else _config()
    return f"{_program()} {arguments}{config}"


def typed(text: str) -> str:
    """Return a message with each quoted command replaced by one that works here."""
    if f"'{NAME} " not in text and f"'{_PREFECT} " not in text:  # most messages name none
        return text
    return _COMMAND.sub(lambda found: f"'{_typed(*found.groups())}'", text)


def _typed(program: str, arguments: str) -> str:
    return command(arguments) if program == NAME else f"{beside(program)} {arguments}"


def beside(program: str) -> str:
    """Return a program of this environment, such as Prefect's, as it can be called here."""
    own = os.path.join(os.path.dirname(sys.executable), program)  # noqa: PTH118, PTH120
    found = _which(program)
    is_found = found is not None and os.path.realpath(found) == os.path.realpath(own)
    return program if is_found or not os.path.exists(own) else shlex.quote(own)  # noqa: PTH110


def _which(program: str) -> str | None:
    """Return the program that a shell finds by this name."""
    import shutil  # it imports compressors, and most commands print no command

    return shutil.which(program)


def _program() -> str:
    """Return the program as it was called, or its bare name if the shell finds it by this name."""
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":  # noqa: PTH119
        return f"{shlex.quote(sys.executable)} -m {NAME}"
    if os.path.basename(called) != NAME or os.sep not in called:  # noqa: PTH119
        return NAME
    found = _which(NAME)
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return NAME
    return shlex.quote(called)


def _config() -> str:
    """Return the `--config` option of this call, with a leading space; "" if it has none."""
    given = sys.argv[1:]
    for position, argument in enumerate(given):
        option, separator, value = argument.partition("=")
        if option == "--config":
            value = value if separator else "".join(given[position + 1 : position + 2])
            return f" --config {shlex.quote(value)}"
    return ""
