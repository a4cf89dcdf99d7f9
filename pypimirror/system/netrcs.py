"""Logins in a netrc file."""

from __future__ import annotations

import netrc
import os
from pathlib import Path

from pypimirror.domain.addresses import basic


def netrc_login(host: str, *, or_default: bool = False) -> str:
    """Return what a netrc file (NETRC, else the home directory's) has for a host, empty for none.

    One that cannot be read has nothing, as other programs have it.
    """
    preset = os.environ.get("NETRC")
    for file in [preset] if preset else ["~/.netrc", "~/_netrc"]:
        path = Path(file).expanduser()
        if path.exists():
            try:
                hosts = netrc.netrc(path).hosts
            except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
                return ""
            found = hosts.get(host) or (hosts.get("default") if or_default else None)
            return basic(found[0], found[2]) if found and (found[0] or found[2]) else ""
    return ""
