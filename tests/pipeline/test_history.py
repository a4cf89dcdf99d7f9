"""What runs leave in the history, and how long."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Stage
from pypimirror.pipeline import history, sequence
from pypimirror.pipeline.run import Run
from pypimirror.system.workers import Cancelled
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import Corrupt, Simulator, Status

DAY = 86_400


def kept(mirror: Mirror) -> list[int]:
    """The ids of the runs that the history has; nothing of others is left."""
    ids = [row["id"] for row in mirror.query("SELECT id FROM runs ORDER BY id")]
    for table in ("stages", "failures"):
        owners = {row["run_id"] for row in mirror.query(f"SELECT run_id FROM {table}")}
        assert owners <= set(ids)
    return ids


def age(mirror: Mirror, **days: int) -> None:
    """Set when runs began: so many days ago, by id as in `_3`."""
    for name, number in days.items():
        when = "(SELECT max(started_at) FROM runs) - ?"
        statement = f"UPDATE runs SET started_at = {when} WHERE id = ?"
        mirror.query(statement, number * DAY, int(name[1:]))


@pytest.fixture
def five(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror with five runs, all of which completed."""
    offer(simulator, "six", "1.0")
    for _ in range(5):
        mirror.sync()
    return mirror


def test_no_more_runs_are_kept_than_the_configuration_says(five: Mirror) -> None:
    five.configure(history={"keep_runs": 3})
    five.sync()
    assert kept(five) == [4, 5, 6]


def test_runs_are_kept_no_longer_than_the_configuration_says(five: Mirror) -> None:
    five.configure(history={"keep_for": "7d"})
    age(five, _1=30, _2=8, _3=6, _4=8)
    five.sync()
    assert kept(five) == [3, 5, 6]


def test_the_last_that_completed_is_kept_however_old(five: Mirror) -> None:
    five.configure(history={"keep_runs": 1, "keep_for": "1d"})
    five.query("UPDATE runs SET state = 'failed' WHERE id > 2")
    five.query("UPDATE runs SET command = 'verify' WHERE id = 1")
    age(five, _1=90, _2=60, _3=50)
    simulator = five.simulators[0]
    simulator.refuse()
    assert five.sync().state == "failed"
    assert kept(five) == [1, 2, 3, 4, 5, 6]  # a run that could not work leaves that alone, too
    five.query("UPDATE runs SET command = 'verify' WHERE id = 5")

    def nothing(run: Run) -> None:
        history.prune(run)
        raise KeyboardInterrupt

    five.sync(work=nothing)
    assert kept(five) == [1, 2, 7]


def test_a_long_history_goes_a_bit_at_a_time(five: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    five.configure(history={"keep_runs": 1})
    monkeypatch.setattr(history, "_RUNS", 2)
    five.sync()
    assert kept(five) == [3, 4, 5, 6]
    monkeypatch.setattr(history, "_CHUNK", 1)
    monkeypatch.setattr(history, "_ROWS", 5)
    for name in "abcd":
        five.query(
            "INSERT INTO failures (run_id, stage, project, file, reason, message, url, attempts) "
            "VALUES (3, 'download', 'six', ?, 'missing', '', '', 1)",
            name,
        )
    five.sync()
    assert kept(five) == [3, 4, 5, 6, 7]  # its failures went, and it is next
    assert five.query("SELECT count(*) FROM failures")[0][0] == 0
    monkeypatch.undo()
    five.sync()
    assert kept(five) == [8]


@pytest.mark.parametrize(
    ("error", "state"),
    [(Cancelled("x"), "cancelled"), (KeyboardInterrupt(), "cancelled"), (OSError("x"), "failed")],
)
def test_a_stage_ends_in_the_state_of_what_ended_it(
    mirror: Mirror, simulator: Simulator, error: BaseException, state: str
) -> None:
    def work(run: Run) -> None:
        with history.stage(run, Stage.VERIFY, 7):
            run.ledger.count(files_verified=2)
            raise error

    assert mirror.sync(work=work).state == state
    (row,) = mirror.query("SELECT * FROM stages")
    assert (row["stage"], row["batch"], row["state"]) == ("verify", 7, state)
    assert row["counts"] == '{"files_verified": 2}'


def test_pruning_that_fails_is_told_and_fails_no_run(
    five: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def broken(*_: object) -> None:
        raise OperationalError("DELETE", {}, Exception("locked"))

    monkeypatch.setattr("pypimirror.catalog.queries.history.pruning.outlived", broken)
    assert five.sync(work=sequence.sync).state == "completed"


def stages_of(mirror: Mirror) -> dict[tuple[str, int], str]:
    return {(r["stage"], r["batch"]): r["state"] for r in mirror.query("SELECT * FROM stages")}


def test_a_stage_of_which_every_file_failed_has_failed(
    mirror: Mirror, simulator: Simulator
) -> None:
    simulator.add_file("six", *make_wheel("six", "1.0"))
    simulator.add_file("six", *make_wheel("six", "2.0"))
    simulator.fault("*.whl", Corrupt())
    assert mirror.sync().state == "incomplete"
    states = stages_of(mirror)
    assert states.pop(("download", 1)) == "failed"
    assert set(states.values()) == {"completed"}


def test_a_stage_of_which_some_files_failed_has_not(mirror: Mirror, simulator: Simulator) -> None:
    simulator.add_file("six", *make_wheel("six", "1.0"))
    simulator.add_file("six", *make_wheel("six", "2.0"))
    simulator.fault("*-2.0-*.whl", Corrupt())
    assert mirror.sync().state == "incomplete"
    assert set(stages_of(mirror).values()) == {"completed"}


def test_a_discovery_that_no_upstream_answers_has_failed(
    mirror: Mirror, simulator: Simulator
) -> None:
    simulator.refuse()
    assert mirror.sync().state == "failed"
    assert stages_of(mirror)[("discover", 0)] == "failed"


def test_a_discovery_of_which_no_page_could_be_read_has_failed(
    mirror: Mirror, simulator: Simulator
) -> None:
    simulator.add_file("six", *make_wheel("six", "1.0"))
    simulator.fault("/simple/six/", Status(500))
    assert mirror.sync().state == "incomplete"
    assert stages_of(mirror)[("discover", 1)] == "failed"
