"""A server with on demand, and a fetcher for which the test speaks."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from pypimirror import __version__
from pypimirror.on_demand.messages import (
    Coming,
    FileQuestion,
    FromServer,
    Here,
    Message,
    PageQuestion,
    Ready,
    from_server,
    line,
)
from tests.serve.test_server import Server, serving
from tests.serve.tree import add_project, add_root_index, wheel

#: Seconds that a message may take on a busy machine.
LONG = 60


class Puppet:
    """The fetcher's side of the link, in the hands of a test."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "store"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LONG)
        self.config = directory / "relay"
        self.config.write_text(str(self.listener.getsockname()[1]))
        self.connection: socket.socket | None = None
        self.pid = 0

    def begins(self, *, ready: bool = True) -> None:
        """Wait until the server has started a fetcher."""
        if self.connection is not None:
            self.connection.close()
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(LONG)
        self.input: IO[bytes] = self.connection.makefile("rb")
        self.pid = int(self.input.readline())
        if ready:
            self.say(Ready(__version__))

    def say(self, *messages: Message) -> None:
        self.say_bytes(b"".join(map(line, messages)))

    def say_bytes(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)

    def hears(self) -> FromServer:
        message: FromServer = from_server(self.input.readline())
        return message

    def hears_file(self) -> FileQuestion:
        message = self.hears()
        assert isinstance(message, FileQuestion)
        return message

    def hears_page(self) -> PageQuestion:
        message = self.hears()
        assert isinstance(message, PageQuestion)
        return message

    def hears_nothing_more(self) -> bool:
        """Whether the server has asked nothing else until the end of its connection."""
        try:
            return self.input.read() == b""
        except ConnectionResetError:  # it ended before it had read everything
            return True

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        self.listener.close()
        if self.connection is not None:
            self.connection.close()


@dataclass
class Arriving:
    """A file that a fetcher is fetching, of which the test decides everything."""

    puppet: Puppet
    id: int
    content: bytes
    path: Path
    place: Path
    size: int | None = None
    digests: dict[str, str] = field(default_factory=dict)

    def comes(self, received: int | None = None, *, content: bytes | None = None) -> None:
        """Write the first bytes, and tell the server."""
        data = (self.content if content is None else content)[:received]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(data)
        self.puppet.say(Coming(self.id, str(self.path), len(data), self.size, self.digests))

    def is_here(self) -> None:
        """Put the whole file into the store, and tell the server."""
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self.place.write_bytes(self.content)
        self.puppet.say(Here(self.id, str(self.place)))


@dataclass
class Site:
    """A server, its tree and its fetcher."""

    root: Path
    server: Server
    puppet: Puppet

    def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        """Ask; the answer's body is not read yet."""
        connection = self.ask(path, method, **headers)
        return connection.getresponse(), connection

    def ask(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPConnection:
        """Ask, and do not wait for an answer."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=LONG)
        connection.request(method, path, headers=headers)
        return connection

    def arriving(
        self, content: bytes, *, size: int | None = None, digests: dict[str, str] | None = None
    ) -> Arriving:
        """Wait for the question for a file that has this content."""
        asked = self.puppet.hears_file()
        proof = {"sha256": hashlib.sha256(content).hexdigest()} if digests is None else digests
        store = self.puppet.store
        place = store / "packages" / asked.project / asked.filename
        part = store / "parts" / asked.filename
        return Arriving(self.puppet, asked.id, content, part, place, size, proof)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "mirror"
    add_project(directory, "six", wheel("six", "1.16.0"))
    add_root_index(directory, "six")
    return directory


Serve = Callable[..., Site]


@pytest.fixture
def serve(root: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start a server; keywords are constants of `pypimirror.serve.demand`, as `files_SOON`."""
    with ExitStack() as stack:

        def start(*options: str, ready: bool = True, **constants: float) -> Site:
            puppet = Puppet(tmp_path)
            stack.callback(puppet.close)
            given = ("--on-demand", str(puppet.config), *options)
            server = stack.enter_context(serving(root, *given, program=program(**constants)))
            puppet.begins(ready=ready)
            return Site(root, server, puppet)

        yield start


def program(**constants: float) -> tuple[str, str]:
    """A server whose fetcher is the relay, with other constants."""
    lines = [
        "from gevent import monkey; monkey.patch_all()",
        "import sys; from pypimirror.serve import server",
        "from pypimirror.serve.demand import demand, fetcher, files, pages, streaming, usage",
        "from pypimirror.serve.processes import children, keeping",
        "fetcher.PROGRAM = ('-m', 'tests.serve.demand.relay')",
        *(f"{name.replace('_', '.', 1)} = {value}" for name, value in constants.items()),
        "sys.exit(server.main())",
    ]
    return "-c", "\n".join(lines)
