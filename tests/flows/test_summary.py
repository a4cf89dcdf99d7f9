"""The table of a flow run is bounded, and belongs to its mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import summary as summaries
from pypimirror.catalog.queries import runs
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.summary import COUNTS, Summary


def summary(failed: int, message: str = "m") -> Summary:
    counts = dict.fromkeys(COUNTS["sync"], 0) | {"files_found": 5214}
    failures = [Problem(Reason.TIMEOUT, message, "six", f"six-{i}.whl") for i in range(failed)]
    return Summary(
        "20260101-0300", runs.INCOMPLETE, counts, 1.0, failures, ["download"] * failed, ""
    )


def test_the_table_has_a_row_for_each_failure() -> None:
    first, second = summaries.rows(summary(2))
    assert (first["stage"], first["project"], first["file"]) == ("download", "six", "six-0.whl")
    assert (second["reason"], second["message"]) == ("timeout", "m")


def test_the_table_is_bounded_and_says_so() -> None:
    many = summary(summaries.ROWS + 1, "x" * 100_000)
    rows = summaries.rows(many)
    assert len(rows) == summaries.ROWS
    assert all(len(row["message"]) <= 500 for row in rows)
    assert "first 200 of 201 failures" in summaries.description(many)
    assert "first" not in summaries.description(summary(summaries.ROWS))


def test_the_description_counts() -> None:
    assert "| files found | 5,214 |" in summaries.description(summary(0))


@pytest.mark.parametrize(
    ("directory", "begins"),
    [("/srv/mirror", "pypimirror-sync-mirror-"), ("/srv/Größe_1", "pypimirror-sync-gr-e-1-")],
)
def test_the_key_is_one_that_prefect_takes(directory: str, begins: str) -> None:
    key = summaries.key("sync", Path(directory))
    assert key.startswith(begins)
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_mirrors_of_one_name_have_tables_of_their_own() -> None:
    keys = {summaries.key("sync", Path(path)) for path in ("/a/mirror", "/b/mirror", "/")}
    assert len(keys) == 3
