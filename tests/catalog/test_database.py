"""Opening, migrating and sharing the catalog."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError

import pypimirror.catalog
from pypimirror.catalog import inspection
from pypimirror.catalog.database import (
    SCHEMA_REVISION,
    Catalog,
    CatalogError,
    copy,
    engine_for,
    is_absent,
    sqlite_file,
    upgrade,
)
from pypimirror.catalog.engines import sqlite
from pypimirror.catalog.engines.sqlite import SqliteConnection
from pypimirror.catalog.marks import TEXT, Mark
from pypimirror.catalog.queries import entries, listed, marks, projects, runs, withdrawals
from pypimirror.catalog.queries.work import claims, tries, workers
from pypimirror.catalog.schema import metadata
from pypimirror.catalog.states import Cause
from pypimirror.domain.model import ProjectName
from pypimirror.system.project import project_directory
from tests.catalog.plans import plan_of, statements_of
from tests.databases import Databases
from tests.postgresql import execute

WORDS = ("summaries_words", "ix_summaries_words")


def script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(project_directory() / "migrations"))
    return ScriptDirectory.from_config(config)


def names(catalog: Catalog) -> list[str]:
    with catalog.read() as connection:
        return sorted(row.name for row in listed.known(connection))


def ensure(catalog: Catalog, *wanted: str) -> None:
    with catalog.write() as connection:
        projects.ensure(connection, [ProjectName(name) for name in wanted])


@pytest.fixture
def migrated(url: str) -> Iterator[Catalog]:
    """A catalog that was made by the migrations, one after the other."""
    catalog = Catalog(engine_for(url))
    with catalog.write() as connection:
        upgrade(connection, None, url)
    yield catalog
    catalog.close()


def test_the_migrations_make_the_tables_that_the_program_uses(migrated: Catalog) -> None:
    with migrated.read() as connection:
        # The index of words is different on each database, and no table or column of ours.
        ours = {"include_name": lambda name, *_: not (name or "").startswith(WORDS)}
        context = MigrationContext.configure(
            connection.alchemy, opts={"compare_type": True, **ours}
        )
        assert compare_metadata(context, metadata) == []


def test_no_query_lets_all_later_ones_of_its_connection_stream() -> None:
    """Options of a connection stay: on PostgreSQL, an UPDATE then asks for a cursor, and fails."""
    for file in Path(pypimirror.catalog.__file__).parent.rglob("*.py"):
        assert "connection.execution_options(yield_per" not in file.read_text(), file.name


@pytest.mark.sqlite
def test_the_migrations_make_the_indexes_with_their_conditions(migrated: Catalog) -> None:
    """Alembic does not compare the conditions of partial indexes."""
    other = Catalog.open("sqlite://")
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"

    def indexes(opened: Catalog) -> dict[str, str]:
        with opened.read() as connection:
            return {name: " ".join(text.split()) for name, text in connection.rows(query)}

    made, meant = indexes(migrated), indexes(other)
    other.close()
    assert {k: v.replace("files.", "").replace("projects.", "") for k, v in meant.items()} == made


def test_the_same_indexes_have_conditions_on_postgresql(postgresql: Databases) -> None:
    partial = {
        index.name
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    rows = execute(postgresql.migrated(), "SELECT indexname, indexdef FROM pg_indexes")
    assert {row["indexname"] for row in rows if " WHERE " in row["indexdef"]} >= partial
    assert partial


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        ("ix_projects_has_work", lambda connection: projects.next_batch(connection, 0, 10, None)),
        ("ix_projects_root_entry_stale", lambda connection: entries.to_relist(connection, 10)),
        (
            "ix_projects_root_entry_stale",
            lambda connection: entries.is_to_relist(connection, with_gone=False),
        ),
        ("ix_projects_root_entry_stale", lambda connection: entries.relisted(connection)),
        ("ix_projects_api", lambda connection: entries.newest_api(connection)),
        ("ix_projects_page_serial", lambda connection: entries.newest_serial(connection)),
        ("ix_files_next_try", lambda connection: tries.wake(connection, 5.0)),
        ("ix_files_next_try", lambda connection: tries.wait_no_more(connection)),
        ("ix_files_next_try", lambda connection: list(tries.waiting(connection, 5.0, None))),
        ("ix_files_leaving", lambda connection: list(withdrawals.next_leaving(connection))),
        (
            "ix_files_leaving",
            lambda connection: list(withdrawals.dropped(connection, [Cause.UPSTREAM])),
        ),
        (
            "ix_files_past",
            lambda connection: list(withdrawals.dropped(connection, withdrawals.LOSSES)),
        ),
        ("ix_files_past", lambda connection: withdrawals.count_withheld(connection)),
        ("ix_files_past", lambda connection: withdrawals.let_go(connection, 5.0)),
    ],
)
def test_what_is_left_to_do_is_found_by_its_index(
    catalog: Catalog, database: str, index: str, ask: Callable[[Connection], Any]
) -> None:
    """A partial index is taken only where the query says its condition in the same words."""
    ensure(catalog, "six")
    with catalog.write() as connection:
        if database == "postgresql":  # a table of one row is read faster without any index
            connection.run("SET LOCAL enable_seqscan = off")
        asked = statements_of(connection, ask)
        assert asked
        for statement in asked:
            plan = plan_of(connection, statement)
            assert any(index in step for step in plan), plan
            assert "SCAN files" not in plan, plan


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        ("ix_projects_has_work", lambda connection: claims.take(connection, 1, 1, 0, 10, None)),
        ("ix_projects_has_work", lambda connection: claims.number_free(connection, 0, 10, None)),
        ("pk_claims", lambda connection: claims.number_free(connection, 0, 10, None)),
        ("ix_claims_worker_id_batch", lambda connection: claims.release(connection, 1, 1)),
        ("pk_claims", lambda connection: claims.reopen(connection, [1, 2])),
        ("ix_claims_worker_id_batch", lambda connection: claims.of_batch(connection, 1, 1)),
        ("ix_claims_worker_id_batch", lambda connection: claims.drop(connection, [1, 2])),
        ("ix_claims_in_hand", claims.is_any_left),
        ("ix_workers_run_id", lambda connection: workers.others(connection, 1, 2)),
        ("ix_workers_run_id", lambda connection: workers.close(connection, 1, "")),
        ("ix_workers_run_id", lambda connection: workers.of_run(connection, 1)),
        ("pk_workers", lambda connection: workers.is_working(connection, 1)),
        ("pk_workers", lambda connection: workers.lose(connection, [1], [2])),
    ],
)
def test_no_query_of_a_claim_reads_a_whole_table(
    catalog: Catalog, database: str, index: str, ask: Callable[[Connection], Any]
) -> None:
    """With 740,000 projects, a claim that looks at each of them would cost more than its batch."""
    ensure(catalog, "six")
    with catalog.write() as connection:
        if database == "postgresql":
            connection.run("SET LOCAL enable_seqscan = off")
        elif index.startswith("pk_"):  # SQLite calls it after the way, not after the index
            index = "INTEGER PRIMARY KEY"
        plans = [
            str(plan_of(connection, statement)) for statement in statements_of(connection, ask)
        ]
    assert any(index in plan for plan in plans), plans
    for plan in plans:
        assert "Seq Scan" not in plan, plan
        assert not any(f"'SCAN {table}'" in plan for table in metadata.tables), plan


def test_no_migration_says_what_only_sqlite_understands() -> None:
    for file in (project_directory() / "migrations" / "versions").glob("*.py"):
        for line in file.read_text().splitlines():
            assert not ("postgresql_where" in line and " IS 1" in line), f"{file.name}: {line}"


def test_the_revision_that_the_program_names_is_the_newest_migration() -> None:
    assert script().get_heads() == [SCHEMA_REVISION]


def test_migrations_can_be_undone_and_done_again(catalog: Catalog) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(project_directory() / "migrations"))
    with catalog.write() as connection:
        config.attributes["connection"] = connection.alchemy
        command.downgrade(config, "base")
        assert inspect(connection.alchemy).get_table_names() == ["alembic_version"]
        command.upgrade(config, "head")
    ensure(catalog, "six")


def test_opening_again_keeps_what_is_there(url: str) -> None:
    first = Catalog.open(url)
    ensure(first, "six")
    first.close()
    second = Catalog.open(url)
    assert names(second) == ["six"]
    second.close()


def test_several_may_open_a_new_catalog_at_once(url: str) -> None:
    errors: list[Exception] = []

    def open_it() -> None:
        try:
            Catalog.open(url).close()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_newer_catalog_is_refused_with_the_remedy(url: str) -> None:
    with closing(Catalog.open(url)) as catalog, catalog.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CatalogError, match=r"newer pypimirror \(schema 9999\); install"):
        Catalog.open(url)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_damaged_catalog_is_refused_with_the_remedy(
    url: str, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"catalog\.sqlite.*restore it from a backup"):
        Catalog.open(url)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused(url: str) -> None:
    with closing(Catalog(engine_for(url))) as other, other.write() as connection:
        connection.run("CREATE TABLE files (name TEXT)")
    with pytest.raises(CatalogError, match="is not pypimirror's"):
        Catalog.open(url)


@pytest.mark.parametrize(
    "url", ["nonsense", "", "sqlite:////nowhere/at/all/c.sqlite", "nosuchdb://host/x"]
)
def test_a_url_that_leads_nowhere_is_an_error_of_the_catalog(url: str) -> None:
    with pytest.raises(CatalogError):
        Catalog.open(url)


@pytest.mark.parametrize("way", [Catalog.open, Catalog.open_for_reading, inspection.look])
@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///c.db?timeout=5",
        "sqlite://host/c.db",
        "sqlite+aiosqlite:///c.db",
        "sqlite://a:b@/c.db",
    ],
)
def test_an_address_that_says_more_than_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, way: Callable[[str], Any]
) -> None:
    """Else another file than the one that was meant would be made, and be empty."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError, match="an SQLite file is sqlite:///PATH"):
        way(url)
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(CatalogError, match="driver"):
        Catalog.open("mysql+pymysql://user:secret@127.0.0.1/x")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/c.sqlite", "bad url with secret"])
def test_messages_hide_passwords(url: str) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog.open(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "opening", [Catalog.open_for_reading, partial(Catalog.open, migrating=False)]
)
def test_a_catalog_that_is_being_made_is_not_said_to_be_of_another_version(
    url: str, opening: Callable[[str], Catalog]
) -> None:
    if (file := sqlite_file(url)) is not None:
        file.touch()
    with pytest.raises(CatalogError, match="has no tables yet; the process that makes it"):
        opening(url)


@pytest.mark.sqlite
def test_absent_is_only_an_sqlite_file_that_is_not_there(url: str, tmp_path: Path) -> None:
    assert is_absent(url)
    (tmp_path / "catalog.sqlite").touch()
    assert not is_absent(url)
    assert not is_absent("sqlite://")
    assert not is_absent("postgresql://host/x")
    assert not is_absent("nonsense")


def test_a_copy_is_the_same_and_leaves_the_original_alone(catalog: Catalog, tmp_path: Path) -> None:
    ensure(catalog, "six")
    with catalog.write() as connection:
        marks.write(connection, Mark("x", TEXT), "y")
        said = {"command": "sync", "trigger": "test", "config": "", "arguments": (), "now": 1.5}
        runs.start(connection, **said)
    with closing(copy(catalog, tmp_path / "copy")) as copied:
        assert every_row(copied) == every_row(catalog)
        ensure(copied, "idna")
        assert names(copied) == ["idna", "six"]
    assert names(catalog) == ["six"]


def every_row(catalog: Catalog) -> dict[str, list[tuple[Any, ...]]]:
    with catalog.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(table.select())))
            for table in metadata.sorted_tables
        }


def test_a_catalog_is_copied_while_somebody_writes(catalog: Catalog, tmp_path: Path) -> None:
    ensure(catalog, "six")
    other = Catalog.open(str(catalog.engine.url))
    with closing(other), other.write() as connection:
        projects.ensure(connection, [ProjectName("idna")])
        with closing(copy(catalog, tmp_path / "copy")) as copied:
            assert names(copied) == ["six"]


def test_a_disk_that_is_too_small_for_a_copy_is_named(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"cannot be copied to /dev/full/copy, in .*TMPDIR"):
        copy(catalog, Path("/dev/full/copy"))


def test_a_copy_that_finds_no_room_is_closed_and_says_where_room_is_needed(
    catalog: Catalog, tmp_path: Path
) -> None:
    ensure(catalog, *(f"a-project-with-quite-a-long-name-{number}" for number in range(20_000)))
    before = set(os.listdir("/dev/fd"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(CatalogError, match=r"copy, in .*TMPDIR.*check its disk") as raised:
            copy(catalog, tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(os.listdir("/dev/fd")) == before, raised.value


def test_a_write_that_fails_writes_nothing(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), catalog.write() as connection:
        projects.ensure(connection, [ProjectName("six")])
        raise ZeroDivisionError
    assert names(catalog) == []


COUNT = Mark("count", TEXT)


def test_two_threads_write_one_after_the_other(catalog: Catalog) -> None:
    """A transaction that reads and then writes must not lose what another wrote meanwhile."""
    with catalog.write() as connection:
        marks.write(connection, COUNT, "0")
    errors: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(25):
                with catalog.write() as connection:
                    value = int(marks.read(connection, COUNT) or 0)
                    marks.write(connection, COUNT, str(value + 1))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with catalog.read() as connection:
        assert marks.read(connection, COUNT) == "100"


def test_a_file_system_that_locks_no_directories_is_good_enough(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, what: int) -> None:
        raise OSError(errno.EBADF, f"no lock {what}")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with closing(Catalog.open(url)) as catalog:
        with catalog.write() as connection:
            projects.ensure(connection, [ProjectName("six")])
        with catalog.read() as connection:
            assert projects.by_name(connection, ["six"])


def test_a_reader_sees_one_state_while_another_thread_writes(catalog: Catalog) -> None:
    ensure(catalog, "six")
    with catalog.read() as connection:
        before = [row.name for row in listed.known(connection)]
        thread = threading.Thread(target=ensure, args=(catalog, "idna"))
        thread.start()
        thread.join()
        assert [row.name for row in listed.known(connection)] == before
    assert names(catalog) == ["idna", "six"]


def test_a_catalog_that_is_closed_leaves_no_file_open(tmp_path: Path) -> None:
    """Fault: the lock of the writers' turns stayed open, once for each catalog of a process."""
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    numbers = []
    for _ in range(3):
        with closing(Catalog.open(url)) as catalog:
            ensure(catalog, "six")
        numbers.append(len(list(Path("/dev/fd").iterdir())))
    assert numbers[1] == numbers[2]


def test_a_commit_that_fails_leaves_no_lock_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that is closed for good gives back all its locks."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.1)
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    with closing(Catalog.open(url)) as one, closing(Catalog.open(url)) as two:

        def fail(_connection: Connection) -> None:
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

        with monkeypatch.context() as broken, pytest.raises(OperationalError):
            broken.setattr(SqliteConnection, "commit", fail)
            ensure(one, "six")
        ensure(two, "idna")
        assert names(two) == ["idna"]
