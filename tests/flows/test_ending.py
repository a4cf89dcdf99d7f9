"""A flow run's last state says what the run's record says, in words."""

from __future__ import annotations

import pytest

from flows.ending import final_state
from pypimirror.catalog import runs
from pypimirror.model import Problem, Reason
from pypimirror.stages.summary import COUNTS, Summary


def summary(state: str, *failures: Problem, message: str = "", **counts: int) -> Summary:
    every = dict.fromkeys(COUNTS["sync"], 0) | counts
    stages = ["download"] * len(failures)
    return Summary("20260101-0300", state, every, 1.0, list(failures), stages, message)


def problems(reason: Reason, number: int) -> list[Problem]:
    return [Problem(reason, "m", "six", f"six-{reason}{i}.whl") for i in range(number)]


@pytest.mark.parametrize(
    ("state", "type_", "name"),
    [
        (runs.COMPLETED, "COMPLETED", "Completed"),
        (runs.INCOMPLETE, "FAILED", "Incomplete"),
        (runs.FAILED, "FAILED", "Failed"),
        (runs.CANCELLED, "CANCELLED", "Cancelled"),
    ],
)
def test_each_state_of_a_run_has_one_of_a_flow_run(state: str, type_: str, name: str) -> None:
    found = final_state(summary(state))
    assert (found.type.value, found.name) == (type_, name)


def test_completed_says_what_was_done() -> None:
    found = final_state(
        summary(runs.COMPLETED, projects_changed=1, files_downloaded=1234, pages_written=0)
    )
    assert found.message == "1 project changed, 1,234 files downloaded, 0 pages written"


def test_incomplete_counts_failures_by_reason() -> None:
    failures = problems(Reason.DIGEST_MISMATCH, 1) + problems(Reason.TIMEOUT, 2)
    found = final_state(summary(runs.INCOMPLETE, *failures, files_found=5214))
    assert found.message == ("Incomplete: 3 of 5,214 files failed (2 timeouts, 1 digest mismatch)")


def test_incomplete_does_not_count_of_fewer_than_failed() -> None:
    found = final_state(summary(runs.INCOMPLETE, *problems(Reason.SIZE_MISMATCH, 2)))
    assert found.message == "Incomplete: 2 files failed (2 size mismatches)"


def test_incomplete_names_projects_and_what_has_none() -> None:
    failures = [
        Problem(Reason.MISSING, "m", "nosuch"),
        Problem(Reason.DELETION_GUARD, "too much would go"),
    ]
    found = final_state(summary(runs.INCOMPLETE, *failures))
    assert found.message == "Incomplete: 1 project failed (1 missing), too much would go"


def test_failed_says_why() -> None:
    assert final_state(summary(runs.FAILED, message="disk full")).message == "disk full"


def test_a_retry_with_nothing_left_says_so() -> None:
    found = final_state(Summary.of_nothing("sync", "Nothing to retry"))
    assert (found.name, found.message) == ("Completed", "Nothing to retry")
