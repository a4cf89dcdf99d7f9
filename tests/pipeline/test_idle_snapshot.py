"""What a sync says that found nothing to do: when it says so, and until when."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from pypimirror.catalog.marks import AT_REST
from pypimirror.catalog.queries import idle_snapshot
from pypimirror.pipeline import history
from pypimirror.pipeline.discover.lists import trust
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status

DAY = 86400.0


def statement(mirror: Mirror) -> dict[str, Any] | None:
    """What the last run has said of the next one."""
    rows = mirror.query("SELECT value FROM marks WHERE name = ?", AT_REST.name)
    return (
        dict(zip(idle_snapshot.IdleSnapshot._fields, json.loads(rows[0]["value"]), strict=True))
        if rows
        else None
    )


def lasting(mirror: Mirror) -> float:
    """For how many seconds the next run has nothing to do."""
    found = statement(mirror)
    assert found is not None
    return float(found["until"] - found["since"])


@pytest.fixture
def quiet(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror of everything, up to date, with nothing but a year to wait for."""
    offer(simulator, "six", "1.0", "2.0")
    mirror.upstreams[0]["recheck"] = "0s"
    mirror.configure(history={"keep_for": "365d"})
    mirror.select()
    mirror.sync()
    return mirror


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are believed for longer than all else here lasts, and a day does not end."""
    monkeypatch.setattr(trust, "LIST_TRUST", 1e9)
    monkeypatch.setattr(history, "next_day", lambda run: run.now + 1e9)


def test_a_new_day_gets_its_row(quiet: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    quiet.sync()
    found = statement(quiet)
    assert found is not None
    assert found["until"] == (found["since"] // DAY + 1) * DAY


def test_a_list_is_read_whole_after_a_while(quiet: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "LIST_TRUST", 2 * DAY)
    quiet.sync()
    assert DAY - 100 < lasting(quiet) <= 2 * DAY


def test_only_a_run_that_found_nothing_says_so(quiet: Mirror, simulator: Simulator) -> None:
    assert statement(quiet) is None
    quiet.sync()
    assert lasting(quiet) == pytest.approx(1.02 * 365 * DAY, abs=100)
    offer(simulator, "six", "3.0")
    quiet.sync()
    assert statement(quiet) is None
    quiet.sync()
    assert statement(quiet) is not None
    quiet.sync("six")
    assert statement(quiet) is None


def test_files_that_wait_are_not_forgotten(quiet: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "3.0")
    simulator.fault(file, Status(404))
    assert quiet.sync().state == "incomplete"
    assert quiet.sync().state == "incomplete"
    assert statement(quiet) is None


def test_the_end_of_a_grace_period_is_due(quiet: Mirror, simulator: Simulator) -> None:
    quiet.configure(delete={"grace": "2d"})
    simulator.project("six").remove_release("1.0")
    assert quiet.sync().counts["files_withdrawn"] == 1
    quiet.sync()
    assert lasting(quiet) == pytest.approx(2 * DAY, abs=100)


def test_a_file_that_becomes_old_enough_is_due(quiet: Mirror, simulator: Simulator) -> None:
    now = time.time()
    (file,) = offer(simulator, "young", "1.0")
    file.set(upload_time=datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"))
    quiet.select(older_than="3d")
    quiet.sync()
    quiet.sync()
    assert lasting(quiet) == pytest.approx(3 * DAY, abs=100)


def test_a_share_of_the_rolling_re_check_is_due(quiet: Mirror) -> None:
    quiet.upstreams[0]["recheck"] = "10d"
    quiet.configure()
    quiet.sync()
    quiet.sync()
    assert lasting(quiet) == pytest.approx(10 * DAY, abs=100)  # one project: it is the share


@pytest.mark.parametrize(
    "sections",
    [
        {"select": {"projects": ["six"]}},
        {"select": {"projects": ["@names.txt", "s*"]}},
        {"select": {"exclude": ["-r names.txt"]}},
        {"publish": {"changes": "changes.txt"}},
        {"metrics": {"textfile": "pypimirror.prom"}},
        {"history": {"keep_runs": 1}},
    ],
)
def test_nothing_is_said_where_more_than_that_is_to_be_looked_at(
    quiet: Mirror, sections: dict[str, Any]
) -> None:
    (quiet.base / "names.txt").write_text("attrs\n")
    quiet.configure(**sections)
    quiet.sync()
    quiet.sync()
    found = statement(quiet)
    assert found is None or found["last_run"] <= found["run"]


def test_nothing_is_said_of_an_upstream_that_wants_a_login(
    quiet: Mirror, simulator: Simulator
) -> None:
    quiet.upstreams[0]["url"] = simulator.url.replace("//", "//me:secret@")
    quiet.configure()
    quiet.sync()
    quiet.sync()
    assert "secret" not in str(quiet.query("SELECT * FROM marks"))
    assert statement(quiet) is None
