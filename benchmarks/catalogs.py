"""A synthetic catalog and the upstream that goes with it, for `benchmarks.scale`.

Every row is what a sync of such an upstream would have left behind, so that the next sync finds
nothing to do. Project i has `PER_PROJECT` files whose columns follow from i alone: the catalog
and the upstream's pages are made from the same functions.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table

from benchmarks import corpus
from benchmarks.archives import make_wheel
from benchmarks.corpus import Item
from pypimirror.catalog import projects as queries
from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.states import State
from pypimirror.config import load
from pypimirror.select.selection import Selection

FULL = (740_000, 15_000_000)  #: projects and files of the largest public index
_ROWS = 50_000  #: rows that are written at once
_UPLOADED = "2024-01-02T03:04:05.678900Z"


def name_of(number: int) -> str:
    """Return a project's name, about as long as they are."""
    return f"scale-{hashlib.md5(str(number).encode()).hexdigest()[:6]}-{number}"


def serial_of(number: int) -> int:
    """Return a project's serial."""
    return 10_000_000 + 7 * number


class Synthetic:
    """A mirror of `projects` projects with `files` files, as far as its catalog says."""

    def __init__(self, projects: int, files: int) -> None:
        self.projects = projects
        self.files = files
        self._each, self._more = divmod(files, projects)

    def items(self, number: int) -> list[Item]:
        """Return the files of a project."""
        name = name_of(number)
        stem = name.replace("-", "_")
        count = self._each + (number < self._more)
        return [_item(name, stem, position) for position in range(count)]

    def project_rows(self, selection: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of `projects`."""
        for number in range(self.projects):
            serial = serial_of(number)
            yield {
                "id": number + 1,
                "name": name_of(number),
                "upstream": "bench",
                "serial": serial,
                "page_serial": serial,
                "etag": f'"{serial:x}-{number:x}"',
                "last_modified": "Tue, 14 Nov 2023 22:13:20 GMT",
                "page_digest": hashlib.sha256(str(number).encode()).hexdigest(),
                "api_version": "1.3",
                "versions": json.dumps([f"{i // 2}.{i % 2}" for i in range(0, self._each, 2)]),
                "selection": selection,
                "look": False,
                "todo": False,
                "dirty": False,
                "live": True,
            }

    def file_rows(self, base: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of `files`."""
        key = 0
        for number in range(self.projects):
            for item in self.items(number):
                key += 1
                metadata = bytes.fromhex(item.metadata) if item.metadata else None
                yield {
                    "id": key,
                    "project_id": number + 1,
                    "filename": item.filename,
                    "url": f"{base}/{item.path}",
                    "state": int(State.PUBLISHED),
                    "run_id": 1,
                    "size": item.size,
                    "sha256": bytes.fromhex(item.sha256),
                    "metadata_claim": metadata,
                    "metadata_sha256": metadata,
                    "upload_time": _UPLOADED,
                    "requires_python": ">=3.8",
                }

    def fill(self, config_file: Path, base: str) -> None:
        """Write everything into the catalog that the configuration names."""
        config = load(config_file)
        config.private.mkdir(parents=True, exist_ok=True)
        selection = Selection(config).digest
        catalog = Catalog.open(config.catalog_url)
        try:
            fill(catalog, schema.projects, self.project_rows(selection))
            fill(catalog, schema.files, self.file_rows(base))
            with catalog.write() as connection:
                queries.set_mark(connection, "selection", selection)
                queries.set_mark(connection, "formats", "html,json")
                queries.set_mark(connection, "root index", "")
                queries.set_list(
                    connection, "bench", etag='"old"', last_modified=None,
                    serial=serial_of(self.projects), selection=selection,
                )  # fmt: skip
                _tidy(connection)
        finally:
            catalog.close()

    def write_list(self, root: Path, changed: Sequence[int] = (), by: int = 1) -> None:
        """Write the upstream's list, in which the serials of some projects have moved."""
        serials = {name_of(number): serial_of(number) for number in range(self.projects)}
        for number in changed:
            serials[name_of(number)] += by
        (root / "simple.json").write_bytes(corpus.listing(serials))

    def write_changes(self, root: Path, base: str, changed: Sequence[int], by: int) -> None:
        """Give some projects one new file each, and write their pages."""
        (root / "pages").mkdir(exist_ok=True)
        for number in changed:
            name = name_of(number)
            version = f"{90 + by}.0"
            made = make_wheel(name, version, 4_000)
            items = [*self.items(number), corpus.store(root, name, version, *made)]
            page = corpus.page(name, items, serial_of(number) + by, base)
            (root / "pages" / f"{name}.json").write_bytes(page)


def _item(name: str, stem: str, position: int) -> Item:
    """Return one file; every other one is a wheel."""
    version = f"{position // 2}.{position % 2}"
    digest = hashlib.sha256(f"{name} {position}".encode()).hexdigest()
    suffix = "-py3-none-any.whl" if position % 2 else ".tar.gz"
    filename = f"{stem}-{version}{suffix}"
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"
    metadata = digest[::-1] if position % 2 else ""
    return Item(name, version, filename, path, 10_000 + position, digest, metadata)


def fill(catalog: Catalog, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    """Insert rows as fast as the database takes them."""
    while chunk := [row for _, row in zip(range(_ROWS), rows, strict=False)]:
        with catalog.write() as connection:
            if catalog.engine.dialect.name == "sqlite":
                _fill_sqlite(connection, table, chunk)
            else:
                _fill_postgresql(connection, table, chunk)


def _fill_sqlite(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert without SQLAlchemy's work for each row, which takes most of the time."""
    names = [name for name in rows[0] if name in table.columns]
    places = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.executemany(statement, ([row[name] for name in names] for row in rows))


def _fill_postgresql(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if name in table.columns]
    raw: Any = connection.connection.dbapi_connection
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])


def _tidy(connection: Connection) -> None:
    """Bring the statistics and the counters of keys up to date, as use would have done."""
    if connection.dialect.name == "postgresql":
        for table in ("projects", "files"):
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                f"(SELECT max(id) FROM {table}))"
            )
            connection.exec_driver_sql(f"ANALYZE {table}")


def size_of(catalog_url: str, private: Path) -> int:
    """Return the bytes that the catalog takes."""
    if catalog_url.startswith("sqlite"):
        return sum(path.stat().st_size for path in private.glob("catalog.sqlite*"))
    catalog = Catalog.open(catalog_url)
    try:
        with catalog.read() as connection:
            statement = "SELECT pg_database_size(current_database())"
            return int(connection.exec_driver_sql(statement).scalar_one())
    finally:
        catalog.close()
