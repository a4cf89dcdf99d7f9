"""A flow run's last state says what the run's record says, in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from prefect.exceptions import CancelledRun, FailedRun

from flows.alerts import ENDS, FAILURES
from flows.ending import SkippedError, as_recorded, final_state, log_no_states, without_run
from pypimirror.catalog.queries import runs
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.pipeline.summary import COUNTS, Summary
from pypimirror.system.workers import Cancelled


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


@pytest.mark.parametrize("state", [runs.COMPLETED, runs.INCOMPLETE])
def test_what_the_record_says_besides_is_not_lost(state: str) -> None:
    """Such as shards that did not do their part."""
    said = final_state(summary(state, message="of 3 shards, 1 failed")).message
    assert said is not None
    assert said.endswith("; of 3 shards, 1 failed") or said == "Incomplete: of 3 shards, 1 failed"


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


@pytest.mark.parametrize(
    ("error", "type_", "name", "message"),
    [
        (SkippedError("m", "run 1"), "CANCELLED", "Skipped", "Skipped: run 1 is at work"),
        (LockedError("m was waited for", "run 1"), "FAILED", "Failed", "m was waited for"),
        (Cancelled("m"), "CANCELLED", "Cancelled", "Cancelled before it began"),
        (PypimirrorError("no configuration"), "FAILED", "Failed", "no configuration"),
    ],
)
def test_a_flow_run_without_a_run_says_why(
    error: PypimirrorError, type_: str, name: str, message: str
) -> None:
    found = without_run(error)
    assert (found.type.value, found.name, found.message) == (type_, name, message)


@pytest.mark.parametrize(
    ("state", "type_", "name"),
    [
        ("completed", "COMPLETED", "Completed"),
        ("incomplete", "FAILED", "Incomplete"),
        ("failed", "FAILED", "Failed"),
        ("cancelled", "CANCELLED", "Cancelled"),
        ("crashed", "CRASHED", "Crashed"),
    ],
)
def test_what_only_the_catalog_knows_has_a_state(state: str, type_: str, name: str) -> None:
    found = as_recorded(state, "")
    assert (found.type.value, found.name) == (type_, name)


def test_a_skipped_run_alerts_nobody_and_is_not_waited_for() -> None:
    assert "Skipped" not in FAILURES
    assert "Skipped" in ENDS, "it would be late, stuck and crashed"


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("prefect.flow_runs")
    filters, handlers = list(logger.filters), list(logger.handlers)
    # Prefect's own handler would warn: it sends logs to the API, and here is no flow run.
    logger.handlers = []
    log_no_states()
    yield logger
    logger.filters, logger.handlers = filters, handlers


@pytest.mark.parametrize("error", [FailedRun("Incomplete: 1 file"), CancelledRun("Cancelled")])
def test_a_final_state_is_no_error_in_the_log(
    log: logging.Logger, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    log.addHandler(caplog.handler)
    for raised in (error, ValueError("a fault")):
        try:
            raise raised
        except Exception:
            log.error("Engine execution exited with unexpected exception", exc_info=True)
    log.removeHandler(caplog.handler)
    (record,) = {id(each): each for each in caplog.records}.values()
    assert record.exc_info is not None and isinstance(record.exc_info[1], ValueError)
