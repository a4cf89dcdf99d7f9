"""A catalog on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog
from tests import databases


@pytest.fixture
def url(tmp_path: Path, database: str) -> str:
    """The address of a database that no catalog has been made in."""
    if databases.current is not None:
        return databases.current.empty()
    return f"sqlite:///{tmp_path / 'catalog.sqlite'}"


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = Catalog.open(url)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def catalogs(database: str) -> None:
    """Catalogs are in the database that `--catalog` asks for."""
