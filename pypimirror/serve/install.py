"""Commands for people to install from a mirror. They work when they are pasted."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def install_commands(index_url: str, what: str = "PROJECT") -> dict[str, str]:
    """Return the commands that install from `index_url` (it ends in `/simple/`), by tool.

    `what` is the requirement to install.
    """
    what = shlex.quote(what)  # the versions of some begin with an epoch, "1!"
    parts = urlsplit(index_url)
    trust = ""
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        trust = f" --trusted-host {parts.hostname}"  # pip refuses plain HTTP from other machines
    return {
        "pip": f"pip install --index-url {index_url}{trust} {what}",
        "uv": f"uv pip install --default-index {index_url} {what}",
        "poetry": f"poetry source add --priority=primary mirror {index_url}\npoetry add {what}",
        "pdm": f"pdm config --local pypi.url {index_url}\npdm add {what}",
        "pipenv": f"pipenv install --pypi-mirror {index_url} {what}",
    }


def install_text(index_url: str) -> str:
    """Return all commands as plain text, for a server without pages."""
    commands = install_commands(index_url).items()
    blocks = "".join(f"\n{tool}:\n{command}\n" for tool, command in commands)
    return (
        "A mirror of Python packages. Install from here, with the name of a project in place of "
        f"PROJECT.\n{blocks}\nAll projects of this mirror: {index_url}\n"
    )
