"""A prepared statement does what SQLAlchemy would do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Insert, Select, Update, bindparam, column, insert, select, table, update
from sqlalchemy.exc import IntegrityError

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.mapping import compiling, mapper, prepared
from pypimirror.catalog.mapping.prepared import among, statement
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.schema import files, marks, projects
from tests.catalog.plans import plan_of
from tests.catalog.test_queries import add_file, add_project


@statement
def by_id() -> Select[Any]:
    return select(projects).where(among(projects.c.id)).order_by(projects.c.id)


@statement
def by_name() -> Select[Any]:
    return select(projects).where(among(projects.c.name, "names")).order_by(projects.c.id)


@statement
def of_projects() -> Select[Any]:
    return select(files).where(among(files.c.project_id)).order_by(files.c.id)


@statement
def tag() -> Update:
    return update(projects).where(among(projects.c.id)).values(etag=bindparam("tag"))


@statement
def mark() -> Insert:
    return insert(marks).values(name=bindparam("n"), value=bindparam("v"))


@statement
def of_the_list() -> Select[Any]:
    return select(column("a")).select_from(table("b")).where(column("a").in_([1]))


@pytest.fixture
def ids(catalog: Catalog) -> list[int]:
    with catalog.write() as connection:
        return [
            add_project(connection, name, choice_until=1.5, page_sha256=b"\x00\xff", listed=listed)
            for name, listed in (("attrs", True), ("six", None), ("yarl", True))
        ]


@pytest.mark.parametrize("chosen", [[], [0], [2, 0, 2], range(3)])
def test_records_are_those_of_an_ordinary_query(
    catalog: Catalog, ids: list[int], chosen: Sequence[int]
) -> None:
    wanted = [ids[n] for n in chosen]
    with catalog.read() as connection:
        plain = select(projects).where(projects.c.id.in_(wanted)).order_by(projects.c.id)
        expected = [ProjectRecord(*row) for row in connection.execute(plain)]
        found = mapper.read_all(connection, by_id(), ProjectRecord, {"ids": wanted})
        names = {row.name for row in expected}
        again = mapper.read_all(connection, by_name(), ProjectRecord, {"names": names})
    assert found == expected == again
    assert all(type(row.has_work) is bool for row in found)


def test_addresses_of_files_are_whole(catalog: Catalog, ids: list[int]) -> None:
    address = "http://127.0.0.1/a/six-1.0.zip"
    with catalog.write() as connection:
        add_file(connection, ids[1], "six-1.0.zip", url=address)
        (row,) = mapper.read_all(connection, of_projects(), FileRecord, {"ids": ids})
    assert row.url == address


def test_a_statement_that_changes_rows_says_how_many(catalog: Catalog, ids: list[int]) -> None:
    with catalog.write() as connection:
        values = {"ids": [*ids[:2], 10**12], "tag": 'W/"%s"'}
        assert prepared.execute(connection, tag(), values) == 2
        found = mapper.read_all(connection, by_id(), ProjectRecord, {"ids": ids})
    assert [row.etag for row in found] == ['W/"%s"', 'W/"%s"', None]


def test_more_values_than_a_statement_may_have_parameters(catalog: Catalog, ids: list[int]) -> None:
    many = range(ids[0], ids[0] + 100_000)
    with catalog.read() as connection:
        assert len(prepared.rows(connection, by_id(), {"ids": many})) == 3


def test_a_list_of_values_is_found_by_index(catalog: Catalog, ids: list[int]) -> None:
    """Else each batch of a sync would read the whole table."""
    with catalog.read() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("it reads small tables whole")
        text = compiling.compile_for(compiling.dialect_of("sqlite"), of_projects().build()).text
        plan = plan_of(connection, (text, ("% ", str(ids))))
    assert any(step.startswith("SEARCH files USING INDEX") for step in plan)


def test_a_damaged_flag_is_no_record(catalog: Catalog, ids: list[int]) -> None:
    with catalog.write() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("it keeps no such value")
        connection.run("UPDATE projects SET has_work = 'yes'")
        with pytest.raises(ValueError, match="neither true nor false"):
            mapper.read_all(connection, by_id(), ProjectRecord, {"ids": ids})


def test_rows_are_streamed_as_they_are_read_at_once(catalog: Catalog, ids: list[int]) -> None:
    with catalog.read() as connection:
        streamed = list(mapper.stream(connection, by_id(), ProjectRecord, {"ids": ids}))
        assert streamed == mapper.read_all(connection, by_id(), ProjectRecord, {"ids": ids})
        first = mapper.read_first(connection, by_id(), ProjectRecord, {"ids": ids})
    assert first == streamed[0]


def test_a_stream_does_not_hold_all_rows_in_memory(catalog: Catalog, ids: list[int]) -> None:
    with catalog.read() as connection:
        if connection.dialect.name == "sqlite":
            pytest.skip("it finds a row when it is read")
        rows = prepared.stream(connection, by_id(), {"ids": ids})
        next(rows)
        assert connection.rows("SELECT count(*) FROM pg_cursors") == [(1,)]
        assert len(list(rows)) == len(ids) - 1


def test_a_statement_for_each_of_many_rows(catalog: Catalog) -> None:
    rows = [{"n": str(number), "v": "x"} for number in range(3)]
    with catalog.write() as connection:
        assert prepared.execute_many(connection, mark(), rows) == 3
        assert prepared.execute_many(connection, mark(), []) == 0


def test_errors_of_the_driver_are_those_of_the_catalog(catalog: Catalog) -> None:
    with catalog.write() as connection:
        prepared.execute(connection, mark(), {"n": "a", "v": "b"})
        with pytest.raises(IntegrityError):
            prepared.execute(connection, mark(), {"n": "a", "v": "c"})


def test_a_list_in_the_statement_itself_is_refused(catalog: Catalog) -> None:
    """Its parameters would be expanded at each execution."""
    with catalog.read() as connection, pytest.raises(AssertionError, match="among"):
        prepared.rows(connection, of_the_list(), {})
