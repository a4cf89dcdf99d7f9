"""Look up names of hosts."""

from __future__ import annotations

import contextlib
import ipaddress
import time

import gevent
from gevent import socket

from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError


class Resolver:
    """Name lookups, kept for `keep` seconds, and never two at once for one name."""

    def __init__(self, keep: float = 30.0) -> None:
        self._keep = keep
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._pending: dict[tuple[str, int], gevent.Greenlet[..., list[str] | OSError]] = {}

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`. Raises `FetchError` (CONNECTION)."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        known = self._known.get((host, port))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        lookup = self._pending.get((host, port))
        if lookup is None:
            # In a greenlet of its own, which continues for others when this caller's time is up.
            lookup = self._pending[host, port] = gevent.spawn(self._look_up, host, port)
        found = lookup.get()
        if isinstance(found, OSError):
            raise FetchError(
                Reason.CONNECTION,
                f"The host {host!r} cannot be resolved: {found.strerror or found}.",
                again=Again.ALWAYS,
            ) from found
        return found

    def _look_up(self, host: str, port: int) -> list[str] | OSError:
        try:
            infos = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as error:
            return error
        except UnicodeError as error:
            return OSError(str(error))
        finally:
            del self._pending[host, port]
        found = list(dict.fromkeys(str(info[4][0]) for info in infos))
        self._known[host, port] = (time.monotonic() + self._keep, found)
        return found
