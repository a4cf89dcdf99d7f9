"""Summaries of projects that were here before there were summaries come with the next syncs."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from pypimirror.catalog.database import Catalog, Connection
from pypimirror.catalog.queries.browsing import search
from pypimirror.pipeline import conclude
from pypimirror.pipeline.publish import summaries
from pypimirror.system import interrupts
from pypimirror.verify import pkg_info
from tests.corpus.build import make_sdist, make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


def rows(mirror: Mirror, *changes: str) -> dict[str, str]:
    catalog = Catalog.open(mirror.catalog_url)
    with catalog.write() as connection:
        for change in changes:
            connection.execute(text(change))
        found = connection.execute(text("SELECT name, summary FROM summaries")).all()
    catalog.close()
    return {row.name: row.summary for row in found}


def test_summaries_of_earlier_pages_follow_some_in_each_sync(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        wheel = make_wheel(name, "1.0", summary=f"This is {name}")
        simulator.add_file(name, *wheel, core_metadata=True)
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    forget = "DELETE FROM summaries", "DELETE FROM marks WHERE name = 'summaries'"
    assert rows(mirror, *forget) == {}
    monkeypatch.setattr(summaries, "_CHUNK", 1)
    monkeypatch.setattr(summaries, "AT_ONCE", 2)
    offer(simulator, "d", "1.0")
    mirror.sync()
    assert rows(mirror) == {"a": "This is a", "b": "This is b", "d": "d for tests"}
    offer(simulator, "e", "1.0")
    mirror.sync()
    assert rows(mirror)["c"] == "This is c"


def test_an_sdist_says_the_summary_where_no_file_has_core_metadata(
    tmp_path: Path, simulator: Simulator
) -> None:
    for version in ("1.0", "2.0"):
        sdist = make_sdist("old", version, summary=f"Useful since {version}")
        simulator.add_file("old", *sdist)
    both = make_sdist("both", "2.0", summary="From the sdist")
    simulator.add_file("both", *both)
    wheel = make_wheel("both", "1.0", summary="From the wheel")
    simulator.add_file("both", *wheel, core_metadata=True)
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    found = {"old": "Useful since 2.0", "both": "From the wheel"}
    assert rows(mirror) == found
    assert rows(mirror, "DELETE FROM summaries", "DELETE FROM marks WHERE name = 'summaries'") == {}
    offer(simulator, "new", "1.0")
    mirror.sync()
    assert rows(mirror).items() > found.items()
    simulator.add_file("old", *make_sdist("old", "3.0", summary="Useful since 3.0"))
    mirror.sync()
    assert rows(mirror)["old"] == "Useful since 3.0"


def test_an_sdist_is_read_once(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.add_file("old", *make_sdist("old", "2.0"))
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    simulator.add_file("old", *make_sdist("old", "1.0"))
    asked: list[str] = []
    monkeypatch.setattr(
        pkg_info, "find", lambda _body, filename: asked.append(filename) or pytest.fail(filename)
    )
    mirror.sync()
    assert asked == []
    assert rows(mirror) == {"old": "old for tests"}


@pytest.mark.sqlite
def test_after_very_many_pages_the_index_of_words_is_one_part(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search reads all parts, and each transaction adds one."""
    mirror = Mirror(tmp_path, simulator)
    for number in range(3):
        offer(simulator, f"p{number}", "1.0")
        mirror.sync()
    assert parts(mirror) > 1
    monkeypatch.setattr(conclude, "MANY_PAGES", 8)  # of two runs: each writes two forms of two
    monkeypatch.setattr(conclude, "FEW_PAGES", 1)
    # A test before may have cancelled a run in this process.
    monkeypatch.setattr(interrupts, "is_heard", lambda: False)
    for number, merged in enumerate((False, True, False, True)):
        offer(simulator, f"q{number}", "1.0")
        mirror.sync()
        assert (parts(mirror) == 1) is merged


@pytest.mark.sqlite
@pytest.mark.parametrize(("cancelled", "number"), [(False, 3), (True, 1)])
def test_merging_words_has_a_bound_and_ends_with_a_signal(
    tmp_path: Path,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    cancelled: bool,
    number: int,
) -> None:
    """The signals of that time are noted only, and others may wait for the lock of the mirror."""
    steps: list[bool] = []

    def merge(connection: Connection, *, first: bool) -> bool:
        steps.append(first)
        return True  # it never ends

    monkeypatch.setattr(search, "merge", merge)
    monkeypatch.setattr(conclude, "MANY_PAGES", 1)
    monkeypatch.setattr(conclude, "FEW_PAGES", 1)
    monkeypatch.setattr(conclude, "_MOST_STEPS", 3)
    monkeypatch.setattr(interrupts, "is_heard", lambda: cancelled)
    mirror = Mirror(tmp_path, simulator)
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert steps == [True, False, False][:number]


def parts(mirror: Mirror) -> int:
    (row,) = mirror.query("SELECT count(DISTINCT segid) AS n FROM summaries_words_idx")
    return int(row["n"])
