"""Files that clients have asked for: who fetches one, when it was used, and that a sync sees it."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text

from pypimirror.catalog import lease
from pypimirror.catalog.claims import Worker
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import this_machine, this_process
from pypimirror.catalog.queries import runs
from pypimirror.catalog.queries.work import asked
from pypimirror.catalog.records import AskedRecord

SIX = ("six", "six-1.0.tar.gz")
ATTRS = ("attrs", "attrs-1.0.tar.gz")


@pytest.fixture
def two(catalog: Catalog) -> list[int]:
    """The ids of two workers that work."""
    with catalog.write() as connection:
        options: dict[str, Any] = {"command": "request", "trigger": "request", "config": "c"}
        run, _ = runs.start(connection, arguments=[], now=1.0, **options)
    found = []
    for name in "12":
        worker = Worker(catalog, run, this_process(this_machine()), lease.PACE)
        worker.begin("inline", name)
        found.append(worker.id)
    return found


def rows(catalog: Catalog) -> list[AskedRecord]:
    with catalog.read() as connection:
        return list(asked.every(connection))


def test_one_worker_at_a_time_fetches_a_file(catalog: Catalog, two: list[int]) -> None:
    one, other = two
    with catalog.write() as connection:
        assert asked.ask(connection, SIX, one, 10.0, 500)
        assert asked.ask(connection, SIX, one, 11.0)  # it asks again
        assert not asked.ask(connection, SIX, other, 12.0)
        assert asked.ask(connection, ATTRS, other, 13.0)
        assert asked.fetched_by(connection, SIX) == one
    assert rows(catalog)[0] == AskedRecord(*SIX, 500, 10.0, 10.0, one)
    with catalog.write() as connection:
        asked.done(connection, [SIX, ATTRS], one)  # it does not have the second
        assert asked.fetched_by(connection, SIX) is None
        assert asked.fetched_by(connection, ATTRS) == other
        assert asked.ask(connection, SIX, other, 14.0)


@pytest.mark.parametrize(
    "lost", ["state = 'lost'", "expires_at = 0"], ids=["known to be dead", "without a heartbeat"]
)
def test_a_file_of_a_dead_worker_is_fetched_by_another(
    catalog: Catalog, two: list[int], lost: str
) -> None:
    one, other = two
    with catalog.write() as connection:
        assert asked.ask(connection, ATTRS, other, 10.0)  # another row, of a live worker
        assert asked.ask(connection, SIX, one, 10.0)
        connection.execute(text(f"UPDATE workers SET {lost} WHERE id = {one}"))
        assert asked.ask(connection, SIX, other, 11.0)
        asked.done(connection, [SIX], one)  # too late
        assert asked.fetched_by(connection, SIX) == other


def test_of_two_that_ask_at_once_one_fetches(catalog: Catalog, two: list[int]) -> None:
    url = catalog.engine.url
    ready = threading.Barrier(2)
    got: dict[int, list[bool]] = {}

    def ask(worker: int) -> None:
        with closing(Catalog.open(url)) as its:
            for number in range(20):
                ready.wait()
                with its.write() as connection:
                    pair = ("six", f"six-{number}.tar.gz")
                    got.setdefault(worker, []).append(asked.ask(connection, pair, worker, 1.0))

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(each) for each in zip(*got.values(), strict=True)] == [[False, True]] * 20


def test_what_could_not_be_fetched_is_forgotten_by_the_one_that_tried(
    catalog: Catalog, two: list[int]
) -> None:
    one, other = two
    with catalog.write() as connection:
        assert asked.ask(connection, SIX, one, 10.0)
        asked.forget(connection, [SIX], other)
        assert asked.of_projects(connection, ["six"]).keys() == {"six"}
        asked.forget(connection, [SIX], one)
        assert asked.of_projects(connection) == {}


def test_files_are_in_the_order_of_their_last_use(catalog: Catalog, two: list[int]) -> None:
    with catalog.write() as connection:
        assert asked.oldest(connection) is None
        asked.ask(connection, SIX, two[0], 10.0)
        asked.ask(connection, ATTRS, two[0], 11.0)
        asked.used(connection, [SIX, ("idna", "idna-1.0.tar.gz")], 20.0)
        asked.used(connection, [SIX], 15.0)  # another server tells of an earlier use
        assert asked.oldest(connection) == 11.0
    found = [((row.project, row.filename), row.asked_at, row.used_at) for row in rows(catalog)]
    assert found == [(ATTRS, 11.0, 11.0), (SIX, 10.0, 20.0)]
    with catalog.write() as connection:
        asked.drop(connection, [ATTRS])
        assert list(asked.of_projects(connection)) == ["six"]


def test_a_file_is_used_again_only_if_somebody_uses_it_after_its_fetch_has_begun(
    catalog: Catalog, two: list[int]
) -> None:
    """The turns of the keeper and earlier fetches do not count: it waits for a quiet moment."""
    one, other = two
    with catalog.write() as connection:
        asked.ask(connection, SIX, one, 10.0)
        asked.ask(connection, SIX, one, 11.0)  # a turn of the keeper
        assert not asked.are_used_again(connection, [SIX])
        asked.used(connection, [SIX], 12.0)
        assert asked.are_used_again(connection, [ATTRS, SIX])
        asked.ask(connection, SIX, one, 13.0)
        assert asked.are_used_again(connection, [SIX])  # a turn makes nobody stop waiting
        asked.done(connection, [SIX], one)
        asked.ask(connection, SIX, other, 14.0)
        assert not asked.are_used_again(connection, [SIX])


def test_a_fetch_has_its_own_time_as_long_as_it_lasts(catalog: Catalog, two: list[int]) -> None:
    """A run waits for one fetch: not for a later one, and not less because of a keeper's turn."""
    one, other = two
    with catalog.write() as connection:
        asked.ask(connection, SIX, one, 10.0)
        asked.ask(connection, SIX, one, 11.0)
        assert asked.under_way(connection, ["six"]) == {SIX: 10.0}
        asked.done(connection, [SIX], one)
        assert asked.under_way(connection, ["six"]) == {}
        asked.ask(connection, SIX, other, 12.0)
        assert asked.under_way(connection, ["six"]) == {SIX: 12.0}


def test_many_files_are_noted_in_few_statements(catalog: Catalog, two: list[int]) -> None:
    pairs = [("six", f"six-{number}.tar.gz") for number in range(2500)]
    with catalog.write() as connection:
        for pair in pairs:
            asked.ask(connection, pair, two[0], 1.0)
        asked.used(connection, pairs, 2.0)
        asked.done(connection, pairs, two[0])
    assert {(row.used_at, row.worker_id) for row in rows(catalog)} == {(2.0, None)}
    with catalog.write() as connection:
        asked.drop(connection, pairs[1:])
    assert [row.filename for row in rows(catalog)] == ["six-0.tar.gz"]
