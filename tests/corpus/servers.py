"""Index servers that others wrote, run on loopback, loaded with files: foreign upstreams.

They come from the environment that `fetch` makes. Each is a context manager that gives the address
of a simple index.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.corpus.fetch import SERVERS
from tests.ports import free_port

HOST = "127.0.0.1"
PATIENCE = 60.0  #: seconds until a server has to answer


@contextmanager
def pypiserver(directory: Path, *options: str) -> Iterator[str]:
    """pypiserver on a directory of files: HTML, no serials, no sizes, links with sha256.

    Options are its own, such as `--hash-algo=md5` or `--hash-algo=off`.
    """
    port = free_port()
    command = ["python", "-m", "pypiserver", "run", "--disable-fallback", "--hash-algo=sha256"]
    command += ["-i", HOST, "-p", str(port), *options, str(directory)]
    with running(command, port):
        yield f"http://{HOST}:{port}/simple/"


@contextmanager
def devpi(directory: Path, state: Path) -> Iterator[str]:
    """devpi-server loaded with a directory of files: JSON of API 1.0 and HTML.

    It keeps its data in `state`, which has to be empty.
    """
    data, port = str(state / "server"), free_port()
    environment = {"DEVPI_CLIENTDIR": str(state / "client"), "HOME": str(state)}
    run(["devpi-init", "--serverdir", data, "--no-root-pypi"], environment)
    command = ["devpi-server", "--serverdir", data, "--offline-mode"]
    command += ["--host", HOST, "--port", str(port)]
    with running(command, port):
        run(["devpi", "use", f"http://{HOST}:{port}"], environment)
        run(["devpi", "login", "root", "--password="], environment)
        run(["devpi", "index", "-c", "root/real", "bases="], environment)
        run(["devpi", "use", "root/real"], environment)
        run(["devpi", "upload", "--no-vcs", "--from-dir", str(directory)], environment)
        yield f"http://{HOST}:{port}/root/real/+simple/"


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a program of the servers' environment; an error shows what it said."""
    done = subprocess.run(
        [SERVERS / "bin" / command[0], *command[1:]],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server of the servers' environment, from when it listens on its port."""
    program = [str(SERVERS / "bin" / command[0]), *command[1:]]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(program, stdin=silent, stdout=silent, stderr=silent)
    try:
        wait_listening(process, port)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until something listens on the port, or the process has ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as sock:
            sock.settimeout(1)
            if sock.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")
