"""A gateway of a company or a build farm: several hosts at one address, over TLS.

`lead` makes their names resolve to it in this process, `environment` in programs that are started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.download.certificates import Authority
from tests.simulator import Simulator

INDEX = "index.test"
FILES = "files.test"

#: A module that Python imports first if it finds it; it adds names that no resolver knows.
_SITECUSTOMIZE = """
import _socket, json, os, socket

names = json.loads(os.environ["GATEWAY_NAMES"])
whole = _socket.getaddrinfo

def look_up(host, *more, **words):
    host = host.decode() if isinstance(host, bytes) else host
    found = [whole(address, *more, **words) for address in names.get(host, [host])]
    return [each for infos in found for each in infos]

_socket.getaddrinfo = look_up
plain = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **words: [
    each
    for address in names.get(host.decode() if isinstance(host, bytes) else host, [host])
    for each in plain(address, *more, **words)
]
"""


@contextmanager
def gateway(directory: Path, *names: str, host: str = "127.0.0.1") -> Iterator[Simulator]:
    """Run an index over TLS that answers for these hosts: the first has pages, the last has files.

    The authority's certificate is its `ca_file`.
    """
    names = names or (INDEX, FILES)
    authority = Authority(directory)
    with Simulator(host=host, tls=True) as simulator:
        simulator.server.context = authority.server(*names)
        simulator.ca_file = authority.file
        simulator.style.root = address(simulator, names[-1])
        simulator.style.links = "absolute"
        yield simulator


def address(simulator: Simulator, name: str) -> str:
    """Scheme, host and port of one of its hosts; no slash at the end."""
    return f"https://{name}:{simulator.server.port}"


def lead(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, Iterable[str]]) -> None:
    """Make names resolve to addresses, in this process."""

    def look_up(host: str, port: int, *_: object) -> list[tuple[object, ...]]:
        if host not in names:
            raise OSError(f"no test knows the host {host}")
        return [(10 if ":" in at else 2, 1, 6, "", (at, port)) for at in names[host]]

    monkeypatch.setattr("gevent.socket.getaddrinfo", look_up)


def environment(directory: Path, names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return variables that make names resolve to addresses, in every Python that gets them."""
    (directory / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")])),
        "GATEWAY_NAMES": json.dumps({name: list(found) for name, found in names.items()}),
    }
