"""A synthetic catalog and the upstream that goes with it, for `benchmarks.scale`.

One project, `SEED`, is really mirrored, and the marks and lists that this leaves are used for the
whole mirror. The rows of all other projects are written directly into the catalog, as a sync of
such an upstream would leave them, so that the next sync finds nothing to do. `unlike` compares them
with the rows of the seed. All columns of project i and its files follow from i, and the same
functions make the catalog and the upstream's pages.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select

from benchmarks import corpus
from benchmarks.archives import make_sdist, make_wheel
from benchmarks.corpus import Item
from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.mapping.addresses import shortened
from pypimirror.catalog.queries import projects as queries
from pypimirror.catalog.queries import statistics, totals
from pypimirror.catalog.states import State
from pypimirror.config.settings import load
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.render import version
from pypimirror.select.selection import Selection
from pypimirror.verify.proof import Proof

FULL = (740_000, 15_000_000)  #: projects and files of the largest public index
SEED = "scale-seed"  #: the project that is really mirrored
UPSTREAM = "bench"
_ROWS = 50_000  #: rows that are written at once
_UPLOADED = "2024-01-02T03:04:05.678900Z"
_MOMENT = 1_750_000_000.123456  #: seconds since the epoch: the time of all checks and proofs


def name_of(number: int) -> str:
    """Return a project's name, about as long as real names."""
    return f"scale-{hashlib.md5(str(number).encode()).hexdigest()[:6]}-{number}"


def serial_of(number: int) -> int:
    """Return a project's serial."""
    return 10_000_000 + 7 * number


#: No other project has this serial: shared serials are not trusted.
SEED_SERIAL = serial_of(0) - 1


class Synthetic:
    """A mirror whose catalog says that it has `projects` projects with `files` files."""

    def __init__(self, projects: int, files: int) -> None:
        self.projects = projects
        self.files = files
        self._each, self._more = divmod(files, projects)

    def items(self, number: int) -> list[Item]:
        """Return the files of a project."""
        name = name_of(number)
        stem = name.replace("-", "_")
        return [_item(name, stem, position) for position in range(self._count(number))]

    def _count(self, number: int) -> int:
        return self._each + (number < self._more)

    def project_rows(self, selection: str, first: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of `projects`, with ids from `first` on."""
        for number in range(self.projects):
            serial = serial_of(number)
            count = self._count(number)
            digest = hashlib.sha256(str(number).encode())
            yield {
                "id": first + number,
                "name": name_of(number),
                "upstream": UPSTREAM,
                "serial": serial,
                "page_serial": serial,
                "etag": f'"{serial:x}-{number:x}"',
                "last_modified": "Tue, 14 Nov 2023 22:13:20 GMT",
                "page_digest": digest.hexdigest(),
                "page_stamp": int.from_bytes(digest.digest()[:8], "big", signed=True),
                "page_renderer": version.VERSION,
                "page_sha256": digest.digest(),
                "api_version": "1.3",
                "versions": json.dumps([f"{i // 2}.{i % 2}" for i in range(0, self._each, 2)]),
                "selection": selection,
                "checked_at": _MOMENT + number,
                "read_at": _MOMENT + number,
                "needs_fetch": False,
                "has_work": False,
                "page_stale": False,
                "page_on_disk": True,
                "held_files": count,
                "held_bytes": sum(map(_size, range(count))),
                "linked_files": 0,
            }

    def file_rows(self, base: str, first: int, project: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of `files`, with ids from `first` on; those of projects from `project`."""
        key = first - 1
        for number in range(self.projects):
            for item in self.items(number):
                key += 1
                sha256 = bytes.fromhex(item.sha256)
                metadata = sha256[::-1] if item.metadata else None
                yield {
                    "id": key,
                    "project_id": project + number,
                    "filename": item.filename,
                    "url": shortened({"url": f"{base}/{item.path}", "filename": item.filename}),
                    "state": int(State.PUBLISHED),
                    "run_id": 1,
                    "size": item.size,
                    "sha256": sha256,
                    "proof": int(Proof.DIGEST),
                    "proof_algorithm": "sha256",
                    "proof_source": UPSTREAM,
                    "proven_at": _MOMENT,
                    "stamp": int.from_bytes(sha256[:8], "big", signed=True),
                    "metadata_claim": metadata,
                    "metadata_sha256": metadata,
                    "upload_time": _UPLOADED,
                    "requires_python": ">=3.8",
                }

    def fill(self, config_file: Path, base: str) -> None:
        """Write everything into the catalog that the configuration names."""
        config = load(config_file)
        catalog = Catalog.open(config.catalog_url)
        try:
            with catalog.read() as connection:
                project = 1 + queries.highest_id(connection)
                first = 1 + (connection.alchemy.scalar(select(func.max(schema.files.c.id))) or 0)
            rows = self.project_rows(Selection(config).digest, project)
            fill(catalog, schema.projects, rows)
            fill(catalog, schema.files, self.file_rows(base, first, project))
            with catalog.write() as connection:
                _tidy(connection)
                size = sum(sum(map(_size, range(self._count(n)))) for n in range(self.projects))
                totals.change(connection, [], [totals.Totals(self.projects, self.files, size)])
                statistics.keep(connection, statistics.take(connection, time.time()))
        finally:
            catalog.close()

    def place(self, mirror: Path, numbers: Sequence[int]) -> None:
        """Make the files of some projects where their pages expect them, with the right size."""
        for number in numbers:
            for item in self.items(number):
                path = mirror / file_path(name_of(number), item.filename, None)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                os.truncate(path, item.size)
                if item.metadata:
                    path.with_name(path.name + METADATA_SUFFIX).touch()

    def seed(self, root: Path, base: str) -> None:
        """Write the upstream of the seed project, and a list with only this project."""
        items = [
            corpus.store(root, SEED, "1.0", *make(SEED, "1.0", 4_000))
            for make in (make_sdist, make_wheel)
        ]
        (root / "pages").mkdir()
        page = corpus.page(SEED, items, SEED_SERIAL, base)
        (root / "pages" / f"{SEED}.json").write_bytes(page)
        (root / "simple.json").write_bytes(corpus.listing({SEED: SEED_SERIAL}))

    def write_list(self, root: Path, changed: Sequence[int] = (), by: int = 0) -> None:
        """Write the upstream's list, in which the serials of some projects have moved."""
        serials = {name_of(number): serial_of(number) for number in range(self.projects)}
        serials[SEED] = SEED_SERIAL
        for number in changed:
            serials[name_of(number)] += by
        (root / "simple.json").write_bytes(corpus.listing(serials))

    def write_changes(self, root: Path, base: str, changed: Sequence[int], by: int) -> None:
        """Write the pages of some projects, each with a new file for each of `by` changes."""
        for number in changed:
            name = name_of(number)
            versions = [f"{90 + change}.0" for change in range(1, by + 1)]
            new = [corpus.store(root, name, v, *make_wheel(name, v, 4_000)) for v in versions]
            page = corpus.page(name, [*self.items(number), *new], serial_of(number) + by, base)
            path = root / "pages" / f"{name}.json"
            path.write_bytes(page)
            os.utime(path, (_MOMENT + by, _MOMENT + by))  # a server's ETag is made of it


def _size(position: int) -> int:
    """Return the bytes of a project's file."""
    return 10_000 + position


def _item(name: str, stem: str, position: int) -> Item:
    """Return one file; every other one is a wheel."""
    version = f"{position // 2}.{position % 2}"
    digest = hashlib.sha256(f"{name} {position}".encode()).hexdigest()
    suffix = "-py3-none-any.whl" if position % 2 else ".tar.gz"
    filename = f"{stem}-{version}{suffix}"
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"
    metadata = bytes.fromhex(digest)[::-1].hex() if position % 2 else ""
    return Item(name, version, filename, path, _size(position), digest, metadata)


def unlike(catalog: Catalog) -> list[str]:
    """Return the columns that are empty in the synthetic or in the seed's rows, but not in both."""
    found = []
    with catalog.read() as connection:
        named = (
            select(schema.projects).where(schema.projects.c.name == name)
            for name in (SEED, name_of(0))
        )
        seed, other = (connection.execute(query).one() for query in named)
        pairs = [(seed, other)]
        for suffix in (".tar.gz", ".whl"):
            query = select(schema.files).where(schema.files.c.filename.endswith(suffix)).limit(1)
            of = [query.where(schema.files.c.project_id == row.id) for row in (seed, other)]
            pairs.append((connection.execute(of[0]).one(), connection.execute(of[1]).one()))
        for one, two in pairs:
            for name, mine, theirs in zip(one._fields, one, two, strict=True):
                if (mine is None) != (theirs is None):
                    found.append(f"{name}: {mine!r} of the seed, {theirs!r} of the others")
    return found


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
    connection.run_many(statement, [[row[name] for name in names] for row in rows])


def _fill_postgresql(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if name in table.columns]
    raw: Any = connection.alchemy.connection.dbapi_connection
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])


def _tidy(connection: Connection) -> None:
    """Update the statistics and the key counters, as normal use would have done."""
    if connection.dialect.name == "postgresql":
        for table in ("projects", "files"):
            connection.rows(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                f"(SELECT max(id) FROM {table}))"
            )
            connection.run(f"ANALYZE {table}")


def size_of(catalog_url: str, private: Path) -> int:
    """Return the bytes that the catalog takes."""
    if catalog_url.startswith("sqlite"):
        return sum(path.stat().st_size for path in private.glob("catalog.sqlite*"))
    catalog = Catalog.open(catalog_url)
    try:
        with catalog.read() as connection:
            statement = "SELECT pg_database_size(current_database())"
            return int(connection.rows(statement)[0][0])
    finally:
        catalog.close()
