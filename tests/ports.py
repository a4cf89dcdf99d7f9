"""Ports of loopback addresses that are kept for the servers that tests start."""

from __future__ import annotations

import socket
import sys

#: What keeps the ports of `free_port`, until this process ends.
_kept: list[socket.socket] = []


def free_port(host: str = "127.0.0.1") -> int:
    """A port for a server; nobody else gets it before this process ends."""
    reservation, port = reserve(host)
    _kept.append(reservation)
    return port


def reserve(host: str, port: int = 0) -> tuple[socket.socket, int]:
    """A socket that keeps a port (any free one for 0) until it is closed, and the port.

    Connections to it are refused, and a server can listen beside it. Without this, another
    process may get the port while a server that is away is to be seen.
    """
    reservation = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    reservation.bind((host, port))
    port = int(reservation.getsockname()[1])
    if sys.platform == "linux":
        # Set after the bind: servers set it, too, and may bind the port; port 0 never gives it.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:  # elsewhere, a server could not listen beside it
        reservation.close()
    return reservation, port
