"""What the operating system says about itself: whose machine this is, and which start of it.

What is not known is empty. Imports nothing that is slow: also runs that find nothing to do ask.
"""

from __future__ import annotations

import os
import socket


def host() -> str:
    """Return the machine's name."""
    return socket.gethostname()


def installed() -> str:
    """Return the id of the installed system."""
    return _line("/etc/machine-id")


def boot() -> str:
    """Return the id of the running kernel's start: all of its containers have the same."""
    return _line("/proc/sys/kernel/random/boot_id")


def namespace() -> str:
    """Return within what numbers of processes are unique."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path: "pid:[4026531836]"
    except OSError:
        return ""


def _line(path: str) -> str:
    try:
        with open(path) as stream:  # noqa: PTH123 - pathlib is slow to import
            return stream.read().strip()
    except OSError:
        return ""
