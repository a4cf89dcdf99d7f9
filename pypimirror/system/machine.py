"""Facts from the operating system about this machine and its boot, and limits of this process.

Unknown values are "". This module imports nothing slow, because runs without work use it.
"""

from __future__ import annotations

import os
import resource
import socket


def host() -> str:
    """Return the host name."""
    return socket.gethostname()


def installed() -> str:
    """Return the id of the installed system."""
    return _line("/etc/machine-id")


def boot() -> str:
    """Return the id of this boot of the kernel. All its containers have the same one."""
    return _line("/proc/sys/kernel/random/boot_id")


def namespace() -> str:
    """Return the namespace of process ids."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path: "pid:[4026531836]"
    except OSError:
        return ""


def allow_descriptors(count: int) -> int:
    """Let this process open `count` files and sockets, within the hard limit.

    Return how many it may open now. A higher limit is not lowered.
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
