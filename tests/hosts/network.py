"""Hosts for tests: each has a network of its own, in which only chosen servers can be reached.

A host is a network namespace, where the system allows that. It has nothing but its own loopback.
There, the test process listens on the ports of the servers that the host may reach, and forwards
connections to the real ones. So a configuration is the same on all hosts. A test sees each message
between a host and a server, and can end their connections or hold every message back.

A socket belongs to the namespace of the thread that made it. So a thread enters the namespace,
makes the sockets, and ends. The rest of this process stays outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from typing import Protocol

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
_RESET = struct.pack("ii", 1, 0)  # close a connection with a reset

_libc = ctypes.CDLL(None, use_errno=True)

#: Called for each message before it is forwarded.
Watch = Callable[[], None]


class State(Enum):
    """What happens to the connections of a link."""

    OPEN = "open"
    CUT = "cut"  #: they are reset, new ones as well
    SILENT = "silent"  #: nothing is forwarded


class Link:
    """The way from a host to one server."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self.watch: Watch = lambda: None
        self._listener = listener
        self._port = port
        self._state = State.OPEN
        self._changed = threading.Condition()
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, state: State) -> None:
        """Break or mend the link."""
        with self._changed:
            self._state = state
            if state is State.CUT:
                self._reset(self._ends)
            self._changed.notify_all()

    def close(self) -> None:
        """End it, with all connections."""
        self.set(State.CUT)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @staticmethod
    def _reset(ends: set[socket.socket]) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            threading.Thread(target=self._connect, args=(near, far), daemon=True).start()

    def _connect(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            with self._changed:
                if self._state is State.CUT:
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                self._ends |= {near, far}
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            self._pump(near, far)
            back.join()
            with self._changed:
                self._ends -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.watch()
                with self._changed:
                    self._changed.wait_for(lambda: self._state is not State.SILENT)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Way(Protocol):
    """A way from a host to one server: a link, or a share."""

    watch: Watch

    def set(self, state: State) -> None:
        """Break or mend it."""

    def close(self) -> None:
        """End it."""


class Host:
    """A host from which these ports of this machine can be reached, and nothing else.

    Without `isolated`, or if the system allows no namespaces, its processes run in the network of
    the tests, and there are no links.
    """

    def __init__(self, name: str, ports: dict[str, int], *, isolated: bool = True) -> None:
        self.name = name
        self.links: dict[str, Way] = {}
        self._namespace = -1
        listeners: dict[str, socket.socket] = {}
        if isolated:
            maker = threading.Thread(target=self._make, args=(ports, listeners))
            maker.start()
            maker.join()
        for server, listener in listeners.items():
            self.links[server] = Link(listener, ports[server])

    @property
    def is_isolated(self) -> bool:
        """Whether it has a network of its own."""
        return self._namespace >= 0

    def enter(self) -> None:
        """Move this thread to the host's network; for a process that is about to start."""
        if self.is_isolated and _libc.setns(self._namespace, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")

    def set(self, state: State, *servers: str) -> None:
        """Break or mend the links to some servers; without names, all of them."""
        for server in servers or self.links:
            self.links[server].set(state)

    def close(self) -> None:
        """End all connections."""
        for link in self.links.values():
            link.close()
        if self.is_isolated:
            os.close(self._namespace)
            self._namespace = -1

    def _make(self, ports: dict[str, int], listeners: dict[str, socket.socket]) -> None:
        if _libc.unshare(_NEW_NETWORK):
            return
        with socket.socket() as any_socket:
            request = struct.pack("16sh14x", b"lo", 0)
            (flags,) = struct.unpack("16xh14x", fcntl.ioctl(any_socket, _GET_FLAGS, request))
            fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))
        for server, port in ports.items():
            listeners[server] = socket.create_server(("127.0.0.1", port), backlog=100)
        self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
