"""A file that cannot be had is tried again, in good time: the rule, and whole syncs under it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pypimirror.catalog.states import LONGEST_WAIT, State
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline import backoff, sequence
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, offer, offer_sdist, reasons
from tests.simulator import IndexFile, Simulator, Status

DAY = 86_400.0

numbers, keys = st.integers(0, backoff.MOST), st.text(max_size=40)
times = st.floats(0, 1e11)


# The rule


@given(numbers, keys)
def test_no_wait_is_longer_than_the_longest(failures: int, key: str) -> None:
    assert 0 <= backoff.wait(failures, key) <= LONGEST_WAIT


@given(numbers, keys)
def test_a_wait_never_gets_shorter_by_another_failure(failures: int, key: str) -> None:
    assert backoff.wait(failures, key) <= backoff.wait(failures + 1, key)


@given(numbers, keys)
def test_a_wait_is_the_same_each_time_it_is_asked_for(failures: int, key: str) -> None:
    assert backoff.wait(failures, key) == backoff.wait(failures, key)


def test_the_first_failure_makes_nobody_wait_and_the_second_does() -> None:
    assert backoff.wait(0, "a") == backoff.wait(1, "a") == 0
    assert backoff.FIRST / 2 <= backoff.wait(2, "a") <= backoff.FIRST


def test_files_that_fail_together_do_not_all_come_back_together() -> None:
    waits = sorted(backoff.wait(99, str(number)) for number in range(1000))
    assert waits[0] < 0.52 * LONGEST_WAIT < 0.98 * LONGEST_WAIT < waits[-1]


def file(**columns: Any) -> Any:
    fresh = {"filename": "f", "attempts": None, "run_id": 1, "state": State.WANTED}
    return SimpleNamespace(**(fresh | columns))


@given(st.sampled_from(list(Reason)), st.one_of(st.none(), numbers), times)
def test_a_try_is_never_set_into_the_past_nor_too_far_away(
    reason: Reason, attempts: int | None, now: float
) -> None:
    columns = backoff.after_failure(file(attempts=attempts), Problem(reason, "x"), 2, now)
    if columns["next_try"] is not None:
        assert now <= columns["next_try"] <= now + LONGEST_WAIT
        assert reason in backoff.WAITING
    assert columns["attempts"] in (attempts, min((attempts or 0) + 1, backoff.MOST))


@pytest.mark.parametrize(
    "reason", [Reason.DISK, Reason.WORKER, Reason.CANCELLED, Reason.INTERNAL, Reason.CATALOG]
)
def test_what_says_nothing_of_the_file_makes_it_not_wait(reason: Reason) -> None:
    columns = backoff.after_failure(file(attempts=9), Problem(reason, "x"), 2, 0.0)
    assert (columns["attempts"], columns["next_try"]) == (9, None)


def test_a_stage_that_is_repeated_within_a_run_is_not_another_run() -> None:
    problem = Problem(Reason.TIMEOUT, "x")
    again = file(attempts=4, run_id=2, state=State.FAILED)
    assert backoff.after_failure(again, problem, 2, 0.0)["attempts"] == 4
    assert backoff.after_failure(again, problem, 3, 0.0)["attempts"] == 5


# Whole syncs


def later(seconds: float) -> Callable[[Run], None]:
    """The work of a sync that begins so many seconds from now."""

    def work(run: Run) -> None:
        sequence.sync(replace(run, now=run.now + seconds))

    return work


@pytest.fixture
def good(simulator: Simulator) -> IndexFile:
    """A file that can be had, in a project of its own."""
    (file,) = offer(simulator, "idna", "1.0")
    return file


@pytest.fixture
def dead(mirror: Mirror, simulator: Simulator, good: IndexFile) -> IndexFile:
    """A file whose connection has timed out in two runs."""
    mirror.configure(download={"timeout": 0.2})
    (file,) = offer(simulator, "six", "1.0")
    simulator.hold(file)
    for _ in range(2):
        assert reasons(mirror.sync().failures) == {file.filename: Reason.TIMEOUT}
    assert simulator.count(f"*/{file.filename}") == 2
    simulator.forget()
    return file


def asked(simulator: Simulator, file: IndexFile) -> int:
    return simulator.count(f"*/{file.filename}")


def test_a_dead_file_is_not_asked_for_before_its_time_and_told_of_all_the_same(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    result = mirror.sync()
    assert result.state == "incomplete"
    assert asked(simulator, dead) == 0
    assert simulator.count("/simple/six/") == 0
    (problem,) = result.failures
    assert (problem.reason, problem.file, problem.project) == (
        Reason.TIMEOUT, dead.filename, "six",
    )  # fmt: skip
    assert problem.attempts == 0
    assert problem.url.endswith(dead.filename)
    assert "2 runs in a row failed to get it; the next try is not before" in problem.message
    assert result.stages == ["download"]
    assert result.counts["files_failed"] == 1


def test_a_dead_file_is_asked_for_when_its_time_has_come_and_then_waits_longer(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    mirror.sync(work=later(backoff.FIRST))
    assert asked(simulator, dead) == 1
    (row,) = mirror.query("SELECT attempts FROM files WHERE attempts > 0")
    assert row["attempts"] == 3
    mirror.sync(work=later(backoff.FIRST * 1.9))
    assert asked(simulator, dead) == 1
    mirror.sync(work=later(backoff.FIRST * 3))
    assert asked(simulator, dead) == 2


def test_success_forgets_all_failures(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    simulator.heal()
    assert mirror.sync(work=later(backoff.FIRST)).state == "completed"
    columns = "attempts, next_try, last_error"
    for row in mirror.query(f"SELECT {columns} FROM files"):
        assert tuple(row) == (None, None, None)
    assert mirror.sync().failures == []


def test_a_project_with_nothing_but_files_that_wait_goes_through_no_stage(
    mirror: Mirror, dead: IndexFile
) -> None:
    mirror.sync()
    (run,) = mirror.query("SELECT max(id) AS id FROM runs")
    stages = mirror.query("SELECT stage, batch FROM stages WHERE run_id = ?", run["id"])
    assert [tuple(row) for row in stages] == [("discover", 0), ("publish", 1)]


def test_a_file_that_waits_holds_up_no_other_of_its_project(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    (new,) = offer(simulator, "six", "1.1")
    result = mirror.sync()
    assert mirror.files("six") == [new.filename]
    assert asked(simulator, dead) == 0
    assert reasons(result.failures) == {dead.filename: Reason.TIMEOUT}


def test_a_project_that_is_named_waits_for_nothing(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    mirror.sync("six")
    assert asked(simulator, dead) == 1
    simulator.heal()
    assert mirror.sync("six").state == "completed"


def test_a_run_over_other_projects_says_nothing_of_what_waits(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    assert mirror.sync("idna").state == "completed"
    assert asked(simulator, dead) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.set(url=f"../../packages/x/{file.filename}"),
        lambda file: file.set(digests={"sha256": "0" * 64}),
        lambda file: file.replace(b"other bytes"),
    ],
    ids=["address", "digest", "bytes"],
)
def test_what_changes_upstream_is_tried_at_once(
    mirror: Mirror, simulator: Simulator, dead: IndexFile, change: Callable[[IndexFile], Any]
) -> None:
    change(dead)
    mirror.sync(sound=False)
    assert asked(simulator, dead) == 1


def test_another_configuration_of_the_upstream_tries_everything_at_once(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    mirror.configure(delete={"grace": "1h"})
    mirror.sync()
    assert asked(simulator, dead) == 0
    mirror.configure(download={"timeout": 0.3})
    mirror.sync()
    assert asked(simulator, dead) == 1


def test_a_clock_that_was_wrong_makes_nobody_wait_longer_than_the_longest(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    mirror.query("UPDATE files SET next_try = next_try + 1e9 WHERE next_try > 0")
    mirror.sync()
    assert asked(simulator, dead) == 1


def test_a_file_that_waits_and_is_offered_no_more_is_forgotten(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    dead.remove()
    assert mirror.sync().state == "completed"
    assert mirror.sync().failures == []


def test_bytes_that_prove_bad_again_and_again_are_not_fetched_by_every_run(
    mirror: Mirror, simulator: Simulator, good: IndexFile
) -> None:
    wrong = offer_sdist(simulator, "six", "1.0")
    wrong.set(digests={"sha256": "0" * 64})
    broken = simulator.add_file("six", "six-2.0.tar.gz", b"no archive", digests=None)
    expected = {wrong.filename: Reason.DIGEST_MISMATCH, broken.filename: Reason.BAD_ARCHIVE}
    for downloads in (1, 2, 2):
        result = mirror.sync()
        assert reasons(result.failures) == expected
        assert simulator.downloads(wrong.filename) == downloads
        assert simulator.downloads(broken.filename) == downloads


def test_a_plan_tells_of_what_waits_and_does_not_fetch_it(
    mirror: Mirror, simulator: Simulator, dead: IndexFile
) -> None:
    plan = mirror.plan()
    assert plan.fetch == []
    assert reasons(plan.problems) == {dead.filename: Reason.TIMEOUT}
    assert [entry.file for entry in mirror.plan("six").fetch] == [dead.filename]


def test_a_host_that_comes_back_after_one_failure_costs_no_wait(
    mirror: Mirror, simulator: Simulator, good: IndexFile
) -> None:
    simulator.fault(good, Status(503), times=1)
    assert mirror.sync().state == "incomplete"
    assert mirror.sync().state == "completed"
