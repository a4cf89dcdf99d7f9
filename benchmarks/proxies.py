"""Servers that fetch what they are asked for: pypimirror on demand, devpi-server and proxpi.

Each is started empty, as its documentation says, with the settings that make it fast: devpi passes
on core metadata, and proxpi runs in gunicorn with threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure, tools
from benchmarks.upstream import free_port
from tests.corpus import fetch, servers
from tests.environment import isolated

HOST = "127.0.0.1"
#: devpi-server's index: the name of its user, and of the index.
INDEX = "root/bench"
_THREADS = 50  #: of a server with threads; devpi's default
_LONG = 1800  #: seconds for which a page is believed; proxpi's default


@dataclass(frozen=True)
class Running:
    """A server under measurement."""

    url: str  #: of its simple index
    pid: int = 0  #: of its first process; 0: the upstream itself


@dataclass(frozen=True)
class Proxy:
    """A server, and how to start it in an empty directory, on an upstream."""

    name: str
    start: Callable[[Path, str], AbstractContextManager[Running]]
    missing: Callable[[], str] = str  #: why it cannot run here; "": it can


@contextmanager
def _running(command: list[str], port: int, home: Path, **more: str) -> Iterator[int]:
    """Run a server from when it listens; yield its process id."""
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=isolated(HOME=str(home), **more),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        servers.wait_listening(process, port)
        yield process.pid
    finally:
        measure.stop(process)


@contextmanager
def direct(home: Path, upstream: str) -> Iterator[Running]:  # noqa: ARG001
    """The upstream itself, with nothing between."""
    yield Running(upstream)


def _configure(home: Path, upstream: str, projects: list[str]) -> Path:
    config = home / ("pypimirror.toml" if projects else "plain.toml")
    config.write_text(
        f'[[upstream]]\nname = "upstream"\nurl = {json.dumps(upstream)}\n'
        f'[on_demand]\nprojects = {json.dumps(projects)}\nfresh = "{_LONG}s"\n'
        '[select]\nprojects = ["nothing-is-selected"]\n'
    )
    return config


@contextmanager
def serving(
    home: Path, upstream: str, projects: list[str], processes: int = 0
) -> Iterator[Running]:
    """Serve a directory, on demand if there are projects. 0 processes: the default number."""
    port = free_port()
    config = _configure(home, upstream, projects)
    command = [sys.executable, "-m", "pypimirror", "serve", "--config", str(config)]
    more = {"PYPIMIRROR_SERVE__PROCESSES": str(processes)} if processes else {}
    more["PYTHONPATH"] = str(tools.ROOT)
    with _running([*command, "--port", str(port)], port, home, **more) as pid:
        yield Running(f"http://{HOST}:{port}/simple/", pid)


@contextmanager
def pypimirror(home: Path, upstream: str) -> Iterator[Running]:
    """Serve on demand."""
    with serving(home, upstream, ["*"]) as running:
        yield running


@contextmanager
def devpi(home: Path, upstream: str) -> Iterator[Running]:
    """devpi-server with a mirror index."""
    data, port = str(home / "data"), free_port()
    environment = {"DEVPI_CLIENTDIR": str(home / "client"), "HOME": str(home)}
    servers.run(["devpi-init", "--serverdir", data, "--no-root-pypi"], environment)
    command = [str(fetch.SERVERS / "bin" / "devpi-server"), "--serverdir", data, "--host", HOST]
    command += ["--port", str(port), "--threads", str(_THREADS), "--enable-core-metadata"]
    with _running(command, port, home) as pid:
        settings = ["type=mirror", f"mirror_url={upstream}", f"mirror_cache_expiry={_LONG}"]
        settings += ["mirror_provides_core_metadata=True"]
        for each in (
            ["use", f"http://{HOST}:{port}"],
            ["login", "root", "--password="],
            ["index", "-c", INDEX, *settings],
        ):
            servers.run(["devpi", *each], environment)
        yield Running(f"http://{HOST}:{port}/{INDEX}/+simple/", pid)


@contextmanager
def proxpi(home: Path, upstream: str) -> Iterator[Running]:
    """proxpi in gunicorn. One worker, because the cache is in its memory."""
    port = free_port()
    command = [str(tools.PROXPI / "bin" / "gunicorn"), "--bind", f"{HOST}:{port}"]
    command += ["--threads", str(_THREADS), "--keep-alive", "60", "proxpi.server:app"]
    environment = {
        "PROXPI_INDEX_URL": upstream,
        "PROXPI_INDEX_TTL": str(_LONG),
        "PROXPI_CACHE_DIR": str(home / "cache"),
        "PROXPI_LOGGING_LEVEL": "WARNING",
    }
    with _running(command, port, home, **environment) as pid:
        yield Running(f"http://{HOST}:{port}/index/", pid)


def _no_devpi() -> str:
    return "" if fetch.is_fetched(fetch.SERVERS) else "run python -m tests.corpus.fetch servers"


def _no_proxpi() -> str:
    return "" if (tools.PROXPI / "bin" / "gunicorn").is_file() else "not installed; --install"


DIRECT, OURS, DEVPI, PROXPI = "direct", "pypimirror", "devpi-server", "proxpi"

ALL = (
    Proxy(DIRECT, direct),
    Proxy(OURS, pypimirror),
    Proxy(DEVPI, devpi, _no_devpi),
    Proxy(PROXPI, proxpi, _no_proxpi),
)
