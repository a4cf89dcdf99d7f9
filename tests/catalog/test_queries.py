"""Queries that work in bulk, and those with conditions of their own."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Connection

from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import doubts, entries, files, listed, projects, runs, withdrawals
from pypimirror.catalog.queries.browsing import summaries
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.projects import CHUNK, chunks
from pypimirror.catalog.queries.work import tries
from pypimirror.catalog.records import StaleRootIndexEntry
from pypimirror.catalog.states import LONGEST_WAIT, Cause, State
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import Problem, ProjectName, Reason, Stage
from tests.catalog.plans import plan_of, statements_of
from tests.databases import Databases

#: More than one statement may name.
SIX = ProjectName("six")
MANY = CHUNK + 5


def add_project(connection: Connection, name: str, **values: Any) -> int:
    projects.ensure(connection, [ProjectName(name)])
    (row,) = projects.by_name(connection, [name])
    projects.change(connection, [{"id": row.id, **values}] if values else [])
    return int(row.id)


def add_file(connection: Connection, project: int, name: str, **values: Any) -> int:
    row = {"project_id": project, "filename": name, "url": "http://127.0.0.1/", **values}
    state = row.pop("state", State.WANTED)
    files.add(connection, [row], 1)
    (found,) = [f for f in files.of_projects(connection, [project]) if f.filename == name]
    table = schema.files
    connection.execute(table.update().where(table.c.id == found.id).values(state=state))
    return int(found.id)


def test_chunks() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks([], 2)) == []


@pytest.mark.thorough
def test_more_projects_than_one_statement_may_name(catalog: Catalog) -> None:
    names = [ProjectName(f"p{n}") for n in range(MANY)]
    with catalog.write() as connection:
        projects.ensure(connection, names)
        projects.ensure(connection, names)  # those that are there stay as they are
        listed.to_look_as_listed(connection, [listed.Listed(n, None) for n in names], "one")
        rows = {row.name: row for row in listed.known(connection)}
        assert len(rows) == MANY
        assert all(row.upstream == "one" for row in rows.values())
        ids = projects.next_batch(connection, 0, MANY, None)
        assert sorted(ids) == sorted(row.id for row in projects.names(connection))
        projects.touch(connection, ids)
        projects.deselect(connection, ids)
        assert all(row.removal_cause == Cause.SELECTION for row in listed.known(connection))
        projects.drop(connection, ids)
        assert list(listed.known(connection)) == []


def test_batches_go_by_id_and_take_only_what_is_to_do(catalog: Catalog) -> None:
    with catalog.write() as connection:
        ids = [add_project(connection, f"p{n}", has_work=n % 2 == 0) for n in range(6)]
        assert projects.next_batch(connection, 0, 2, None) == [ids[0], ids[2]]
        assert projects.next_batch(connection, ids[2], 2, None) == [ids[4]]
        assert projects.next_batch(connection, 0, 9, [ProjectName("p4")]) == [ids[4]]


def test_looking_at_another_upstream_forgets_what_identified_the_page(catalog: Catalog) -> None:
    page = {"etag": '"1"', "last_modified": "now", "page_digest": "d"}
    with catalog.write() as connection:
        number = add_project(connection, "six", upstream="one", **page)
        projects.to_look(connection, [ProjectName("six")])
        for upstream, kept in (("one", True), ("two", False)):
            listed.to_look_as_listed(connection, [listed.Listed(SIX, 7)], upstream)
            (row,) = projects.get(connection, [number])
            assert (row.etag == '"1"') is kept, upstream
            assert (row.page_digest == "d") is kept, upstream
        assert row.upstream == "two"


def test_a_project_in_a_list_that_has_no_row_gets_one(catalog: Catalog) -> None:
    with catalog.write() as connection:
        listed.to_look_as_listed(connection, [listed.Listed(SIX, 7, "Six/")], "one")
        (row,) = projects.by_name(connection, ["six"])
    assert (row.upstream, row.listed_serial, row.listed_at) == ("one", 7, "Six/")
    assert row.needs_fetch and row.has_work and row.listed
    assert not row.page_stale and not row.page_on_disk


@pytest.mark.parametrize(
    ("changes", "state", "done"),
    [
        ({}, State.PUBLISHED, True),
        ({}, State.WITHDRAWN, True),
        ({}, State.FAILED, False),
        ({}, State.FETCHED, False),
        ({}, State.VERIFIED, False),
        ({"needs_fetch": True}, State.PUBLISHED, False),
        ({"page_stale": True}, State.PUBLISHED, False),
        ({"removal_cause": Cause.UPSTREAM, "page_on_disk": True}, State.WITHDRAWN, False),
        ({"removal_cause": Cause.UPSTREAM}, State.WITHDRAWN, True),
    ],
)
def test_a_project_is_done_when_nothing_is_left_to_do(
    catalog: Catalog, changes: dict[str, Any], state: State, done: bool
) -> None:
    with catalog.write() as connection:
        number = add_project(connection, "six", has_work=True, **changes)
        add_file(connection, number, "six-1.zip", state=state)
        projects.finish(connection, [number], 0.0)
        assert (projects.next_batch(connection, 0, 9, None) == []) is done


@pytest.mark.parametrize(
    ("now", "waits"), [(999.0, True), (1000.0, False), (1000.0 - LONGEST_WAIT - 1, False)]
)
def test_what_waits_for_its_next_try_is_neither_due_nor_left_to_do_until_then(
    catalog: Catalog, now: float, waits: bool
) -> None:
    with catalog.write() as connection:
        number = add_project(connection, "six", has_work=True)
        add_file(connection, number, "six-1.zip", state=State.FAILED, next_try=1000.0)
        assert (tries.due(connection, [number], now) == []) is waits
        assert len(tries.due(connection, [number], None)) == 1
        assert (len(list(tries.waiting(connection, now, None))) == 1) is waits
        assert list(tries.waiting(connection, now, ["idna"])) == []
        projects.finish(connection, [number], now)
        assert (projects.next_batch(connection, 0, 9, None) == []) is waits
        tries.wake(connection, now)
        assert (projects.next_batch(connection, 0, 9, None) == []) is waits
        tries.wait_no_more(connection)
        assert projects.next_batch(connection, 0, 9, None) == [number]


def test_setting_gone_marks_project_and_files_and_ends_looking(catalog: Catalog) -> None:
    with catalog.write() as connection:
        number = add_project(connection, "six")
        add_file(connection, number, "six-1.zip")
        for _ in range(2):  # also when it is asked for again and still gone
            projects.to_look(connection, [ProjectName("six")])
            projects.set_gone(connection, [number], Cause.UPSTREAM)
            (row,) = projects.get(connection, [number])
            assert (row.removal_cause, row.needs_fetch) == (Cause.UPSTREAM, False)
            assert [f.removal_cause for f in files.of_projects(connection, [number])] == [
                Cause.UPSTREAM
            ]


EXPIRED: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"withdrawn_at": 11.0}, {}, False),
    ({"withdrawn_at": None}, {}, False),
    ({"removal_cause": Cause.QUARANTINE}, {}, False),
    ({}, {"page_stale": True}, False),
    ({}, {"removal_cause": Cause.UPSTREAM, "page_on_disk": True}, False),
    ({}, {"removal_cause": Cause.UPSTREAM, "page_on_disk": False}, True),
]


@pytest.mark.parametrize(("file", "project", "expired"), EXPIRED)
def test_bytes_expire_only_when_no_page_can_link_to_them(
    catalog: Catalog, file: dict[str, Any], project: dict[str, Any], expired: bool
) -> None:
    with catalog.write() as connection:
        number = add_project(connection, "six", **project)
        values = {
            "removal_cause": Cause.UPSTREAM,
            "withdrawn_at": 10.0,
            "state": State.WITHDRAWN,
        } | file
        add_file(connection, number, "six-1.zip", **values)
        assert bool(withdrawals.next_expired(connection, 10.0)) is expired


def test_refusals_stand_until_they_are_replaced(catalog: Catalog) -> None:
    problem = Problem(Reason.BAD_DIGEST, "why", "six", "six-1.zip", "http://127.0.0.1/")
    with catalog.write() as connection:
        one, two = add_project(connection, "six"), add_project(connection, "idna")
        doubts.set_refusals(connection, {one: [problem], two: [problem]})
        doubts.set_refusals(connection, {two: []})
        assert doubts.standing_refusals(connection, None) == [problem]
        assert doubts.standing_refusals(connection, [ProjectName("idna")]) == []


def test_the_root_index_is_in_the_order_of_the_bytes_of_names(catalog: Catalog) -> None:
    """Also where the database sorts as some language does: an amended one relies on that."""
    names = ["0", "a", "a-b", "a-b-c", "a0", "ab", "b", "b-", "ba"]
    with catalog.write() as connection:
        for name in reversed(names):
            add_project(connection, name, page_on_disk=True)
        assert list(entries.root_names(connection, False)) == names
        found = entries.root_entries(connection, False, lambda name, _: name)
        assert list(found) == names


def test_what_is_gone_is_to_be_listed_anew_as_long_as_it_has_a_page(catalog: Catalog) -> None:
    with catalog.write() as connection:
        live = add_project(connection, "live", page_on_disk=True, page_serial=7)
        bare = add_project(connection, "bare")
        add_project(connection, "other", page_on_disk=True)
        assert not entries.is_to_relist(connection, with_gone=False)
        projects.set_gone(connection, [live, bare], Cause.UPSTREAM)
        for _ in range(2):
            assert entries.to_relist(connection, 9) == [
                StaleRootIndexEntry("live", 7, True, "upstream")
            ]
            assert entries.is_to_relist(connection, with_gone=False)
            assert not entries.is_to_relist(connection, with_gone=True)
            entries.relisted(connection)
        projects.change(connection, [{"id": live, "removal_cause": None}])
        assert entries.is_to_relist(connection, with_gone=True)
        entries.relisted(connection)
        assert entries.to_relist(connection, 9) == []


def test_the_newest_api_version_is_the_highest_and_not_the_last_in_the_alphabet(
    catalog: Catalog,
) -> None:
    with catalog.write() as connection:
        assert entries.newest_api(connection) is None
        for name, version in (("a", "1.9"), ("b", "1.10"), ("c", "1.0")):
            add_project(connection, name, api_version=version)
        assert entries.newest_api(connection) == "1.10"


def test_failures_are_one_for_each_file_and_the_last_word_wins(catalog: Catalog) -> None:
    with catalog.write() as connection:
        number, name = runs.start(
            connection, command="sync", trigger="test", config="c", arguments=[], now=1.0
        )
        first = Problem(Reason.TIMEOUT, "first", "six", "six-1.zip")
        again = Problem(Reason.TRUNCATED, "again", "six", "six-1.zip", attempts=3)
        other = Problem(Reason.TIMEOUT, "other", "six", "six-2.zip")
        runs.add_failures(connection, number, Stage.DOWNLOAD, [first, other])
        runs.add_failures(connection, number, Stage.DOWNLOAD, [again])
        runs.add_failures(connection, number, Stage.VERIFY, [first])
        found = [(r.stage, r.file, r.message) for r in runs.failures_of(connection, number)]
        assert found == [
            ("download", "six-1.zip", "again"),
            ("download", "six-2.zip", "other"),
            ("verify", "six-1.zip", "first"),
        ]
        runs.clear_failures(connection, number, Stage.DOWNLOAD, ["six"])
        assert [r.stage for r in runs.failures_of(connection, number)] == ["verify"]
        assert runs.find(connection, name[:8]).name == name  # type: ignore[union-attr]
        assert runs.find(connection, "last").name == name  # type: ignore[union-attr]
        assert runs.find(connection, "%") is None


def test_runs_are_listed_newest_first_and_crashed_ones_are_closed(catalog: Catalog) -> None:
    with catalog.write() as connection:
        options: dict[str, Any] = {"command": "sync", "trigger": "t", "config": "c", "now": 1.0}
        ids = [runs.start(connection, arguments=[], **options)[0] for _ in range(3)]
        batches.start(connection, ids[0], Stage.DISCOVER, 0)
        runs.end(connection, ids[0], runs.COMPLETED, "", {})
        runs.close_crashed(connection)
        assert [r.id for r in runs.recent(connection, 2)] == [ids[2], ids[1]]
        states = [row.state for row in runs.recent(connection, 9)]
        assert states == ["crashed", "crashed", "completed"]
        assert [s.state for s in batches.of_run(connection, ids[0])] == ["crashed"]


def test_requirements_that_no_file_has_are_forgotten_without_comparing_each_with_each(
    catalog: Catalog, database: str
) -> None:
    """With 300,000 files, PostgreSQL would have needed hours within one transaction."""
    used, unused = b"1" * 32, b"2" * 32
    with catalog.write() as connection:
        add_file(connection, add_project(connection, "six"), "six-1.0.tar.gz", sha256=used)
        requirements.add(connection, {used: Requirements(), unused: Requirements()})
        first, *_ = statements_of(connection, requirements.forget_unused)
        plan = str(plan_of(connection, first))
        assert [digest for digest, _ in requirements.every(connection)] == [used]
    assert ("SubPlan" not in plan) if database == "postgresql" else ("MATERIALIZE" in plan), plan


def test_a_question_leaves_the_settings_of_its_transaction_alone(postgresql: Databases) -> None:
    with closing(Catalog.open(postgresql.migrated())) as catalog, catalog.read() as connection:
        summaries.dependents(connection, SIX)
        assert connection.rows("SHOW enable_bitmapscan") == [("on",)]
