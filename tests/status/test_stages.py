"""Summing up the batches of a run's stages."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pypimirror.status import stages

moments = st.integers(0, 50).map(float)
spans = st.lists(st.tuples(moments, moments).map(lambda pair: (min(pair), max(pair))))


def row(stage: str, number: int, start: float, end: float | None, **counts: int) -> Any:
    state = "running" if end is None else "completed"
    return SimpleNamespace(
        stage=stage,
        batch=number,
        state=state,
        started_at=start,
        ended_at=end,
        counts=json.dumps(counts) if counts else None,
    )


@given(spans)
def test_busy_time_is_what_any_span_covers(some: list[tuple[float, float]]) -> None:
    covered = sum(any(start <= t < end for start, end in some) for t in range(51))
    assert stages.busy(some) == covered


def test_batches_are_summed_up_by_stage_in_their_order() -> None:
    rows = [
        row("publish", 1, 8.0, 9.0, pages_written=3),
        row("download", 1, 0.0, 4.0, files_downloaded=6, bytes_downloaded=500),
        row("download", 2, 2.0, 5.0, files_downloaded=4, bytes_downloaded=500),
    ]
    download, publish = stages.of([stages.batch(each) for each in rows])
    assert (download["stage"], publish["stage"]) == ("download", "publish")
    assert download["batches"] == 2
    assert download["seconds"] == 5.0  # side by side for two of them
    assert (download["files"], download["files_per_second"]) == (10, 2.0)
    assert (download["bytes"], download["bytes_per_second"]) == (1000, 200)
    assert publish["counts"] == {"pages_written": 3}
    assert (publish["bytes"], publish["bytes_per_second"]) == (0, 0)


def test_what_has_not_ended_has_no_speed_and_shows_as_such() -> None:
    (batch,) = batches = [stages.batch(row("verify", 1, 3.0, None))]
    assert (batch["seconds"], batch["bytes_per_second"]) == (None, None)
    (total,) = stages.of(batches)
    assert (total["state"], total["ended_at"], total["seconds"]) == ("running", None, 0.0)


def test_a_stage_is_as_bad_as_its_worst_batch() -> None:
    rows = [row("verify", number, 0.0, 1.0) for number in range(3)]
    rows[1].state = "failed"
    (total,) = stages.of([stages.batch(each) for each in rows])
    assert total["state"] == "failed"


def test_a_clock_that_was_set_back_gives_no_negative_times() -> None:
    batch = stages.batch(row("verify", 1, 5.0, 1.0, files_verified=1))
    assert (batch["seconds"], batch["files_per_second"]) == (0.0, None)
    assert stages.of([batch])[0]["seconds"] == 0.0
