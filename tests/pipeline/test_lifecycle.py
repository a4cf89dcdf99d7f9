"""The end of a run: whatever happens, its record is closed, and the summary says what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pypimirror.pipeline import history, sequence
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


def lose(run: Run) -> None:
    assert run.lease is not None
    run.lease._lose("another run has taken the mirror over")


def losing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, before which the lease is lost the first time."""
    is_lost = False

    def call(run: Run, *more: Any) -> Any:
        nonlocal is_lost
        if not is_lost:
            is_lost = True
            lose(run)
        return function(run, *more)

    return call


def ends(mirror: Mirror) -> list[tuple[str, str]]:
    """The state and the message of all runs."""
    rows = mirror.query("SELECT state, coalesce(message, '') FROM runs ORDER BY id")
    return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_a_lease_that_is_lost_while_the_run_is_closed_is_how_the_run_ended(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Fault: the sync raised an error, and its record stayed open."""
    offer(simulator, "six", "1.0")

    def work(run: Run) -> None:
        sequence.sync(run)
        if moment == "before":
            lose(run)

    with monkeypatch.context() as patch:
        if moment == "meanwhile":
            patch.setattr(history, "note_day", losing(history.note_day))
        summary = mirror.sync(work=work)
    assert summary.state == "failed"
    assert "has lost its lease on the mirror and stopped" in summary.message
    assert [failure.reason.value for failure in summary.failures] == ["lock"]
    assert summary.counts["files_verified"] == 1
    assert ends(mirror) == [("failed", summary.message)]
    assert mirror.sync().state == "completed"


def test_a_lease_that_is_lost_after_the_end_changes_nothing(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: the sync raised an error, although its record was closed as completed."""
    offer(simulator, "six", "1.0")
    mirror.configure(history={"keep_runs": 1})
    mirror.sync()
    mirror.sync()
    offer(simulator, "six", "2.0")
    with monkeypatch.context() as patch:
        patch.setattr(history, "prune", losing(history.prune))
        summary = mirror.sync()
    assert summary.state == "completed"
    assert ends(mirror)[-1] == ("completed", "")
