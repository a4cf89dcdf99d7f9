"""One registry says which marks there are, what they hold, and what they mean."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pypimirror
from pypimirror.catalog import marks as registry
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.figures.closure import ClosureFigures, Unsure
from pypimirror.catalog.figures.statistics import Statistics
from pypimirror.catalog.marks import Mark, UpstreamMark
from pypimirror.catalog.mirror_totals import Totals
from pypimirror.catalog.queries import marks
from tests import postgresql
from tests.on_demand.site import until

PACKAGE = Path(pypimirror.__file__).parent
REGISTRY = PACKAGE / "catalog" / "marks.py"
OTHERS = sorted(set(PACKAGE.rglob("*.py")) - {REGISTRY})

#: Who may name the table.
TABLE = {"catalog/queries/marks.py", "catalog/schema.py", "catalog/queries/closure/closed.py"}

EXAMPLES: dict[str, Any] = {
    "recheck ": 1.7e9 + 0.1,
    "time that was ahead": 1.8e9,
    "serials ": (3, 0),
    "list read ": registry.ListRead(3, 5, 4, ("idna", "six")),
    "replaced": registry.Replaced(3, 1, 2),
    "renderer": 2,
    "root renderer": 3,
    "pages since words": 49_999,
    "held": Totals(1, 2, 3, 4),
    "resolved locks": {"pylock.projects.toml": 'lock-version = "1.0"'},
    "left to requests": (3, 7),
    "closure": ClosureFigures("key", 3, 1, unknown_ones=(Unsure("a", "1", "is old"),)),
    "statistics": Statistics(1.5, {"published": 1}, None, {1: 0, 7: 1, 30: 1}, 0.25),
}


def all_marks() -> list[Mark[Any]]:
    found = [value for value in vars(registry).values() if isinstance(value, Mark | UpstreamMark)]
    return [each.of("own") if isinstance(each, UpstreamMark) else each for each in found]


@pytest.mark.parametrize("mark", all_marks(), ids=lambda mark: mark.name)
def test_a_mark_is_read_as_it_was_written(catalog: Catalog, mark: Mark[Any]) -> None:
    value = next((v for k, v in EXAMPLES.items() if mark.name.startswith(k)), "some text")
    with catalog.write() as connection:
        assert marks.read(connection, mark) is None and not marks.is_set(connection, mark)
        marks.write_once(connection, mark, value)
        assert marks.read(connection, mark) == value and marks.is_set(connection, mark)
        marks.write(connection, mark, value)
        assert marks.read(connection, mark) == value
        assert registry.is_fit(mark.name, mark.form.write(value))
        marks.clear(connection, mark)
        assert not marks.is_set(connection, mark)


@pytest.mark.parametrize("write", [marks.write, marks.write_once])
def test_two_processes_set_a_mark_at_the_same_time(
    catalog: Catalog, database: str, write: Callable[..., None]
) -> None:
    """On PostgreSQL, small changes do not wait for each other."""
    url, waiting = catalog.engine.url, "SELECT 1 FROM pg_locks WHERE NOT granted"

    def other() -> None:
        with catalog.aside() as connection:
            write(connection, registry.WAITING, "two")

    second = threading.Thread(target=other)
    with catalog.aside() as connection:
        write(connection, registry.WAITING, "one")
        second.start()
        if database != "sqlite":
            until(lambda: postgresql.execute(url, waiting))
    second.join()
    with catalog.write() as connection:
        found = marks.read(connection, registry.WAITING)
        assert found == ("two" if write is marks.write else "one")
        marks.clear(connection, registry.WAITING)
        assert not marks.is_set(connection, registry.WAITING)


def test_a_mark_that_was_told_once_stays_as_it_was(catalog: Catalog) -> None:
    with catalog.write() as connection:
        marks.write(connection, registry.FORMATS, "html")
        marks.write_once(connection, registry.FORMATS, "json")
        assert marks.read(connection, registry.FORMATS) == "html"


@pytest.mark.parametrize("mark", all_marks(), ids=lambda mark: mark.name)
def test_what_no_release_writes_is_told(catalog: Catalog, mark: Mark[Any]) -> None:
    if mark.form is registry.TEXT:
        assert registry.is_fit(mark.name, "nonsense")  # any text may be one
        return
    assert not registry.is_fit(mark.name, "nonsense")
    with catalog.write() as connection:
        marks.write(connection, Mark(mark.name, registry.TEXT), "nonsense")
        with pytest.raises(marks.BadMarkError, match=re.escape(repr(mark.name))):
            marks.read(connection, mark)


def test_each_mark_has_a_name_of_its_own_and_says_what_it_means() -> None:
    names = [mark.name for mark in all_marks()]
    assert len(set(names)) == len(names) == len(registry.NAMES) + len(registry.PREFIXES)
    lines = REGISTRY.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z_]+ = (Upstream)?Mark\(", line):
            assert lines[number - 1].startswith("#: "), line


def test_no_other_module_names_a_mark() -> None:
    """Neither one of its own nor one of these; a word that means other things, too, is no name."""
    spelled = {name for name in registry.NAMES if " " in name} | set(registry.PREFIXES)
    for file in OTHERS:
        tree = ast.parse(file.read_text())
        made = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert not {"Mark", "UpstreamMark", "marks.Mark", "marks.UpstreamMark"} & made, file
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        texts = {text for text in texts if isinstance(text, str)}
        assert not spelled & texts, file
        assert not [text for text in texts if re.search(r"\bmarks\b.*name = '", text)], file
        if str(file.relative_to(PACKAGE)) not in TABLE:
            imported = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
            of_schema = [n for n in imported if n.module == "pypimirror.catalog.schema"]
            assert not [a for n in of_schema for a in n.names if a.name == "marks"], file
