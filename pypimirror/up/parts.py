"""Define the parts: their programs, their environment, and how to check that each is ready.

Prefect keeps all its files below the mirror's private directory. A user's own Prefect settings have
no effect on it: neither a profile, nor a home, nor the server of other work.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.layout import PRIVATE
from pypimirror.domain.model import PypimirrorError
from pypimirror.serve.command import server_command
from pypimirror.up.asking import NoAnswerError, answers, ask
from pypimirror.up.ports import ListenAddress, reserve

#: The work pool that `prefect.yaml` names.
POOL = "pypimirror"

#: A file in the private directory. The only `pypimirror up` of a mirror locks it, and writes the
#: address of its Prefect API into it.
UP_LOCK = "up.lock"

#: Flow runs besides shards that the worker starts at once, each a process. One works; the others
#: wait for it, or end as skipped. If the server had no worker for a while, many runs are late at
#: once.
LIMIT = 6

#: Variables that name the user's own server, profile or home of Prefect.
_FOREIGN = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_HOME")
_ACCESS = ("PREFECT_API_URL", "PREFECT_API_KEY")
_UI = ("PREFECT_UI_STATIC_DIRECTORY", "PREFECT_SERVER_UI_STATIC_DIRECTORY")
_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_LOOPBACK = "127.0.0.1,localhost,::1"

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Part:
    """A program to keep alive."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path  #: its working directory
    #: Called before each start. It returns a probe, which checks whether the part is ready.
    watch: Callable[[], Awaitable[Probe]]


@dataclass(frozen=True)
class Parts:
    """The parts of a machine. Unwanted parts are None."""

    api: str  #: the address of the Prefect API
    web_url: str
    web: Part | None
    server: Part | None
    deploy: Part  #: runs once, to its end
    worker: Part


def limit(config: Config) -> int:
    """Return the number of flow runs that a worker starts at once."""
    return LIMIT + config.workers.shards


class PlaceError(PypimirrorError):
    """The directory for Prefect's files cannot be made; the message says where and why."""


def prepare(config: Config) -> None:
    """Make the directory that the parts run in; raises `PlaceError`."""
    home = _home(config)
    try:
        config.directory.mkdir(parents=True, exist_ok=True)
        config.private.mkdir(PRIVATE, exist_ok=True)
        home.mkdir(PRIVATE, exist_ok=True)  # Prefect's database holds addresses with secrets
    except OSError as error:
        raise PlaceError(f"{home}: cannot be made: {error.strerror}") from error


def _home(config: Config) -> Path:
    return config.private / "prefect"


def plan(config: Config, file: Path, *, web: bool, server: bool) -> Parts:
    """Return the parts for the configuration `config`, read from `file`.

    Without `server`, the Prefect API is the one that PREFECT_API_URL names. Raises `ConfigError`
    if a port is taken, or if there is no such API.
    """
    home = _home(config)
    ui = api = None
    if server:
        remedy = "set [prefect] host or port, or --prefect-port; 0 takes any free one"
        ui = reserve(config.prefect.host, config.prefect.port, remedy)
        api = f"{ui.url}/api"
    else:
        api = os.environ.get("PREFECT_API_URL", "").rstrip("/")
        if not api:
            raise ConfigError("PREFECT_API_URL must name a Prefect server, since none is started")
    environment = _environment(config, file, home, api, own_server=server)
    place = None
    if web:
        remedy = "set [up] host or port, or --port; 0 takes any free one"
        place = reserve(config.up.host, config.up.port, remedy)
    name = f"up-{socket.gethostname()}"
    return Parts(
        api=api,
        web_url=f"{place.url}/" if place else "",
        web=_web(config, file, place, environment, home) if place else None,
        server=_server(ui, environment, home) if ui else None,
        deploy=Part(
            "deploy",
            (*_python("pypimirror"), "deploy", "--quiet", "--config", str(file.absolute())),
            environment,
            home,
            _never,
        ),
        worker=Part(
            "worker",
            (
                *_prefect("worker", "start", "--pool", POOL, "--name", name),
                *("--type", "process", "--limit", str(limit(config))),
            ),
            environment,
            home,
            lambda: _watch_worker(api, name),
        ),
    )


def _environment(
    config: Config, file: Path, home: Path, api: str, *, own_server: bool
) -> dict[str, str]:
    foreign = {*_FOREIGN, *(_ACCESS if own_server else ())}
    environment = {k: v for k, v in os.environ.items() if k.upper() not in foreign}
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY")
    environment |= {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": api,
        "PYPIMIRROR_CONFIG": str(file.absolute()),
        "PYTHONUNBUFFERED": "1",
        # The parts must not talk to each other through a proxy.
        "NO_PROXY": ",".join(filter(None, (no_proxy, _LOOPBACK))),
        "no_proxy": ",".join(filter(None, (no_proxy, _LOOPBACK))),
    }
    if own_server:
        database = config.prefect.database or next(
            (environment[name] for name in _DATABASE if environment.get(name)),
            f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        )
        # Both are names of one setting: only one may be set.
        environment.pop(_DATABASE[0], None)
        environment[_DATABASE[1]] = database
        if not any(environment.get(name) for name in _UI) and not _can_hold_ui():
            environment[_UI[0]] = str(home / "ui")
    return environment


def _can_hold_ui() -> bool:
    """Whether Prefect's server can write its UI to its default place, in its own package.

    The user of a service often cannot. Another place means one copy for each mirror.
    """
    spec = find_spec("prefect")
    return bool(spec and spec.origin and os.access(Path(spec.origin).parent / "server", os.W_OK))


def _server(place: ListenAddress, environment: Mapping[str, str], home: Path) -> Part:
    command = (*_prefect("server", "start"), "--host", place.host, "--port", str(place.port))

    async def is_healthy() -> bool:
        return await _is_true(f"{place.url}/api/health")

    return Part("server", command, environment, home, _always(is_healthy))


def _web(
    config: Config, file: Path, place: ListenAddress, environment: Mapping[str, str], home: Path
) -> Part:
    command = server_command(config, file, place.host, place.port)

    async def is_there() -> bool:
        return await answers(f"{place.url}/simple/")

    return Part("web", tuple(command), environment, home, _always(is_there))


def _prefect(*arguments: str) -> tuple[str, ...]:
    return (*_python("prefect"), "--no-prompt", *arguments)


def _python(module: str) -> tuple[str, ...]:
    """Return the command for a module. It imports nothing from the current directory."""
    return sys.executable, "-P", "-m", module


def _always(probe: Probe) -> Callable[[], Awaitable[Probe]]:
    async def watch() -> Probe:
        return probe

    return watch


async def _never() -> Probe:
    async def probe() -> bool:
        return False

    return probe


async def _is_true(url: str) -> bool:
    try:
        return await ask(url) is True
    except NoAnswerError:
        return False


async def _watch_worker(api: str, name: str) -> Probe:
    """A worker is ready once it has sent a heartbeat to the API after its start."""
    before = await _heartbeat(api, name)

    async def is_registered() -> bool:
        return await _heartbeat(api, name) not in (None, before)

    return is_registered


async def _heartbeat(api: str, name: str) -> str | None:
    which = {"workers": {"status": {"any_": ["ONLINE"]}}}
    try:
        found = await ask(f"{api}/work_pools/{POOL}/workers/filter", which)
    except NoAnswerError:
        return None
    return next((w["last_heartbeat_time"] for w in found if w["name"] == name), None)
