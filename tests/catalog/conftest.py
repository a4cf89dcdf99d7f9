"""A catalog on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.sqlite'}"


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = Catalog.open(url)
    yield opened
    opened.close()
