"""How this program is called here, for what a person is told to type next.

Messages name commands in quotes, as in 'pypimirror retry', and know neither the path that the
program was called by nor the configuration that was named to it. Here, at the edge, both are put
in, so that what is told can be typed. Documents in JSON keep the messages as they are.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys

NAME = "pypimirror"

_COMMAND = re.compile(rf"'{NAME} ([a-z][^'\n]*)'")


def command(arguments: str) -> str:
    """Return the line that does what `pypimirror` does with these arguments, here and now."""
    config = "" if "--config" in arguments else _config()
    return f"{_program()} {arguments}{config}"


def typed(text: str) -> str:
    """Return a message in which each command that it names can be typed as it stands."""
    if f"'{NAME} " not in text:  # as in most
        return text
    return _COMMAND.sub(lambda found: f"'{command(found[1])}'", text)


def _program() -> str:
    """Return the program as it was called, or by its name alone where that does."""
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":  # noqa: PTH119
        return f"{shlex.quote(sys.executable)} -m {NAME}"
    if os.path.basename(called) != NAME or os.sep not in called:  # noqa: PTH119
        return NAME
    found = shutil.which(NAME)
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return NAME
    return shlex.quote(called)


def _config() -> str:
    """Return the option that names the configuration, where it was given."""
    given = sys.argv[1:]
    for position, argument in enumerate(given):
        option, separator, value = argument.partition("=")
        if option == "--config":
            value = value if separator else "".join(given[position + 1 : position + 2])
            return f" --config {shlex.quote(value)}"
    return ""
