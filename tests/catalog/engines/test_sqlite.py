"""A transaction is ours, whoever executes its statements: the driver, or SQLAlchemy."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from pypimirror.catalog.engines import errors, sqlite
from pypimirror.catalog.engines.sqlite import SqliteFile
from pypimirror.catalog.mapping.connection import Mode

WRITES = Mode(writes=True)
NUMBERS = "SELECT number FROM numbers ORDER BY number"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteFile]:
    with closing(SqliteFile(tmp_path / "a ?file#.sqlite")) as engine:
        with closing(engine.begin(WRITES)) as connection:
            connection.run("CREATE TABLE numbers (number INTEGER PRIMARY KEY, word TEXT UNIQUE)")
            connection.commit()
        yield engine


def numbers(engine: SqliteFile) -> list[int]:
    with closing(engine.begin()) as connection:
        return [number for (number,) in connection.rows(NUMBERS)]


def test_sqlalchemy_and_the_driver_share_a_transaction(engine: SqliteFile) -> None:
    with closing(engine.begin(WRITES)) as connection:
        connection.run("INSERT INTO numbers (number) VALUES (?)", (1,))
        connection.execute(text("INSERT INTO numbers (number) VALUES (:n)"), {"n": 2})
        assert connection.alchemy.scalars(text(NUMBERS)).all() == [1, 2]
        assert connection.rows(NUMBERS) == [(1,), (2,)]
        assert numbers(engine) == []
        connection.commit()
    assert numbers(engine) == [1, 2]


def test_sqlalchemy_can_neither_commit_nor_roll_back(engine: SqliteFile) -> None:
    with closing(engine.begin(WRITES)) as connection:
        connection.execute(text("INSERT INTO numbers (number) VALUES (1)"))
        connection.alchemy.commit()
        assert numbers(engine) == []
        connection.alchemy.rollback()
        assert connection.rows(NUMBERS) == [(1,)]
    assert numbers(engine) == []


def test_what_is_not_committed_is_undone_and_the_connection_is_used_again(
    engine: SqliteFile,
) -> None:
    with closing(engine.begin(WRITES)) as first:
        first.run_many("INSERT INTO numbers (number) VALUES (?)", [(1,), (2,)])
    with closing(engine.begin(WRITES)) as second:
        assert second.raw is first.raw
        assert second.rows(NUMBERS) == []


def test_a_connection_that_failed_for_good_is_not_used_again(engine: SqliteFile) -> None:
    with closing(engine.begin(WRITES)) as first:
        first.run("INSERT INTO numbers (number) VALUES (1)")
        first.invalidate()
    with closing(engine.begin(WRITES)) as second:  # the lock is free
        assert second.raw is not first.raw
        assert second.rows(NUMBERS) == []


def test_a_connection_that_is_given_back_twice_is_kept_once(engine: SqliteFile) -> None:
    """Else two transactions would share it."""
    connection = engine.begin()
    connection.close()
    connection.close()
    with closing(engine.begin()) as first, closing(engine.begin()) as second:
        assert first.raw is not second.raw


def test_a_connection_in_use_is_closed_when_it_is_given_back(engine: SqliteFile) -> None:
    connection = engine.begin()
    engine.close()
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.raw.execute("SELECT 1")
    assert numbers(engine) == []  # it can be used again


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SqliteFile(Path("c.sqlite"))) as engine:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        engine.begin().close()
    assert (tmp_path / "c.sqlite").exists() and list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("by", ["the driver", "SQLAlchemy"])
def test_errors_are_the_same_whoever_executes(engine: SqliteFile, by: str) -> None:
    statement = "INSERT INTO numbers (word) VALUES ('a'), ('a')"
    with closing(engine.begin(WRITES)) as connection, pytest.raises(IntegrityError) as caught:
        if by == "the driver":
            connection.run(statement)
        else:
            connection.execute(text(statement))
    assert isinstance(caught.value.orig, sqlite3.IntegrityError)
    assert "UNIQUE constraint failed: numbers.word" in errors.message(caught.value)


def test_text_that_cannot_be_decoded_is_an_error_of_the_database(engine: SqliteFile) -> None:
    """The driver only notices it when it fetches the row."""
    with closing(engine.begin(WRITES)) as connection:
        connection.run("INSERT INTO numbers VALUES (1, CAST(x'ff' AS TEXT))")
        with pytest.raises(DBAPIError, match="decode"):
            connection.rows("SELECT word FROM numbers")
        with pytest.raises(DBAPIError, match="decode"):
            list(connection.parts("SELECT word FROM numbers", 10))


def test_whoever_waits_too_long_for_the_lock_is_told(
    engine: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    with closing(engine.begin(WRITES)), pytest.raises(OperationalError) as caught:
        engine.begin(WRITES)
    assert "another program has kept it locked" in errors.message(caught.value)


def test_rows_come_in_parts(engine: SqliteFile) -> None:
    with closing(engine.begin(WRITES)) as connection:
        connection.run_many("INSERT INTO numbers (number) VALUES (?)", [(n,) for n in range(5)])
        assert [len(part) for part in connection.parts(NUMBERS, 2)] == [2, 2, 1]


@pytest.mark.parametrize("end", ["commit", "close"])
def test_a_query_that_nobody_reads_to_the_end_ends_with_its_transaction(
    engine: SqliteFile, end: str
) -> None:
    """Else the driver's connection keeps the state that it saw, and may never write again."""
    with closing(engine.begin(WRITES)) as connection:
        connection.run("INSERT INTO numbers (number) VALUES (1), (2)")
        connection.commit()
    with closing(engine.begin()) as first:
        left = first.parts(NUMBERS, 1)
        assert next(left) == [(1,)]
        if end == "commit":
            first.commit()
            assert not first.raw.in_transaction
    with closing(SqliteFile(engine.file)) as other, closing(other.begin(WRITES)) as another:
        another.run("INSERT INTO numbers (number) VALUES (3)")
        another.commit()
    with closing(engine.begin(WRITES)) as second:
        assert second.raw is first.raw
        assert second.rows(NUMBERS) == [(1,), (2,), (3,)]
    with pytest.raises(ProgrammingError, match="closed cursor"):
        next(left)


def test_sqlalchemy_borrows_a_connection_again_while_a_query_is_read(engine: SqliteFile) -> None:
    for _ in range(2):
        with closing(engine.begin(WRITES)) as connection:
            connection.run("INSERT INTO numbers (word) VALUES ('a'), ('b')")
            for part in connection.parts(NUMBERS, 1):
                assert connection.alchemy.scalar(text("SELECT count(*) FROM numbers")) == 2
                assert len(part) == 1


def test_threads_do_not_borrow_each_others_connection(engine: SqliteFile) -> None:
    """Each thread sees only its own uncommitted row, through SQLAlchemy as well."""
    seen: dict[int, list[int]] = {}
    together = threading.Barrier(4)

    def read(number: int) -> None:
        with closing(engine.begin()) as connection:
            together.wait(30)
            connection.run("CREATE TEMP TABLE mine (number INTEGER)")
            connection.execute(text("INSERT INTO mine VALUES (:n)"), {"n": number})
            seen[number] = list(connection.alchemy.scalars(text("SELECT number FROM mine")))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: [number] for number in range(4)}
