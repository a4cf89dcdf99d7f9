"""Which commands do without SQLAlchemy: its import takes longer than most of them.

The commands and their children are real processes. Each notes it when it imports SQLAlchemy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import databases
from tests.cli.test_child_workers import SCRIPT, workers
from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Simulator

pytestmark = pytest.mark.skipif(
    databases.current is not None, reason="the driver of another database takes as long to import"
)

PROGRAM = ["-m", "pypimirror"]

#: A process reads this at its start.
NOTING = """
import sys
def note(event, told):
    if event == "import" and told[0] == "sqlalchemy":
        with open({file!r}, "a") as notes:
            notes.write(" ".join(sys.orig_argv) + "\\n")
sys.addaudithook(note)
"""


class Watched:
    """A mirror, and the processes that import SQLAlchemy."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.notes = mirror.base / "notes"
        hook = mirror.base / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(NOTING.format(file=str(self.notes)))
        self._path = os.pathsep.join((str(hook), str(Path(__file__).parents[2])))

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start Python with these arguments."""
        return subprocess.Popen(
            [sys.executable, "-P", *command],
            cwd=self.mirror.base,
            env={**os.environ, "PYTHONPATH": self._path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, program: Sequence[str] = PROGRAM) -> None:
        """Run a command to its end."""
        with self.start([*program, *arguments]) as process:
            said = "".join(process.communicate(timeout=120))
        assert process.returncode == code, said

    @property
    def importing(self) -> list[str]:
        """The command lines of the processes that imported SQLAlchemy."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def watched(mirror: Mirror) -> Watched:
    """A mirror with nothing in it."""
    mirror.select()
    return Watched(mirror)


SYNC = ["sync", "--inline", "-q"]


def test_what_imports_sqlalchemy_is_noticed(watched: Watched) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sqlalchemy'])"
    watched.start(["-c", program]).communicate(timeout=60)
    assert len(watched.importing) == 1


def test_no_sync_imports_sqlalchemy_whatever_has_changed(
    watched: Watched, simulator: Simulator
) -> None:
    mirror = watched.mirror
    mirror.configure(delete={"grace": "0s", "max_share": 1.0})
    for name in ("attrs", "idna", "six", "wheel"):
        offer(simulator, name, "1.0", "1.1")
    offer_sdist(simulator, "six", "1.0")

    def sync(code: int = 0) -> None:
        watched.run(*SYNC, code=code)

    sync()
    sync()
    assert len(mirror.files("six")) == 3
    (bad,) = offer(simulator, "six", "2.0")
    good, bad.content = bytes(bad.content), bytes(len(bad.content))
    sync(code=1)
    bad.content = good
    watched.run("retry", "-q")
    assert mirror.holds(bad)
    file = simulator.project("idna").files[0]
    file.remove()
    simulator.delete_project("wheel")
    sync()
    sync()
    assert not mirror.has_page("wheel")
    assert not mirror.path(file).exists()
    assert watched.importing == []


def test_no_child_that_takes_batches_imports_sqlalchemy(
    watched: Watched, simulator: Simulator
) -> None:
    for name in ("attrs", "idna", "six", "wheel"):
        offer(simulator, name, "1.0", "1.1")
    watched.run(*SYNC, program=["-c", SCRIPT])
    assert "completed" in workers(watched.mirror)
    assert watched.importing == []


def _with_requirements(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select("six", dependencies="all")


def _with_links(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select(metadata_only=["*"])


def _by_name(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select("six", "a*")


@pytest.mark.parametrize("configure", [_with_requirements, _with_links, _by_name])
def test_no_way_to_select_imports_sqlalchemy(
    watched: Watched, simulator: Simulator, configure: Callable[[Mirror, Simulator], None]
) -> None:
    configure(watched.mirror, simulator)
    offer(simulator, "attrs", "1.0")
    offer(simulator, "six", "1.0")
    watched.run(*SYNC)
    offer(simulator, "six", "2.0")
    watched.run(*SYNC)
    assert len(watched.mirror.files("six")) == 2
    assert watched.importing == []


@pytest.fixture
def filled(watched: Watched, simulator: Simulator) -> Watched:
    """A mirror with one project, and with a file in quarantine."""
    (_, bad) = offer(simulator, "six", "1.0", "2.0")
    bad.content = bytes(len(bad.content))
    watched.run(*SYNC, code=1)
    return watched


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync", "--dry-run"],
        ["status"],
        ["status", "six"],
        ["explain", "six"],
        ["runs"],
        ["runs", "show", "last"],
        ["metrics"],
        ["doctor"],
        ["quarantine"],
        ["quarantine", "explain", "six-2.0-py3-none-any.whl"],
        ["quarantine", "release", "six-2.0-py3-none-any.whl"],
        ["check", "six"],
        ["check", "--lock", "requirements.txt"],
        ["verify", "--quick"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_no_common_command_imports_sqlalchemy(filled: Watched, arguments: list[str]) -> None:
    (filled.mirror.base / "requirements.txt").write_text("six==1.0\n")
    filled.run(*arguments)
    assert filled.importing == []


def test_no_repair_imports_sqlalchemy(filled: Watched) -> None:
    next(filled.mirror.root.glob("packages/six/*.whl")).write_bytes(b"damaged")
    filled.run("verify", code=1)
    filled.run("verify", "--repair", code=1)  # the file in quarantine is still bad
    filled.mirror.lose_catalog()
    filled.run("adopt")
    assert filled.mirror.files("six") == ["six-1.0-py3-none-any.whl"]
    assert filled.importing == []


@contextmanager
def serving(watched: Watched) -> Iterator[Callable[[str], int]]:
    """A function that asks `pypimirror serve` for a path, and returns the status of the answer."""
    with watched.start([*PROGRAM, "serve", "--port", "0"]) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            yield lambda path: httpx.get(f"{url}{path}", timeout=60).status_code
        finally:
            process.terminate()
            process.communicate(timeout=60)


PAGES = ["simple/six/", "", "project/six/", "search?q=si", "status", "status.json", "metrics"]


def test_no_page_for_people_imports_sqlalchemy(filled: Watched) -> None:
    with serving(filled) as get:
        assert [get(path) for path in PAGES] == [200] * len(PAGES)
    assert filled.importing == []


def test_what_clients_ask_for_is_fetched_without_sqlalchemy(
    watched: Watched, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    watched.mirror.configure(on_demand={"projects": ["*"]})
    watched.run(*SYNC)
    with serving(watched) as get:
        assert [get("simple/six/"), get(f"packages/six/{file.filename}")] == [200, 200]
    watched.run(*SYNC)
    assert watched.mirror.files("six") == [file.filename]
    assert watched.importing == []
