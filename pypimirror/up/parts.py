"""What the parts are: their programs, their environment, and when each is ready.

All that Prefect keeps is below the mirror's private directory, and none of a person's own Prefect
settings reach it: neither profile, nor home, nor a server that is named for other work. How a
part is kept alive is not known here.
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
from pypimirror.domain.model import PypimirrorError
from pypimirror.serve.command import server_command
from pypimirror.storage.paths import PRIVATE
from pypimirror.up.asking import NoAnswerError, answers, ask
from pypimirror.up.ports import Place, reserve

#: The work pool that `prefect.yaml` names.
POOL = "pypimirror"

#: In the private directory: held by the one `pypimirror up` of a mirror, and names its Prefect API.
UP_LOCK = "up.lock"

#: Flow runs that the worker has at once, each a process: one works, the others wait for it or see
#: that they are to be skipped. Many may be late at once, where the server was there and no worker.
LIMIT = 6

#: Variables that would lead to a server, a profile or a home of the person's own.
_FOREIGN = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_HOME")
_ACCESS = ("PREFECT_API_URL", "PREFECT_API_KEY")
_UI = ("PREFECT_UI_STATIC_DIRECTORY", "PREFECT_SERVER_UI_STATIC_DIRECTORY")
_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_LOOPBACK = "127.0.0.1,localhost,::1"

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Part:
    """A program to be kept alive."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path  #: that it runs in
    #: Asked before each start; what it gives is asked, again and again, whether the part is ready.
    watch: Callable[[], Awaitable[Probe]]


@dataclass(frozen=True)
class Parts:
    """The parts of a machine. Those that were not wanted are None."""

    api: str  #: the address of the Prefect API
    web_url: str
    web: Part | None
    server: Part | None
    deploy: Part  #: runs to its end, once
    worker: Part


class PlaceError(PypimirrorError):
    """There is no place for what Prefect keeps; the message says where and why."""


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
    where a port is taken or there is no such API.
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
            raise ConfigError("without a server of its own, PREFECT_API_URL must name another")
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
                *("--type", "process", "--limit", str(LIMIT)),
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
        # A proxy for the world outside must not come between the parts.
        "NO_PROXY": ",".join(filter(None, (no_proxy, _LOOPBACK))),
        "no_proxy": ",".join(filter(None, (no_proxy, _LOOPBACK))),
    }
    if own_server:
        database = config.prefect.database or next(
            (environment[name] for name in _DATABASE if environment.get(name)),
            f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        )
        # Two names of one setting: only one of them may speak.
        environment.pop(_DATABASE[0], None)
        environment[_DATABASE[1]] = database
        if not any(environment.get(name) for name in _UI) and not _can_hold_ui():
            environment[_UI[0]] = str(home / "ui")
    return environment


def _can_hold_ui() -> bool:
    """Whether Prefect's server may put its UI where it does by default: in its own package.

    The user of a service may not write there. Elsewhere, each mirror would have a copy.
    """
    spec = find_spec("prefect")
    return bool(spec and spec.origin and os.access(Path(spec.origin).parent / "server", os.W_OK))


def _server(place: Place, environment: Mapping[str, str], home: Path) -> Part:
    command = (*_prefect("server", "start"), "--host", place.host, "--port", str(place.port))

    async def is_healthy() -> bool:
        return await _is_true(f"{place.url}/api/health")

    return Part("server", command, environment, home, _always(is_healthy))


def _web(
    config: Config, file: Path, place: Place, environment: Mapping[str, str], home: Path
) -> Part:
    command = server_command(config, file, place.host, place.port)

    async def is_there() -> bool:
        return await answers(f"{place.url}/simple/")

    return Part("web", tuple(command), environment, home, _always(is_there))


def _prefect(*arguments: str) -> tuple[str, ...]:
    return (*_python("prefect"), "--no-prompt", *arguments)


def _python(module: str) -> tuple[str, ...]:
    """Return what runs a module; nothing is imported from the current directory."""
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
    """A worker is ready when it has told the API that it lives, since it was started."""
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
