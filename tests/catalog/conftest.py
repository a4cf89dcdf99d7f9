"""Catalogs of their own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def catalogs(database: str) -> None:
    """Catalogs are in the database that `--catalog` asks for."""
