"""What people are told of a run: what it was called with, what it did, what is here now."""

from __future__ import annotations

import pytest

from pypimirror.catalog.mirror_totals import Totals
from pypimirror.cli.display import show
from pypimirror.pipeline.summary import COUNTS, Summary

NAMES = [f"project-{number}" for number in range(518)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), ""),
        (("six",), "six"),
        (("six", "idna", "--quick"), "six, idna --quick"),
        (NAMES[:8], ", ".join(NAMES[:8])),
        (NAMES[:9], "project-0, project-1, project-2 and 6 more"),
        ((*NAMES, "--repair"), "project-0, project-1, project-2 and 515 more --repair"),
    ],
    ids=len,
)
def test_many_arguments_are_told_in_a_line(given: tuple[str, ...], told: str) -> None:
    assert show.arguments(given) == told
    whole = show.arguments(given, whole=True)
    assert whole.replace(",", "").split() == list(given)


def ended(held: Totals | None, state: str = "completed", **counts: int) -> list[str]:
    every = dict.fromkeys(COUNTS["sync"], 0) | {"projects_seen": 3} | counts
    return list(show.counted(Summary("run", state, every, 1.0, [], [], "", held=held)))


def test_a_sync_that_found_nothing_to_do_tells_what_the_mirror_has() -> None:
    assert ended(Totals(3, 141, 3 << 20)) == [
        "projects  3 seen, none changed: there was nothing to do",
        "mirror    141 files of 3 projects, 3.0 MiB",
    ]


def test_a_sync_tells_what_it_did_and_what_is_there_now() -> None:
    counts = {"projects_changed": 1, "files_found": 4, "files_downloaded": 1, "pages_written": 2}
    counts |= {"files_failed": 3, "bytes_downloaded": 10}
    assert ended(Totals(1, 1, 10, 2), "incomplete", **counts) == [
        "projects  3 seen, 1 changed",
        "files     4 on the pages read, 1 downloaded (10 B), 3 failed",
        "pages     2 written",
        "mirror    1 file of 1 project, 10 B, and 2 more at the upstream",
    ]


def test_a_sync_that_could_not_work_does_not_say_that_there_was_nothing_to_do() -> None:
    assert ended(None, "failed") == [
        "projects  3 seen, 0 changed",
        "files     none to fetch, none withdrawn",
        "pages     0 written",
    ]


def test_lines_fit_a_terminal() -> None:
    counts = dict.fromkeys(("files_found", "files_downloaded", "files_verified"), 99_999)
    lines = ended(Totals(99_999, 99_999, 9 << 40), **counts, bytes_downloaded=9 << 40)
    assert max(map(len, lines)) <= 78
