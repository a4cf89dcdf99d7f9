"""A catalog whose rows hold nonsense: one clear error in place of a traceback or a wrong page."""

from __future__ import annotations

import itertools
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary

from pypimirror.catalog import damage
from pypimirror.catalog.database import CatalogError
from pypimirror.catalog.holder import Holder, Machine
from pypimirror.catalog.marks import PAIR, TIME, TOTALS
from pypimirror.catalog.schema import metadata
from pypimirror.cli.actions import history
from pypimirror.config.settings import ConfigError
from pypimirror.doctor import catalog as examination
from pypimirror.domain.model import Reason
from pypimirror.metrics import exposition
from pypimirror.pipeline import lifecycle, retry, sequence
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.download import adopt
from pypimirror.pipeline.preview.explain import explain
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.pipeline.summary import Summary
from pypimirror.verify.proof import Proof
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, attest, offer
from tests.sampling import sample
from tests.simulator import Simulator, Status

pytestmark = pytest.mark.sqlite  # which holds in any column what anybody puts there

#: Below the mirror root.
CATALOG = ".pypimirror/catalog.sqlite"

_JSON = {
    *("other_urls", "digests", "extra", "versions", "facts", "arguments", "counts", "holder"),
    "found",
}
_WORDS = {
    "api_version",
    "removal_cause",
    "status",
    "location",
    "upload_time",
    "reason",
    "stage",
    "state",
    "executor",
}


def nonsense(column: Column[Any]) -> Iterator[object]:
    """What a column can never hold."""
    if not column.nullable:
        yield None
    if isinstance(column.type, Boolean | Integer | Float):
        yield from ("nonsense", b"\xff")
        yield from (() if isinstance(column.type, Float) else (1.5,))
    elif isinstance(column.type, LargeBinary):
        yield from ("nonsense", 7, b"short")
    else:
        yield b"\xff"
    if column.name in _JSON:
        yield from ("{", "7", '[{"a": []}, 7]')
    if column.name in _WORDS:
        yield "../nonsense" if not isinstance(column.type, Integer) else 99
    if column.name in ("size", "held_files", "held_bytes", "serial", "page_serial", "attempts"):
        yield -1


CASES = [
    (f"{table.name}.{column.name}", value)
    for table in metadata.sorted_tables
    for column in table.columns
    # Not a key that SQLite lets nobody change to what is no number.
    if not (column.primary_key and isinstance(column.type, Integer))
    for value in nonsense(column)
]


def damaged(file: Path, where: str, value: object) -> int:
    """Put a value into every row of a column, whatever the table demands; how many there are."""
    table, column = where.split(".")
    with closing(sqlite3.connect(file)) as connection, connection:
        # Without constraints, as what a disk has damaged keeps to none.
        connection.execute("PRAGMA writable_schema = ON")
        free = "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = ?"
        connection.execute(free, (table,))
    with closing(sqlite3.connect(file)) as connection, connection:
        statement = f'UPDATE OR REPLACE "{table}" SET "{column}" = ?'
        return connection.execute(statement, (value,)).rowcount


def test_no_column_may_hold_nonsense() -> None:
    for where, value in CASES:
        table, column = where.split(".")
        (rule,) = (rule for rule in damage.RULES[table] if rule.column == column)
        assert not rule.allows(value), (where, value)


def test_the_rules_know_all_levels_of_proof() -> None:
    (rule,) = (rule for rule in damage.RULES["files"] if rule.column == "proof")
    assert [n for n in range(-5, 50) if rule.allows(n)] == [int(level) for level in Proof]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror with rows in all tables, and something to do for all of its pages."""
    with Simulator() as simulator:
        for file in offer(simulator, "six", "1.0", "2.0"):
            attest(file)
        bad, _ = offer(simulator, "attrs", "1.0", "2.0")
        simulator.fault(bad, Status(404))
        offer(simulator, "wheel", "1.0")[0].set(digests={"sha256": "no digest"})
        app = make_wheel("app", "1.0", requires=["wheel"])
        simulator.add_file("app", *app, core_metadata=True)
        mirror = Mirror(
            tmp_path_factory.mktemp("damage"),
            simulator,
            delete={"grace": "0s"},
            select={"projects": ["s*", "a*"], "dependencies": "all"},
        )
        assert mirror.sync().state == "incomplete"
        mirror.query(
            "UPDATE projects SET page_stale = 1, has_work = 1, needs_fetch = 1, page_digest = NULL"
        )
        mirror.query(
            "INSERT INTO leases VALUES ('run', ?, 0)",
            msgspec.json.encode(Holder(Machine("elsewhere"), 1, 1, "token")).decode(),
        )
        mirror.query(
            "INSERT INTO workers (run_id, name, executor, holder, host, state, started_at, "
            "expires_at, batches, projects) SELECT 1, '1', 'shard', holder, 'h', 'lost', 0, 0, 0, 0"
            " FROM leases"
        )
        mirror.query("INSERT INTO claims VALUES (1, 1, 1, 1)")
        mirror.query("INSERT INTO asked VALUES ('six', 'six-1.0.tar.gz', 1, 0, 0, 1)")
        assert all(mirror.query(f'SELECT 1 FROM "{name}"') for name in damage.RULES)
        yield mirror


def verify(mirror: Mirror) -> Summary:
    """A whole verification."""

    def work(run: Run) -> None:
        audit.audit(run, audit.Options(), lambda _: None)

    return lifecycle.sync(mirror.config, (), work, command="verify", trigger="test")


def take_over(mirror: Mirror) -> Summary:
    """What `adopt` does."""

    def work(run: Run) -> None:
        adopt.adopt(run, sequence.sync)

    return lifecycle.sync(mirror.config, (), work, command="adopt", trigger="test")


def look_back(mirror: Mirror) -> None:
    """What `retry` does before it hands a run on."""
    with history.open_catalog(mirror.config) as catalog, catalog.read() as connection:
        retry.find_run(connection, None)


def examined(mirror: Mirror) -> str | None:
    """What `doctor` says."""
    (finding,) = examination.check(mirror.config)
    return f"{finding.state} {finding.seen} {finding.remedy}"


def measured(mirror: Mirror) -> str | None:
    """What `metrics` says beside figures, if it takes the catalog for one that cannot be read."""
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    exposition.log.addHandler(handler)
    try:
        is_up = b"pypimirror_catalog_up 1.0" in exposition.render(mirror.config)
    finally:
        exposition.log.removeHandler(handler)
    assert is_up is not bool(heard)
    return heard[0] if heard else None


Act = Callable[[Mirror], Any]

#: Commands that read, and may share a mirror.
READING: dict[str, Act] = {
    "status": lambda m: history.status(m.config, (), as_json=False),
    "status six": lambda m: history.status(m.config, ("six", "attrs"), as_json=False),
    "runs": lambda m: history.list_runs(m.config, 10, None, as_json=False),
    "runs show": lambda m: history.show_run(
        m.config, "last", history.RunParts(files=True), as_json=False
    ),
    "explain": lambda m: explain(m.config, "six"),
    "sync --dry-run": lambda m: m.plan(),
    "retry": look_back,
    "doctor": examined,
    "metrics": measured,
}
#: Those that write.
WORKING: dict[str, Act] = {
    "sync": lambda m: m.sync(sound=False),
    "verify": verify,
    "adopt": take_over,
}


def told(act: Act, mirror: Mirror) -> str | None:
    """What a command says of a catalog; None where it does not find it wrong."""
    try:
        result = act(mirror)
    except CatalogError as error:
        return str(error)
    except (ConfigError, StoppedError):
        return None  # no such run, no such project
    if isinstance(result, Summary):
        if result.state != "failed":
            return None
        ending = {problem.reason for problem in result.failures if not problem.project}
        assert ending == {Reason.CATALOG}
        return result.message
    return result if isinstance(result, str) else None


def copy(room: Mirror, base: Path) -> Mirror:
    shutil.copytree(room.base, base)
    return Mirror(base, *room.simulators, delete={"grace": "0s"})


def pages(mirror: Mirror) -> dict[str, bytes]:
    top = mirror.root / "simple"
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("where", "value"), [("files.size", -1), ("projects.versions", "{"), ("leases.holder", "{")]
)
def test_every_command_tells_a_damaged_catalog_as_that(
    room: Mirror, tmp_path: Path, where: str, value: object
) -> None:
    for name in READING | WORKING:
        assert_is_told(copy(room, tmp_path / name), where, value, name)


@pytest.mark.thorough
def test_each_column_with_nonsense_is_told_as_damage(room: Mirror, tmp_path: Path) -> None:
    """By one command each, in turn: all of them look through the rows in the same place."""
    for number, (case, name) in enumerate(zip(CASES, itertools.cycle(READING), strict=False)):
        assert_is_told(copy(room, tmp_path / str(number)), *case, name)
        if number % 10 == 0:
            mirror = copy(room, tmp_path / f"{number} too")
            assert_is_told(mirror, *case, list(WORKING)[number // 10 % len(WORKING)])


def assert_is_told(mirror: Mirror, where: str, value: object, name: str) -> None:
    table, column = where.split(".")
    assert damaged(mirror.root / CATALOG, where, value)
    before = pages(mirror)
    said = told((READING | WORKING)[name], mirror)
    about = (name, where, value, said)
    assert said is not None, about
    assert "is damaged: " in said, about
    assert f"{column} of row" in said, about
    assert f"of table {table} is" in said, about
    assert "pypimirror adopt" in said, about
    assert pages(mirror) == before, about


@pytest.mark.parametrize(
    ("where", "value"),
    sample(CASES, ("files.size", "nonsense"), ("projects.api_version", "../nonsense")),
)
def test_no_row_of_a_large_catalog_makes_a_traceback_or_a_wrong_page(
    room: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, value: object
) -> None:
    """Whose rows are not looked through before: not all commands come across what is wrong.

    Each value meets the commands that read it as it is, and one of those that take long.
    """
    monkeypatch.setattr(damage, "SMALL", 0)
    mirror = None
    long = ("sync", "verify", "adopt", "sync --dry-run")
    skipped = {name for n, name in enumerate(long) if n != CASES.index((where, value)) % len(long)}
    for name, act in (READING | WORKING).items():
        if name in skipped:
            continue
        if mirror is None or name in WORKING:
            mirror = copy(room, tmp_path / name)
            damaged(mirror.root / CATALOG, where, value)
        said = told(act, mirror)
        assert said is None or "damaged" in said, name
        assert said is not None or name not in ("doctor", "verify")
        assert mirror.faults() == [], name


@pytest.mark.parametrize("table", ["files", "runs"])
def test_every_command_says_that_a_page_of_the_database_is_damaged(
    room: Mirror, tmp_path: Path, table: str
) -> None:
    """Fault: the commands that only read called it a fault of pypimirror, with a traceback."""
    for name, act in (READING | WORKING).items():
        mirror = copy(room, tmp_path / name)
        overwrite(mirror.root / CATALOG, table)
        said = told(act, mirror)
        assert said is not None, name
        assert "malformed" in said or "btreeInitPage" in said, said
        assert "pypimirror adopt" in said or name == "doctor", said


def overwrite(file: Path, table: str) -> None:
    """Overwrite the first page of a table, as a disk may."""
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = connection.execute(query, (table,))
        ((size,),) = connection.execute("PRAGMA page_size")
    with file.open("r+b") as opened:
        opened.seek((page - 1) * size)
        opened.write(b"\xfe" * size)


def test_no_file_leaves_its_page_because_its_row_is_nonsense(
    room: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A size that is no number differs from that on disk, as that of a lost file does."""
    monkeypatch.setattr(damage, "SMALL", 0)
    mirror = copy(room, tmp_path / "copy")
    damaged(mirror.root / CATALOG, "files.size", -1)
    before = pages(mirror)
    assert "size of row" in (told(WORKING["sync"], mirror) or "")
    assert pages(mirror) == before


@pytest.mark.parametrize("mark", ["held", "statistics", "recheck sim0"])
def test_marks_are_told_as_damage_where_they_are_not_the_numbers_that_they_should_be(
    room: Mirror, tmp_path: Path, mark: str
) -> None:
    mirror = copy(room, tmp_path / "copy")
    mirror.query("DELETE FROM marks WHERE name = ?", mark)
    mirror.query("INSERT INTO marks VALUES (?, 'nonsense')", mark)
    said = told(WORKING["sync"], mirror) or ""
    assert f"value of row '{mark}' of table marks is 'nonsense'" in said


@pytest.mark.parametrize("text", ["x", "1 x", "-1 2", "1.5 2", "nan", "inf"])
def test_marks_that_are_no_numbers_are_not_read_as_some(text: str) -> None:
    for form in (PAIR, TIME, TOTALS):
        with pytest.raises(ValueError, match=r"."):
            form.parse(text)
