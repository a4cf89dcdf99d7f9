"""Files that clients asked for take no more room than they may, and nothing else ever goes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries.work import asked
from pypimirror.domain.sizes import amount
from pypimirror.pipeline.asked import eviction
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.select.selection import Selection
from pypimirror.system import clock
from tests.mirror import Mirror, offer
from tests.pipeline.asked.clients import ask, fetcher
from tests.simulator import IndexFile, Simulator

DAY = 86_400.0


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror for what clients ask for."""
    return Mirror(tmp_path, simulator, on_demand={"projects": ["*"]}, delete={"grace": "0s"})


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Four files of two projects that were asked for, the first the longest ago."""
    found = [*offer(simulator, "six", "1.0", "2.0"), *offer(simulator, "attrs", "1.0", "2.0")]
    for number, file in enumerate(found):
        ask(mirror, file, at=clock.now() - (10 - number) * DAY)
    assert mirror.sync().state == "completed"
    assert all(mirror.holds(file) for file in found)
    return found


def size(*files: IndexFile) -> int:
    return sum(len(file.content) for file in files)


def short(mirror: Mirror) -> Summary:
    return run_sync(mirror.config, [], eviction.short_run, trigger="request", command="evict")


def left(mirror: Mirror, held: list[IndexFile]) -> list[bool]:
    mirror.check()
    return [mirror.holds(file) for file in held]


@pytest.mark.parametrize("way", ["sync", "short run"])
def test_the_least_recently_used_go_until_the_rest_fits_to_the_byte(
    mirror: Mirror, held: list[IndexFile], way: str
) -> None:
    mirror.configure(on_demand={"max_size": size(*held[2:])})
    summary = mirror.sync() if way == "sync" else short(mirror)
    assert summary.state == "completed"
    assert summary.counts["files_evicted"] == 2
    assert left(mirror, held) == [False, False, True, True]
    assert mirror.projects == ["attrs"]
    mirror.configure(on_demand={"max_size": size(*held[2:]) - 1})
    assert short(mirror).counts["files_evicted"] == 1
    assert left(mirror, held) == [False, False, False, True]
    assert mirror.files("attrs") == [held[3].filename]
    assert short(mirror).counts["files_evicted"] == 0


def test_a_file_that_is_used_stays(mirror: Mirror, held: list[IndexFile]) -> None:
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
        asked.used(connection, [("six", held[0].filename)], clock.now())
    mirror.configure(on_demand={"max_size": size(held[0], held[3])})
    mirror.sync()
    assert left(mirror, held) == [True, False, False, True]


def test_what_nobody_used_for_long_goes(mirror: Mirror, held: list[IndexFile]) -> None:
    mirror.configure(on_demand={"keep": "8.5d"})
    mirror.sync()
    assert left(mirror, held) == [False, False, True, True]
    mirror.configure(on_demand={"keep": "0s", "max_size": 0})
    assert mirror.sync().counts["files_evicted"] == 0


@pytest.mark.parametrize(
    "change", [{"projects": ["attrs"]}, {"projects": []}], ids=["another", "switched off"]
)
def test_what_clients_may_not_ask_for_any_more_goes(
    mirror: Mirror, held: list[IndexFile], change: dict[str, list[str]]
) -> None:
    mirror.configure(on_demand=change, select={"projects": ["attrs==2.0"]})
    mirror.sync()
    kept_by_demand = bool(change["projects"])
    assert left(mirror, held) == [False, False, kept_by_demand, True]


def test_what_is_selected_neither_counts_nor_goes(mirror: Mirror, held: list[IndexFile]) -> None:
    mirror.configure(select={"projects": ["six"]}, on_demand={"max_size": size(held[3])})
    assert mirror.sync().counts["files_evicted"] == 1
    assert left(mirror, held) == [True, True, False, True]
    mirror.configure(on_demand={"keep": "1d"})
    mirror.sync()
    assert left(mirror, held) == [True, True, False, False]


def test_bytes_stay_for_the_grace_period_and_are_taken_over_if_asked_for_again(
    mirror: Mirror, held: list[IndexFile], simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"}, on_demand={"max_size": size(*held[1:])})
    mirror.sync()
    assert mirror.files("six") == [held[1].filename]
    assert mirror.holds(held[0])
    simulator.forget()
    mirror.configure(on_demand={"max_size": 0})
    ask(mirror, held[0])
    mirror.sync()
    assert len(mirror.files("six")) == 2
    assert simulator.downloads(held[0].filename) == 0


def test_the_guard_against_mass_deletions_does_not_count_it(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    mirror.configure(delete={"max_share": 0.0, "max_count": 0}, on_demand={"keep": "1d"})
    assert mirror.sync().state == "completed"
    assert left(mirror, held) == [False] * 4


def test_a_file_that_is_fetched_now_stays(mirror: Mirror, held: list[IndexFile]) -> None:
    mirror.configure(on_demand={"keep": "1d"})
    with fetcher(mirror) as worker:
        with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
            asked.ask(connection, ("six", held[0].filename), worker.id, 1.0)
        mirror.sync()
    assert left(mirror, held) == [True, False, False, False]


def test_it_is_told(mirror: Mirror, held: list[IndexFile]) -> None:
    mirror.configure(on_demand={"max_size": size(held[3])})
    told: list[str] = []

    def work(run: Run) -> None:
        run.reporter.announce = told.append  # type: ignore[method-assign]
        eviction.short_run(run)

    run_sync(mirror.config, [], work, trigger="request", command="evict")
    told_of = (
        f"This mirror lets 3 files go ({amount(size(*held[:3]))}) that clients had asked for: "
    )
    assert told[0].startswith(told_of)
    assert "3 that are more than on_demand.max_size" in told[0]


def test_a_fetcher_learns_whether_a_short_run_has_work(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    def is_due() -> bool:
        config = mirror.config
        with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.read() as connection:
            return eviction.is_due(connection, config, Selection(config), clock.now())

    assert not is_due()
    mirror.query("UPDATE projects SET root_entry_stale = ?", True)
    assert is_due()
    short(mirror)
    assert not is_due()
    mirror.configure(on_demand={"max_size": size(held[3])})
    assert is_due()
    short(mirror)
    assert not is_due()


def test_a_plan_has_what_would_go_and_changes_nothing(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    mirror.configure(on_demand={"max_size": size(*held[1:])})
    plan = mirror.plan()
    assert [entry.file for entry in plan.withdraw] == [held[0].filename]
    assert left(mirror, held) == [True] * 4
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.read() as connection:
        assert len(list(asked.held(connection))) == 4
