"""What a catalog needs of the database library."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pypimirror.catalog import inspection
from pypimirror.catalog.database import Catalog, CatalogError
from pypimirror.catalog.engines import sqlite


def _open(url: str) -> None:
    Catalog.open(url).close()


def _open_for_reading(url: str) -> None:
    Catalog.open_for_reading(url).close()


def _inspect(url: str) -> None:
    inspection.look(url)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    _open(url)
    return url


WAYS = [_open, _open_for_reading, _inspect]


@pytest.mark.parametrize("way", WAYS)
def test_an_sqlite_without_json_functions_is_refused_before_it_is_used(
    url: str, monkeypatch: pytest.MonkeyPatch, way: Callable[[str], None]
) -> None:
    # No library without them can be had here. SQLite says the same of each function that it lacks.
    monkeypatch.setattr(sqlite, "_NEEDS_JSON", "SELECT 1 FROM json_of_no_sqlite('[]')")
    with pytest.raises(CatalogError) as refusal:
        way(url)
    said = str(refusal.value)
    assert said.startswith(f"catalog {url}: ")
    assert f"SQLite {sqlite3.sqlite_version} of this Python has no JSON functions" in said
    assert "use a Python with SQLite 3.38 or newer" in said
    assert "damaged" not in said


@pytest.mark.parametrize("way", WAYS)
def test_an_sqlite_without_returning_is_refused_before_it_is_used(
    url: str, monkeypatch: pytest.MonkeyPatch, way: Callable[[str], None]
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(CatalogError, match=r"is too old, and the catalog needs 3\.35 or newer"):
        way(url)


def test_the_sqlite_of_this_python_has_what_the_catalog_needs() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        sqlite.check_library(connection)
