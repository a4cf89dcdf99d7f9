"""Find ports for the parts: check that one is free, or choose a free one."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass

from pypimirror.config.settings import ConfigError


@dataclass(frozen=True)
class ListenAddress:
    """An address to listen on."""

    host: str
    port: int
    #: Reserves the port. It does not listen, so a part can.
    reservation: socket.socket | None = None

    @property
    def url(self) -> str:
        """The address for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def reserve(host: str, port: int, remedy: str) -> ListenAddress:
    """Reserve `port`, or any free one for 0; `remedy` says how to choose another.

    Raises `ConfigError` if the port is taken, or if this machine does not have the address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"{host} port {port}: {error.strerror or error}; {remedy}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}; {remedy}"
        ) from error
    port = int(listener.getsockname()[1])
    if sys.platform != "linux":  # elsewhere, a part could not listen beside the reservation
        listener.close()
        return ListenAddress(host, port)
    return ListenAddress(host, port, listener)
