"""Rules for every test: no network but loopback, no settings from outside, fixed examples."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pypimirror.catalog.database import Catalog
from pypimirror.system import children, memory
from tests import buckets, databases, zygote
from tests import postgresql as servers
from tests.corpus import fetch
from tests.databases import CHOICES, POSTGRESQL, SQLITE, Databases
from tests.environment import isolated
from tests.sampling import sample
from tests.simulator import Simulator

# If a shell starts the tests in the background, they and their children ignore SIGINT. But a
# Prefect worker ends by no other signal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Thousands of tests stay in memory, and none of them becomes garbage.
memory.calm_collector()

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")


def pytest_collection_finish() -> None:
    """Never look for garbage among tests and modules, which would take a tenth of all time."""
    memory.relax_collector()


class OutsideError(OSError):
    """A test tried to reach another machine."""


class Guard:
    """Refuses connections and name look-ups that leave loopback, in this process."""

    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: Python calls it before every such operation, gevent's too."""
        if not self.on or not event.startswith("socket."):
            return
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = arguments[1]
            if isinstance(address, tuple) and not is_local(str(address[0])):
                self.refuse(f"{event} to {address[0]}")
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = arguments[0]
            name = host.decode() if isinstance(host, bytes) else host
            if name and not is_local(name):
                self.refuse(f"look-up of {name}")

    def refuse(self, what: str) -> None:
        """Fail the operation, and also the test if it catches the error."""
        self.refused.append(what)
        raise OutsideError(f"tests stay on this machine: {what}")


def is_local(host: str) -> bool:
    """Whether a host name or address is this machine, without looking it up."""
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host in ("localhost", socket.gethostname())


GUARD = Guard()
sys.addaudithook(GUARD.hook)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--catalog`: the database for tests that use a catalog."""
    parser.addoption(
        "--catalog",
        choices=list(CHOICES),
        default=SQLITE,
        help="run tests that use a catalog on this database (default: sqlite)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Clear the environment before any module under test reads it; start the database server."""
    if not hasattr(config, "workerinput") and POSTGRESQL in CHOICES[config.getoption("catalog")]:
        if (why := servers.why_not()) is None:
            running = servers.running()
            server = running.__enter__()
            config.add_cleanup(lambda: running.__exit__(None, None, None))
            config.stash[SERVER] = server.url("postgres")
        elif os.environ.get("CI"):
            pytest.exit(f"no PostgreSQL in CI: {why}", 1)
        else:
            config.stash[SERVER] = why
    home = tempfile.TemporaryDirectory(prefix="prefect-")
    config.add_cleanup(home.cleanup)
    databases.compile_once()
    environment = isolated(PREFECT_HOME=home.name)
    os.environ.clear()
    os.environ.update(environment)


#: The address of this session's database server, or why there is none.
SERVER = pytest.StashKey[str]()

#: Beginnings of the ids of tests that share something that starts slowly. One process runs all
#: tests of one beginning; the first one that matches counts.
#: The mark `xdist_group` of pytest-xdist 3.8.0 has no effect with pytest 9.2.0.
TOGETHER = (
    "tests/storage/s3/",
    "tests/storage/test_contract.py",
    "tests/flows/test_deployments.py",
    "tests/flows/",
    "tests/up/test_up.py",
    "tests/e2e/test_bandersnatch_upstream.py",
    "tests/e2e/test_closure.py",
    "tests/e2e/test_locks.py",
    "tests/e2e/test_mirror_of_mirror.py",
    "tests/e2e/test_recipes.py",
    "tests/hostile/test_files.py",
    "tests/hostile/test_names.py",
    "tests/hostile/test_pages.py",
    "tests/on_demand/test_hostile.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process one test at a time, except for those in `TOGETHER`."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((some for some in TOGETHER if nodeid.startswith(some)), nodeid)

    return Scheduling(config, log)


#: A test without any of these fixtures uses no catalog.
_USERS = {"simulator", "mirror", "catalog", "url", "room", "case", "listed"}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist where the server is."""
    node.workerinput["server"] = node.config.stash.get(SERVER, "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests that use a catalog run on each requested database."""
    if "database" in metafunc.fixturenames and _USERS & set(metafunc.fixturenames):
        chosen = CHOICES[metafunc.config.getoption("catalog")]
        if len(chosen) > 1 and not metafunc.definition.nodeid.startswith(
            databases.TWICE + databases.AGAIN
        ):
            return
        if chosen != [SQLITE] and not metafunc.definition.get_closest_marker("sqlite"):
            again = metafunc.definition.nodeid.startswith(databases.AGAIN) and len(chosen) > 1
            kinds = sample(chosen, SQLITE) if again else chosen
            metafunc.parametrize("database", kinds, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reset the database, so that no test uses one only because an earlier test did."""
    kind = item.callspec.params.get("database") if hasattr(item, "callspec") else None
    databases.current = databases.made if kind == POSTGRESQL else None


@pytest.fixture(scope="session")
def server_databases(request: pytest.FixtureRequest) -> Databases:
    """Databases on PostgreSQL; a test that needs them is skipped without `--catalog`."""
    told = getattr(request.config, "workerinput", {}).get("server", "")
    server = told or request.config.stash.get(SERVER, "")
    if not server.startswith("postgresql"):
        pytest.skip(server or "needs PostgreSQL: run with --catalog both")
    databases.made = Databases(server)
    return databases.made


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database for the catalogs of this test's mirrors."""
    kind = getattr(request, "param", SQLITE)
    if kind == POSTGRESQL:
        databases.current = request.getfixturevalue("server_databases")
    yield kind
    databases.current = None


@pytest.fixture(autouse=True)
def used_databases() -> Iterator[None]:
    """Take back the databases of a test, except for those that its module shares."""
    before = databases.current.used() if databases.current else set()
    yield
    if databases.current:
        databases.current.take_back(databases.current.used() - before)


@pytest.fixture
def postgresql(server_databases: Databases) -> Iterator[Databases]:
    """Databases on PostgreSQL, for tests that run only there."""
    before = server_databases.used()
    yield server_databases
    server_databases.take_back(server_databases.used() - before)


@pytest.fixture
def url(tmp_path: Path, database: str) -> str:
    """The address of a database without a catalog."""
    if databases.current is not None:
        return databases.current.empty()
    return _sqlite_url(tmp_path)


def _sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory / 'catalog.sqlite'}"


@pytest.fixture
def catalog(tmp_path: Path, database: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = databases.current.migrated() if databases.current else _sqlite_url(tmp_path)
    opened = Catalog.open(made)
    yield opened
    opened.close()


@pytest.fixture
def own_server() -> Iterator[servers.Server]:
    """A server that a test may stop and start."""
    if (why := servers.why_not()) is not None:
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    with servers.running(servers.KEPT) as server:
        yield server


@pytest.fixture(autouse=True)
def guard() -> Iterator[Guard]:
    """No test reaches beyond loopback; a test that tries fails."""
    GUARD.refused.clear()
    GUARD.on = True
    yield GUARD
    GUARD.on = False
    assert not GUARD.refused, f"this test tried to leave this machine: {GUARD.refused}"


#: Folders in which a run's children are forked: their tests are not about the start of children.
FORKING = ("tests/pipeline/", "tests/hostile/", "tests/integrity/", "tests/on_demand/")


@pytest.fixture(scope="session", autouse=True)
def zygotes() -> Iterator[None]:
    """End the processes that children are forked from."""
    yield
    zygote.close()


@pytest.fixture(autouse=True)
def forked_children(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make children of runs start at once, in tests that are not about their start."""
    if request.node.nodeid.startswith(FORKING) and zygote.is_possible():
        monkeypatch.setattr(children, "start", zygote.start)


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """Restore the log level after each test: `--quiet` sets it for the whole process."""
    logger = logging.getLogger("pypimirror")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """An upstream, empty."""
    with Simulator() as running:
        yield running


@pytest.fixture(scope="session")
def object_storage() -> None:
    """Skip tests that need object storage if it is not installed, or fail in CI, which has it."""
    if (why := buckets.why_not()) is not None:
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


@pytest.fixture(scope="session")
def seaweed(object_storage: None) -> Iterator[buckets.Server]:
    """Object storage: SeaweedFS, over http and over TLS."""
    with buckets.seaweed() as server:
        yield server


@pytest.fixture(scope="session")
def moto(object_storage: None) -> Iterator[buckets.Server]:
    """Object storage: moto's server."""
    with buckets.moto() as server:
        yield server


@pytest.fixture(scope="session")
def s3rver(object_storage: None) -> Iterator[buckets.Server]:
    """Object storage that ignores conditions: s3rver."""
    with buckets.s3rver() as server:
        yield server


@pytest.fixture
def keys_of_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that the servers know, where the AWS SDK looks first."""
    for name, value in buckets.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def fetched(directory: Path) -> Path:
    """Return the directory; if it is missing, skip the test, or fail in CI, which sets it up."""
    if not fetch.is_fetched(directory):
        message = f"{directory.name} is not fetched: run python -m tests.corpus.fetch"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return directory


@pytest.fixture(scope="session")
def corpus_directory() -> Path:
    """Real wheels and sdists."""
    return fetched(fetch.CORPUS)


@pytest.fixture(scope="session")
def application_directory() -> Path:
    """Files of an application of real projects, more than 40 with all that they need."""
    return fetched(fetch.APPLICATION)


@pytest.fixture(scope="session")
def pip_wheels() -> dict[str, Path]:
    """Wheels of pip, by version; each runs as `python WHEEL/pip …`."""
    directory = fetched(fetch.PIPS)
    return {v: directory / f"pip-{v}-py3-none-any.whl" for v in fetch.PIP_VERSIONS}


@pytest.fixture(scope="session")
def server_environment() -> Path:
    """The environment with the foreign servers of `tests.corpus.servers`."""
    return fetched(fetch.SERVERS)


@pytest.fixture(scope="session")
def bandersnatch() -> Path:
    """The program; the test is skipped if no Python of this machine can run it."""
    program = fetched(fetch.BANDERSNATCH) / "bin" / "bandersnatch"
    if not program.is_file():
        pytest.skip("bandersnatch needs Python 3.12 or newer, and this machine has none")
    return program
