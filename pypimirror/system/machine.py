"""What the operating system says about itself and allows: whose machine this is, and which start.

What is not known is empty. Imports nothing that is slow: also runs that find nothing to do ask.
"""

from __future__ import annotations

import os
import resource
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


def allow_descriptors(count: int) -> int:
    """Let this process open `count` files and sockets, as far as the hard limit goes.

    Returns how many it may open now. A limit that is higher stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return count if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _line(path: str) -> str:
    try:
        with open(path) as stream:  # noqa: PTH123 - pathlib is slow to import
            return stream.read().strip()
    except OSError:
        return ""
