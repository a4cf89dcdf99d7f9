"""`make demo`: the whole tour on this machine, with only pip's own index.

python -m tests.demo [DIRECTORY]

pip downloads a dozen real packages; a loopback upstream offers them; pypimirror mirrors it and
serves the mirror; pip installs from the mirror into a fresh environment. Everything that is made
stays in `./demo`. It ends with 1 at the first step that fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from tests.corpus.fetch import CORPUS
from tests.environment import isolated

PATIENCE = 60.0  #: seconds in which a server must print its address

WHEELS = ("click", "python-dateutil", "zope.event", "six>=1.16")
SDISTS = ("idna", "toml")

CHECK = """\
import click, dateutil, idna, six, toml, zope.event
from importlib.metadata import distributions
for d in sorted(distributions(), key=lambda d: d.name.lower()):
    print(f"{d.name} {d.version}")
"""


class StepFailed(Exception):
    """A step of the tour did not work; the message is for the reader."""


class Tour:
    """Runs the steps, shows each, and notes how long it took."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "pypimirror.toml"
        self.times: list[tuple[str, float]] = []
        self.environment = isolated(PREFECT_HOME=str(directory / "prefect"))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step: its title before it, its time after it."""
        print(f"\n{len(self.times) + 1}. {title}", flush=True)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.times.append((title, seconds))
        print(f"   done in {seconds:.1f} s", flush=True)

    def run(self, *command: str | Path, clean: bool = True) -> None:
        """Run a command to its end, its output indented."""
        self.say(command)
        process = subprocess.Popen(
            [str(part) for part in command],
            env=self.environment if clean else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            for line in process.stdout or ():
                print(f"     {line}", end="", flush=True)
        if process.returncode:
            raise StepFailed(f"{self.shown(command)} ended with {process.returncode}")

    def start(self, stack: ExitStack, name: str, *command: str | Path) -> str:
        """Start a server and return the address that it prints; the stack ends it."""
        self.say(command)
        log = self.directory / f"{name}.log"
        process = subprocess.Popen(
            [str(part) for part in command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("w")),
            text=True,
        )
        stack.callback(stop, process)
        assert process.stdout is not None
        url = address(process, process.stdout)
        if url is None:
            said = log.read_text().strip()
            raise StepFailed(f"{self.shown(command)} did not say where it listens\n{said}")
        print(f"     listening at {url}", flush=True)
        return url

    def say(self, command: tuple[str | Path, ...]) -> None:
        """Show a command before it runs."""
        print(f"   $ {self.shown(command)}", flush=True)

    @staticmethod
    def shown(command: tuple[str | Path, ...]) -> str:
        """Return a command as a person would type it here."""
        here = f"{Path.cwd()}{os.sep}"
        parts = [str(part).replace(here, "") for part in command]
        return shlex.join("…" if "\n" in part else part for part in parts)


def address(process: subprocess.Popen[str], stdout: IO[str]) -> str | None:
    """Return the first address that a server prints; None if it ends, or waits, without one."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        for line in stdout:
            if match := re.search(r"https?://\S+", line):
                return match[0]
        return None
    finally:
        timer.cancel()


def stop(process: subprocess.Popen[str]) -> None:
    """End a server."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def tour(tour: Tour, stack: ExitStack) -> None:
    """All steps in order."""
    python = Path(sys.executable)
    mirror, config = python.with_name("pypimirror"), ("--config", tour.config)
    with tour.step("Real packages, downloaded by pip once"):
        tour.run(python, "-m", "tests.corpus.fetch", "corpus", clean=False)
    with tour.step("A loopback upstream that offers them"):
        command = ("-m", "tests.simulator", "--directory", CORPUS)
        upstream = tour.start(stack, "upstream", python, *command)
    with tour.step("A configuration to begin with"):
        tour.run(mirror, "init", "--all", "--upstream", upstream, *config)
    with tour.step("Mirror it"):
        tour.run(mirror, "sync", *config)
    with tour.step("Mirror it again: nothing has changed"):
        tour.run(mirror, "sync", *config)
    with tour.step("Ask the mirror what it holds"):
        tour.run(mirror, "status", *config)
        tour.run(mirror, "runs", *config)
    with tour.step("Serve it"):
        served = tour.start(stack, "serve", mirror, "serve", *config, "--port", "0")
    index = served if served.endswith("/simple/") else f"{served.rstrip('/')}/simple/"
    with tour.step("Install wheels from the mirror, and nowhere else, into a fresh environment"):
        tour.run(python, "-m", "venv", tour.directory / "venv")
        pip = (tour.directory / "venv/bin/pip", "install", "--quiet", "--index-url", index)
        tour.run(*pip, *WHEELS)
    with tour.step("Build and install sdists, with build tools from the mirror"):
        tour.run(*pip, "--no-binary", ",".join(SDISTS), *SDISTS)
    with tour.step("Import what was installed"):
        tour.run(tour.directory / "venv/bin/python", "-c", CHECK)


def main() -> int:
    """Run the tour; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "demo").resolve()
    if (
        directory.exists()
        and not (directory / "pypimirror.toml").exists()
        and any(directory.iterdir())
    ):
        print(f"demo: {directory} has other things in it", file=sys.stderr)
        return 2
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    this = Tour(directory)
    try:
        with ExitStack() as stack:
            tour(this, stack)
    except StepFailed as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\nThe demo worked, every step:")
    for title, seconds in this.times:
        print(f"  {seconds:5.1f} s  {title}")
    print(f"The mirror is in {this.shown((directory / 'mirror',))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
