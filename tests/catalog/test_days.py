"""The days hold what the runs of each did, however often and in whatever order it is written."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, update

from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import days, runs
from pypimirror.catalog.queries.days import KEPT, Ending
from pypimirror.catalog.queries.history import pruning
from pypimirror.system.clock import DAY
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status

NOTHING = Ending(None, None, {})


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    return Mirror(tmp_path, simulator)


def today() -> int:
    return int(time.time() // DAY)


def begin(connection: Connection, command: str = "sync") -> int:
    said = {"trigger": "test", "config": "", "arguments": [], "now": time.time()}
    return runs.start(connection, command=command, **said)[0]  # type: ignore[arg-type]


def test_a_day_says_what_the_rows_of_its_runs_say(mirror: Mirror, simulator: Simulator) -> None:
    simulator.fault(offer(simulator, "six", "1.0", "2.0")[1], Status(404))
    mirror.sync()
    simulator.heal()
    mirror.sync(retry="last")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    (row,) = mirror.query("SELECT * FROM days")
    found = mirror.query("SELECT * FROM runs")
    counts = [json.loads(run["counts"]) for run in found]
    assert row["runs"] == len(found) == 3
    assert row["undone"] == sum(run["state"] != "completed" for run in found) == 1
    assert row["downloaded"] == sum(each["bytes_downloaded"] for each in counts) > 0
    assert row["seconds"] == max(run["ended_at"] - run["started_at"] for run in found)
    assert json.loads(row["failures"]) == {"missing": 1}
    held = mirror.query("SELECT size FROM files WHERE state = 3")
    assert (row["projects"], row["files"]) == (2, len(held))
    assert row["bytes"] == sum(file["size"] for file in held)
    assert row["backlog"] == 0
    assert row["free"] > 0
    assert row["oldest"] is None  # until the last run, no sync of everything was complete
    mirror.sync()
    (row,) = mirror.query("SELECT * FROM days")
    assert 0 < row["oldest"] < 3600


def test_the_backlog_of_a_day_is_what_the_last_run_left(
    mirror: Mirror, simulator: Simulator
) -> None:
    for file in offer(simulator, "six", "1.0", "2.0", "3.0")[1:]:
        simulator.fault(file, Status(500))
    mirror.sync()
    left = Counter(row["state"] for row in mirror.query("SELECT state FROM files"))
    (row,) = mirror.query("SELECT * FROM days")
    assert row["backlog"] == sum(left.values()) - left[3] == 2
    mirror.sync()
    assert not mirror.query("SELECT 1 FROM projects WHERE has_work")
    (row,) = mirror.query("SELECT * FROM days")
    assert row["backlog"] == 2, "they wait for another try"


def test_a_day_keeps_what_its_runs_did_after_they_left_the_history(catalog: Catalog) -> None:
    with catalog.write() as connection:
        first = begin(connection)
        runs.end(connection, first, runs.FAILED, "", {"bytes_downloaded": 70})
        days.note(connection, Ending(1, 9.0, {"timeout": 3, "disk": 1}))
        pruning.forget_some(connection, first, 10)
        second = begin(connection)
        runs.end(connection, second, runs.COMPLETED, "", {"bytes_downloaded": 5})
        days.note(connection, Ending(2, 4.0, {"timeout": 1, "missing": 2}))
        (row,) = days.last(connection, 1, time.time())
    assert (row.runs, row.undone, row.downloaded, row.oldest, row.free) == (1, 1, 70, 9.0, 2)
    assert json.loads(row.failures) == {"timeout": 3, "disk": 1, "missing": 2}


def test_a_long_verification_does_not_count_as_a_slow_sync(catalog: Catalog) -> None:
    with catalog.write() as connection:
        number = begin(connection, "verify")
        runs.end(connection, number, runs.COMPLETED, "", {})
        long_ago = time.time() - 1000
        connection.execute(update(schema.runs).values(started_at=long_ago))
        days.note(connection, NOTHING)
        (row,) = days.last(connection, 1, time.time())
    assert (row.runs, row.seconds) == (1, 0.0)


@pytest.mark.parametrize("ahead", [0, 4000], ids=["right", "once ahead"])
def test_two_years_are_kept_also_after_a_clock_was_ahead(catalog: Catalog, ahead: int) -> None:
    with catalog.write() as connection:
        days.note(connection, NOTHING)
        (row,) = (dict(row._mapping) for row in connection.execute(select(schema.days)))
        past = [row | {"day": today() - n} for n in range(1, KEPT + 9)]
        future = [row | {"day": today() + ahead}] if ahead else []
        connection.execute(insert(schema.days), past + future)
        days.note(connection, NOTHING)
        count = select(func.count()).select_from(schema.days)
        assert connection.alchemy.scalar(count) == KEPT
        assert [each.day for each in days.last(connection, 3, time.time())] == [
            *range(today() - 2, today() + 1)
        ]
        assert len(days.last(connection, KEPT, time.time())) == KEPT - bool(ahead)
