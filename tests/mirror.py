"""A mirror under test: its configuration, its runs, and its files on disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pypimirror.catalog import damage
from pypimirror.catalog.database import Catalog, sqlite_file
from pypimirror.catalog.queries import totals
from pypimirror.catalog.states import PROVEN, WORDS, State, word
from pypimirror.config.settings import Config, load
from pypimirror.domain.model import Problem
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.preview import plan as planning
from pypimirror.pipeline.preview.plan import Plan
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from tests import databases, postgresql
from tests.checker import check
from tests.corpus.build import make_provenance, make_sdist, make_wheel
from tests.simulator import IndexFile, Simulator

#: One worker and short waits are enough for tests on loopback.
DOWNLOAD = {"processes": 1, "connections": 8, "timeout": 30, "tries": 1}


def offer(simulator: Simulator, project: str, *versions: str, **said: Any) -> list[IndexFile]:
    """Offer a wheel with core metadata for each version."""
    said = {"core_metadata": True, **said}
    return [
        simulator.add_file(project, *make_wheel(project, version), **said) for version in versions
    ]


def offer_sdist(simulator: Simulator, project: str, version: str, **said: Any) -> IndexFile:
    """Offer an sdist."""
    return simulator.add_file(project, *make_sdist(project, version), **said)


def attest(file: IndexFile, body: bytes | None = None) -> bytes:
    """Offer the provenance of a file, or other bytes instead; return it."""
    body = make_provenance(file.filename, bytes(file.content)) if body is None else body
    file.set(provenance_body=body)
    return body


class Mirror:
    """A mirror of one or more simulators, in `base`/mirror, configured by `base`/pypimirror.toml.

    Sections are given as keyword arguments and may be changed with `configure`.
    """

    def __init__(self, base: Path, *simulators: Simulator, **sections: dict[str, Any]) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base = base
        self.root = base / "mirror"
        self.file = base / "pypimirror.toml"
        self.simulators = simulators
        self.upstreams = [
            {"name": f"sim{number}", "url": simulator.url}
            for number, simulator in enumerate(simulators)
        ]
        self.sections: dict[str, dict[str, Any]] = {"download": dict(DOWNLOAD)}
        self._said, self._catalog_url = b"", ""
        self.links_away = (
            False  # whether pages may lead to the upstream, because a test once asked for that
        )
        if databases.current is not None:
            self.configure(mirror={"catalog": databases.current.of(base)})
        self.configure(**sections)

    def configure(self, **sections: dict[str, Any]) -> None:
        """Set keys of sections; the others stay."""
        for name, keys in sections.items():
            self.sections.setdefault(name, {}).update(keys)
        lines = ["[mirror]", 'directory = "mirror"']
        lines += toml(self.sections.get("mirror", {}))
        for upstream in self.upstreams:
            lines += ["[[upstream]]", *toml(upstream)]
        for name, keys in self.sections.items():
            if name != "mirror":
                lines += [f"[{name}]", *toml(keys)]
        self.links_away |= "metadata_only" in self.sections.get("select", {})
        self.file.write_text("\n".join(lines) + "\n")

    def select(self, *projects: str, **more: list[str]) -> None:
        """Set keys of [select]."""
        self.sections["select"] = {}
        self.configure(select={"projects": list(projects), **more})

    @property
    def config(self) -> Config:
        """The configuration as the program reads it."""
        return load(self.file)

    @property
    def catalog_url(self) -> str:
        """Address of the catalog; the configuration is read again only if it has changed."""
        said = self.file.read_bytes()
        if said != self._said:
            self._said, self._catalog_url = said, self.config.catalog_url
        return self._catalog_url

    # Running

    def sync(
        self,
        *names: str,
        work: Callable[[Run], None] = sequence.sync,
        sound: bool = True,
        retry: str | None = None,
        make_pools: MakePools | None = None,
    ) -> Summary:
        """Run a sync in this process; the tree is checked unless `sound` is off."""
        made = make_pools or pools.start
        summary = run_sync(self.config, names, work, trigger="test", retry=retry, make_pools=made)
        if sound:
            self.check()
            assert self.known_totals() == self.counted_totals()
            assert self.damage() is None
        return summary

    def plan(self, *names: str) -> Plan:
        """Return what a sync would do."""
        return planning.plan(self.config, names, LogReporter())

    def check(self, *, agree: bool = True) -> None:
        """Check that the tree keeps promises 1 to 3."""
        assert self.faults(agree=agree) == []

    def faults(self, *, agree: bool = True) -> list[str]:
        """Faults of the tree; links may lead to an upstream only after a test asked for that."""
        upstreams = [s.root for s in self.simulators] if self.links_away else []
        return check(self.root, agree=agree, upstreams=upstreams)

    # Files on disk

    @property
    def projects(self) -> list[str]:
        """The projects that the root index lists."""
        index = self.root / "simple" / "index.v1_json"
        if not index.exists():
            return []
        return [project["name"] for project in json.loads(index.read_text())["projects"]]

    def page(self, project: str) -> dict[str, Any]:
        """A project's page."""
        path = self.root / "simple" / project / "index.v1_json"
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def has_page(self, project: str) -> bool:
        """Whether any form of a project's page is there."""
        return (self.root / "simple" / project).exists()

    def files(self, project: str) -> list[str]:
        """The names on a project's page."""
        return [file["filename"] for file in self.page(project)["files"]]

    def path(self, file: IndexFile) -> Path:
        """The path of a file."""
        return self.root / "packages" / file.project.normalized / file.filename

    def holds(self, file: IndexFile) -> bool:
        """Whether a file's bytes, as offered now, are in place."""
        path = self.path(file)
        return path.exists() and path.read_bytes() == bytes(file.content)

    def served(self) -> dict[str, tuple[int, int]]:
        """Every file that is served, with inode and time of change."""
        return listing(self.root, without=".pypimirror")

    # What the catalog says

    def query(self, statement: str, *parameters: object) -> list[Any]:
        """Query the catalog directly; parameters are marked by "?"."""
        url = self.catalog_url
        if url.startswith("postgresql"):
            return postgresql.execute(url, statement.replace("?", "%s"), parameters)
        with closing(sqlite3.connect(str(sqlite_file(url)))) as connection:
            connection.row_factory = sqlite3.Row
            with connection:
                return connection.execute(statement, parameters).fetchall()

    @property
    def has_catalog(self) -> bool:
        """Whether there is a catalog to ask."""
        if self.catalog_url.startswith("postgresql"):
            return True
        file = self.root / ".pypimirror" / "catalog.sqlite"
        return file.exists() and bool(
            self.query("SELECT name FROM sqlite_master WHERE name = 'files'")
        )

    def known_totals(self) -> tuple[int, dict[str, int], int]:
        """Pages, files by state and proven bytes, as the catalog knows them without counting."""
        catalog = Catalog.open(self.catalog_url)
        with closing(catalog), catalog.read() as connection:
            return totals.held(connection).projects, *totals.by_state(connection)

    def damage(self) -> str | None:
        """Values in the catalog that this program never writes."""
        catalog = Catalog.open(self.config.catalog_url)
        with closing(catalog), catalog.read() as connection:
            return damage.find(connection)

    def counted_totals(self) -> tuple[int, dict[str, int], int]:
        """The same totals, but counted."""
        (pages,) = self.query("SELECT count(*) AS pages FROM projects WHERE page_on_disk")
        counts, size = dict.fromkeys(WORDS, 0), 0
        for row in self.query("SELECT state, size, last_error FROM files"):
            counts[word(row["state"], row["last_error"])] += 1
            size += int(row["size"] or 0) if row["state"] in PROVEN else 0
        return pages["pages"], counts, size

    def lose_catalog(self) -> None:
        """Remove the catalog, or empty it."""
        if databases.current is not None:
            self.configure(mirror={"catalog": databases.current.migrated()})
        for path in (self.root / ".pypimirror").glob("catalog.sqlite*"):
            path.unlink()

    def state(self, filename: str) -> str | None:
        """The state of a file, as a word."""
        rows = self.query("SELECT state FROM files WHERE filename = ?", filename)
        return State(rows[0]["state"]).label if rows else None


def toml(keys: dict[str, Any]) -> list[str]:
    """Return keys as TOML; values in JSON are valid TOML."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]


def listing(directory: Path, without: str | None = None) -> dict[str, tuple[int, int]]:
    """Every file below a directory, with inode and time of change in nanoseconds."""
    found = {}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.is_file() and (without is None or relative.parts[0] != without):
            status = path.stat()
            found[str(relative)] = status.st_ino, status.st_mtime_ns
    return found


def reasons(problems: Sequence[Problem]) -> dict[str, str]:
    """The reason of each failure, by file, else by project."""
    return {problem.file or problem.project: problem.reason.value for problem in problems}
