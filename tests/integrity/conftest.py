"""What all tests of this directory share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def catalogs(database: str) -> None:
    """Catalogs are in the database that `--catalog` asks for."""
