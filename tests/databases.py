"""The catalogs of mirrors under test: SQLite files, or databases on PostgreSQL.

`--catalog` says which; with `both`, some tests run once for each. Databases on PostgreSQL are
copies of a migrated template, and are used again.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine

from pypimirror.catalog.database import SCHEMA_REVISION, Catalog
from pypimirror.catalog.engines import servers
from pypimirror.catalog.mapping import sql
from tests.postgresql import execute

SQLITE, POSTGRESQL = "sqlite", "postgresql"

#: Values of `--catalog`, each with its databases.
CHOICES = {SQLITE: [SQLITE], POSTGRESQL: [POSTGRESQL], "both": [SQLITE, POSTGRESQL]}

#: The tests that `both` runs twice. The others run on SQLite then; `--catalog postgresql` runs them
#: on PostgreSQL, which takes the same time again.
TWICE = ("tests/catalog/", "tests/status/")

#: The tests that `make test-thorough` runs on PostgreSQL, too.
AGAIN = (
    "tests/on_demand/test_together.py",
    "tests/pipeline/test_sync.py",
    "tests/pipeline/preview/test_plan.py",
    "tests/pipeline/publish/test_root.py",
)


class _Compiled(dict[Any, Any]):
    """A cache of compiled statements for all engines of a kind; SQLAlchemy's is for one engine.

    SQLAlchemy's keys begin with the dialect. Here, the type of the dialect takes its place.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), value)


_COMPILED = _Compiled()


def compile_once() -> None:
    """Let all engines of this process share the cache: compiling takes a third of a short run."""

    def create(*arguments: Any, **more: Any) -> Engine:
        return create_engine(*arguments, execution_options={"compiled_cache": _COMPILED}, **more)

    servers.create_engine = create  # type: ignore[assignment]
    sql.create_engine = create


class Databases:
    """Databases on one server, for the tests of one process."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._names = (f"test_{os.getpid()}_{number}" for number in itertools.count())
        self._free: list[str] = []
        self._used: dict[str, bool] = {}  #: by address: whether it may be used again
        self._places: dict[Path, str] = {}
        self._template = ""

    def of(self, base: Path) -> str:
        """The address of the catalog that belongs to a directory, empty at first."""
        if self._places.get(base) not in self._used:
            self._places[base] = self.migrated()
        return self._places[base]

    def migrated(self) -> str:
        """The address of an empty catalog."""
        if not self._free:
            self._free.append(self._copy(self._migrated_once()))
        url = self._free.pop()
        self._used[url] = True
        return url

    def empty(self) -> str:
        """The address of a database without a table."""
        return self.copy(self._url("template0"))

    def copy(self, url: str) -> str:
        """The address of a copy of a database, to which nobody is connected."""
        made = self._copy(url.rpartition("/")[2])
        self._used[made] = False
        return made

    def used(self) -> set[str]:
        """The databases that were handed out and not taken back."""
        return set(self._used)

    def take_back(self, urls: set[str]) -> None:
        """Empty or drop databases."""
        for url in urls:
            if self._used.pop(url):
                execute(url, _EMPTY)
                self._free.append(url)
            else:
                name = url.rpartition("/")[2]
                execute(self.server, f"DROP DATABASE {name} WITH (FORCE)")

    def _migrated_once(self) -> str:
        if not self._template:
            name = next(self._names)
            execute(self.server, f"CREATE DATABASE {name}")
            Catalog.open(self._url(name)).close()
            self._template = name
        return self._template

    def _copy(self, template: str) -> str:
        name = next(self._names)
        execute(self.server, f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"{self.server.rpartition('/')[0]}/{name}"


#: Ends other sessions on a catalog, and makes it empty, as after the migrations.
_EMPTY = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
TRUNCATE projects, files, refusals, lists, marks, runs, leases, workers, claims, stages, failures,
asked, days, requirements, needs, summaries, dependents RESTART IDENTITY;
UPDATE alembic_version SET version_num = '{SCHEMA_REVISION}'
"""

#: The databases of this process, if there is a server.
made: Databases | None = None

#: The databases for mirrors of the present test; None if they use files.
current: Databases | None = None
