"""A sync that finds nothing to do is told so without what could do something, and never wrongly."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pypimirror.catalog.queries import idle_snapshot
from pypimirror.cli import idle
from pypimirror.config.sections import MirrorSection
from pypimirror.pipeline.lifecycle import open_mirror
from pypimirror.storage import lock
from pypimirror.system import clock, interrupts
from tests.cli.conftest import Command
from tests.environment import isolated
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator

SYNC = ("sync", "--inline", "--json")


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "install", lambda: None)
    monkeypatch.setattr(interrupts, "ignore", lambda: None)


@pytest.fixture
def resting_mirror(run: Command, mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror of which the last run found nothing to do."""
    offer(simulator, "six", "1.0")
    assert [run(*SYNC).code, run(*SYNC).code] == [0, 0]
    simulator.forget()
    return mirror


def statement(mirror: Mirror) -> idle_snapshot.IdleSnapshot | None:
    """What the last run has said of the next one."""
    with idle_snapshot.find(str(mirror.root / ".pypimirror" / "catalog.sqlite")) as found:
        return found.rest() if found is not None else None


def history(mirror: Mirror) -> list[dict[str, Any]]:
    """Every run with its stages, but for what is different each time."""
    found = []
    for run in mirror.query("SELECT * FROM runs ORDER BY id"):
        assert run["started_at"] <= run["ended_at"]
        assert run["pid"] == os.getpid()
        stages = mirror.query("SELECT * FROM stages WHERE run_id = ? ORDER BY id", run["id"])
        of_time = {"id", "name", "run_id", "started_at", "ended_at"}
        bare = [{k: row[k] for k in row.keys() if k not in of_time} for row in (run, *stages)]  # noqa: SIM118
        found.append({"run": bare[0], "stages": bare[1:]})
    return found


def test_a_run_that_finds_nothing_to_do_is_recorded_as_any_other(
    resting_mirror: Mirror, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert idle.attempt(SYNC) == 0
    *_, whole, short = history(resting_mirror)
    assert short == whole
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "completed"
    assert told["counts"]["projects_seen"] == 1
    assert told["run"] == resting_mirror.query("SELECT name FROM runs ORDER BY id")[-1]["name"]
    assert [request.status for request in simulator.requests] == [304]


def test_what_it_prints_is_what_a_whole_run_prints(
    resting_mirror: Mirror, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ((), ("--json",), ("-q",)):
        capsys.readouterr()
        assert idle.attempt(("sync", "--inline", *options)) == 0
        short, whole = capsys.readouterr().out, run("sync", "--inline", *options).out
        assert ("1 file of 1 project" in short) is (not options)
        assert len(short.splitlines()) == len(whole.splitlines())
        assert short.splitlines()[2:4] == whole.splitlines()[2:4]


def test_it_is_said_again_by_each_run_that_finds_nothing(
    resting_mirror: Mirror, simulator: Simulator
) -> None:
    for _ in range(3):
        assert idle.attempt(("sync", "-q", "--inline")) == 0
    assert len(history(resting_mirror)) == 5
    assert resting_mirror.query("SELECT * FROM leases") == []
    assert len(simulator.requests) == 3


def test_the_day_counts_it_and_a_new_day_is_left_to_a_whole_run(resting_mirror: Mirror) -> None:
    day = "SELECT runs FROM days"
    assert [row["runs"] for row in resting_mirror.query(day)] == [2]
    assert idle.attempt(SYNC) == 0
    assert [row["runs"] for row in resting_mirror.query(day)] == [3]
    said = statement(resting_mirror)
    assert said is not None
    assert said.until <= (said.since // clock.DAY + 1) * clock.DAY


def test_a_change_upstream_is_left_to_a_whole_run(
    resting_mirror: Mirror, run: Command, simulator: Simulator
) -> None:
    offer(simulator, "six", "2.0")
    assert idle.attempt(SYNC) is None
    assert len(history(resting_mirror)) == 2
    assert run(*SYNC).json["counts"]["files_verified"] == 1
    assert statement(resting_mirror) is None  # it had something to do
    resting_mirror.check()


def disturb(mirror: Mirror, query: str) -> None:
    with closing(sqlite3.connect(mirror.root / ".pypimirror" / "catalog.sqlite")) as connection:
        connection.execute(query)
        connection.commit()


def work(mirror: Mirror) -> None:
    """Take the lease; what is done with it does not matter."""
    with open_mirror(mirror.config):
        pass


DISTURBANCES: dict[str, Callable[[Mirror], object]] = {
    "another configuration": lambda m: m.configure(publish={"formats": ["json"]}),
    "no configuration": lambda m: m.file.unlink(),
    "no TOML": lambda m: m.file.write_text("["),
    "a section that is none": lambda m: m.file.write_text("mirror = 3"),
    "a directory that is none": lambda m: m.file.write_text("[mirror]\ndirectory = 3"),
    "another catalog": lambda m: m.configure(mirror={"catalog": "sqlite:///x.sqlite"}),
    "bytes in staging": lambda m: (m.root / ".pypimirror/staging/1.part").touch(),
    "bytes in quarantine": lambda m: (m.root / ".pypimirror/quarantine/1").touch(),
    "a page half-written": lambda m: (m.root / ".pypimirror/staging/page.1").touch(),
    "no directory of pages": lambda m: (m.root / "simple").rename(m.base / "moved"),
    "no catalog": lambda m: (m.root / ".pypimirror/catalog.sqlite").unlink(),
    "a damaged catalog": lambda m: (m.root / ".pypimirror/catalog.sqlite").write_text("no"),
    "a lease": lambda m: disturb(m, "INSERT INTO leases VALUES ('run', '{}', 0)"),
    "somebody has worked": work,
    "no such run any more": lambda m: disturb(m, "DELETE FROM runs WHERE id = 2"),
    "a run of a flow": lambda m: disturb(m, "UPDATE runs SET \"trigger\" = 'schedule'"),
    "nothing said": lambda m: disturb(m, "DELETE FROM marks WHERE name = 'at rest'"),
    "nonsense said": lambda m: disturb(m, "UPDATE marks SET value = '[1]' WHERE name = 'at rest'"),
    "tables of another program": lambda m: disturb(m, "DROP TABLE marks"),
}


@pytest.mark.parametrize(
    "disturbance", sample(DISTURBANCES, "a lease", "somebody has worked", "nothing said")
)
def test_whatever_is_not_at_rest_is_left_as_it_is(
    resting_mirror: Mirror, disturbance: str, simulator: Simulator
) -> None:
    DISTURBANCES[disturbance](resting_mirror)
    before = resting_mirror.served()
    assert idle.attempt(SYNC) is None
    assert resting_mirror.served() == before
    assert simulator.requests == []


OTHERS: list[tuple[str, ...]] = [
    (),
    ("--help",),
    ("status",),
    ("verify", "--repair"),
    ("sync", "six"),
    ("sync", "--dry-run"),
    ("sync", "--prefect"),
    ("sync", "-v"),
    ("sync", "--changes", "x"),
    ("sync", "--config"),
    ("sync", "--config", "other.toml"),
    ("sync", "--json", "--inline", "--unknown"),
]


def test_every_other_command_is_left_to_the_command_line(
    resting_mirror: Mirror, simulator: Simulator
) -> None:
    assert [idle.attempt(arguments) for arguments in OTHERS] == [None] * len(OTHERS)
    assert simulator.requests == []
    assert len(history(resting_mirror)) == 2


def test_a_configuration_may_be_named(
    resting_mirror: Mirror, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    named = ("--config", str(resting_mirror.file))
    assert idle.attempt(("sync", "--inline", "-q", *named)) == 0
    assert idle.attempt(("sync", "--inline", "-q", f"--config={resting_mirror.file}")) == 0


def test_the_environment_belongs_to_the_configuration(
    resting_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("pypimirror_delete__grace", "1h")
    assert idle.attempt(SYNC) is None


def test_a_prefect_api_is_for_flows(
    resting_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert idle.attempt(("sync", "-q")) is None
    assert idle.attempt(("sync", "-q", "--inline")) == 0


def test_nothing_is_done_beside_another_run(resting_mirror: Mirror, simulator: Simulator) -> None:
    with lock.hold(resting_mirror.root / ".pypimirror" / "lock"):
        assert idle.attempt(SYNC) is None
    assert simulator.requests == []
    assert idle.attempt(SYNC) == 0


def test_a_lease_that_is_taken_meanwhile_wins(
    resting_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_a_lease(*_: object) -> bool:
        disturb(resting_mirror, "INSERT INTO leases VALUES ('run', '{}', 0)")
        return True

    monkeypatch.setattr(idle, "is_unchanged", and_a_lease)
    assert idle.attempt(SYNC) is None
    assert len(history(resting_mirror)) == 2


def test_time_makes_things_due(
    resting_mirror: Mirror, monkeypatch: pytest.MonkeyPatch, simulator: Simulator
) -> None:
    found = statement(resting_mirror)
    assert found is not None
    for now in (found.until, found.until + 1e6, found.since - 1):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert idle.attempt(SYNC) is None
    assert simulator.requests == []
    monkeypatch.setattr("time.time", lambda: found.until - 1)
    assert idle.attempt(SYNC) == 0


def test_old_runs_are_forgotten_all_the_same(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.configure(history={"keep_runs": 5})
    for _ in range(12):
        if idle.attempt(SYNC) is None:
            assert run(*SYNC).code == 0
        assert len(history(mirror)) <= 5


def test_the_defaults_are_those_of_the_configuration() -> None:
    section = MirrorSection()
    assert (str(section.directory), section.catalog) == (idle.DIRECTORY, idle.CATALOG)


LIGHT = {"pydantic", "sqlalchemy", "typer", "click", "msgspec", "rich", "packaging", "pathlib"}


def test_a_run_that_finds_nothing_to_do_imports_next_to_nothing(resting_mirror: Mirror) -> None:
    script = (
        "import sys; sys.argv[1:] = ['sync', '--inline', '--json']\n"
        "from pypimirror import __main__\n"
        "try: __main__.main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=resting_mirror.base,
        env=isolated(PYTHONPATH=str(Path(__file__).parents[2])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stderr.split()) & LIGHT
    assert len(resting_mirror.query("SELECT name FROM runs")) == 3
