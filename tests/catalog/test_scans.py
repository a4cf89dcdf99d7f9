"""No statement of a sync reads a whole large table, except for the comparison with the list.

Each statement is explained where it is executed: in its transaction, with its settings and values.
The catalog is large enough for PostgreSQL to prefer an index; SQLite prefers one anyway.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, Table, event

from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.engines import sqlite
from pypimirror.catalog.queries import statistics
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

#: Projects that are really mirrored, how many of them change, and copies of the row of each.
REAL, CHANGED, COPIES = 40, 30, 500

#: The copies have the serials after this one.
FIRST = 1_000_000

#: Tables that have a row for each project or more. The others are small, or each run reports all
#: their rows (refusals). `claims` have tests of their own, as they are few when a run begins.
LARGE = {"projects", "files", "summaries", "dependents"}

#: Indices that have a row for few projects or files: whoever reads them whole reads little.
PARTIAL = {
    str(index.name)
    for table in schema.metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}

#: What may read a large table, by the beginning of the statement.
ALLOWED = (
    # The comparison with the upstream's list.
    "SELECT projects.name, projects.serial, projects.upstream, projects.selection,",
    # Whether tables are small: each count stops after so many rows.
    'SELECT (SELECT count(*) FROM (SELECT 1 FROM "projects" LIMIT 1001) AS few)',
)

_EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class Plans:
    """The statements that read a large table whole, each with the part of its plan."""

    def __init__(self) -> None:
        self.whole: dict[str, str] = {}
        self.seen: set[str] = set()
        self._lock = threading.Lock()

    def of_alchemy(
        self,
        connection: Connection,
        cursor: Any,
        statement: str,
        values: Any,
        context: object,
        many: bool,
    ) -> None:
        """Explain a statement that SQLAlchemy is about to execute."""
        del cursor, context
        is_sqlite = connection.dialect.name == "sqlite"
        asked = connection.connection.cursor()
        self.explain(asked, statement, values[0] if many else values, is_sqlite=is_sqlite)
        asked.close()

    def explain(self, cursor: Any, statement: str, values: Any, *, is_sqlite: bool) -> None:
        """Explain a statement that is about to be executed the first time."""
        with self._lock:
            if statement in self.seen or not statement.startswith(_EXPLAINED):
                return
            self.seen.add(statement)
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN (FORMAT JSON)"
        cursor.execute(f"{explain} {statement}", values)
        rows = cursor.fetchall()
        found = _whole_sqlite(rows) if is_sqlite else _whole_postgresql(rows[0][0])
        if found:
            self.whole[" ".join(statement.split())] = "; ".join(found)


def _whole_sqlite(rows: list[Any]) -> list[str]:
    found = []
    for row in rows:
        scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?$", row[3])
        if scan and scan[1] in LARGE and scan[2] not in PARTIAL:
            found.append(row[3])
    return found


def _whole_postgresql(plans: Any) -> list[str]:
    return [text for plan in plans for text in _of_node(plan["Plan"], stops=False)]


def _of_node(node: dict[str, Any], *, stops: bool) -> Iterator[str]:
    """Yield the scans of a plan. With `stops`, only the first rows of this node are needed."""
    kind, table = node["Node Type"], node.get("Relation Name")
    index = node.get("Index Name")
    is_bounded = stops or "Index Cond" in node or index in PARTIAL
    is_scan = kind == "Seq Scan" or (kind.startswith("Index") and not is_bounded)
    if is_scan and table in LARGE:
        yield f"{kind} {table} {index or ''}"
    stops = kind == "Limit" or (stops and kind not in ("Sort", "Aggregate", "Hash"))
    for part in node.get("Plans", ()):
        yield from _of_node(part, stops=stops)


@contextmanager
def explained() -> Iterator[Plans]:
    """Explain all statements, of SQLAlchemy and of our own connections."""
    plans = Plans()
    event.listen(Engine, "before_cursor_execute", plans.of_alchemy)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "executemany"):
            patch.setattr(sqlite._Raw, name, _explaining(plans, getattr(sqlite._Raw, name)))
        yield plans
    event.remove(Engine, "before_cursor_execute", plans.of_alchemy)


def _explaining(plans: Plans, real: Callable[..., Any]) -> Callable[..., Any]:
    def execute(raw: sqlite._Raw, statement: str, values: Any = ()) -> Any:
        given = values[0] if real.__name__ == "executemany" else values
        plans.explain(raw.cursor(), statement, given, is_sqlite=True)
        return real(raw, statement, values)

    return execute


def multiply(mirror: Mirror) -> None:
    """Write copies of all projects into the catalog, with their files, and no work to do."""
    projects = _columns(schema.projects, "id", "name", "serial", "page_serial")
    serial = f"{FIRST} + number * {REAL} + id"
    mirror.query(
        f"WITH RECURSIVE numbers (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM numbers "
        f"WHERE number < {COPIES - 1}) "
        f"INSERT INTO projects (name, serial, page_serial, {projects}) "
        f"SELECT name || '-copy-' || number, {serial}, {serial}, {projects} "
        "FROM projects CROSS JOIN numbers"
    )
    copies = (
        f"(SELECT id AS copy, (serial - {FIRST + 1}) % {REAL} + 1 AS original FROM projects "
        f"WHERE serial > {FIRST}) AS copies"
    )
    for table in (schema.files, schema.summaries):
        columns = _columns(table, "id", "project_id")
        mirror.query(
            f"INSERT INTO {table.name} (project_id, {columns}) "
            f"SELECT copy, {columns} FROM {copies} JOIN {table.name} ON project_id = original"
        )
    mirror.query("INSERT INTO dependents (project_id, required) SELECT id, name FROM projects")
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
        last = statistics.last(connection)
        assert last is not None
        # Where counting takes long, it is done once a day.
        statistics.keep(connection, msgspec.structs.replace(last, took=1.0))


def _columns(table: Table, *but: str) -> str:
    return ", ".join(column.name for column in table.columns if column.name not in but)


def test_a_sync_reads_no_large_table_whole_but_to_compare_the_list(
    simulator: Simulator, tmp_path: Path, database: str
) -> None:
    mirror = Mirror(tmp_path, simulator)
    names = [f"project-{number}" for number in range(REAL)]
    for name in names:
        offer(simulator, name, "1.0")
    mirror.sync()
    multiply(mirror)
    for name in names[:CHANGED]:
        offer(simulator, name, "2.0")
    listed = [
        {"name": row["name"], "_last-serial": row["serial"]}
        for row in mirror.query("SELECT name, serial FROM projects WHERE serial > ?", FIRST)
    ]
    listed += [{"name": n, "_last-serial": simulator.project(n).serial} for n in names]
    meta = {"api-version": "1.0", "_last-serial": 2 * FIRST}
    simulator.list_page(json.dumps({"meta": meta, "projects": listed}))
    if database == "postgresql":
        mirror.query("ANALYZE")
    with explained() as plans:
        result = mirror.sync(sound=False)
    assert (result.state, result.counts["projects_changed"]) == ("completed", CHANGED)
    assert result.counts["files_verified"] == CHANGED
    assert len(plans.seen) > 50
    assert any(text.startswith(ALLOWED[0]) for text in plans.whole)  # scans are found
    whole = {text: plan for text, plan in plans.whole.items() if not text.startswith(ALLOWED)}
    assert whole == {}
