"""A PostgreSQL server for the benchmark, where the machine has the programs for one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.upstream import free_port


def why_not() -> str | None:
    """Return why there is no server to be had, None where there is one."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed"
    if _program("initdb") is None or _program("pg_ctl") is None:
        return "PostgreSQL's initdb and pg_ctl are not here"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user 'postgres'"
    return None


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """Run a server with its data below `directory`; give an SQLAlchemy URL of a database."""
    directory.mkdir()
    user = _user() if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(directory, user)
    data, port = directory / "data", free_port()
    initdb, control = _program("initdb"), _program("pg_ctl")
    assert initdb and control
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory}"
    settings += " -c shared_buffers=512MB -c max_wal_size=4GB"
    log = str(directory / "log")
    _run([initdb, "-D", str(data), "-A", "trust", "-U", "bench", "-E", "UTF8", "-N"], user)
    _run([control, "-D", str(data), "-w", "-l", log, "-o", settings, "start"], user)
    try:
        yield f"postgresql+psycopg://bench@127.0.0.1:{port}/postgres"
    finally:
        _run([control, "-D", str(data), "-m", "immediate", "stop"], user)


def _run(command: list[str], user: str | None) -> None:
    # Its output goes nowhere: the server would keep a pipe open for ever.
    silent = subprocess.DEVNULL
    subprocess.run(
        command, user=user, cwd="/", stdin=silent, stdout=silent, check=True, timeout=120
    )


def _user() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


def _program(name: str) -> str | None:
    found = shutil.which(name)
    if found is None:
        installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(installed[-1]) if installed else None
    return found
