"""Mirrors whose catalogs are in the database that `--catalog` asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypimirror.catalog import inspection
from pypimirror.status import history, overview
from pypimirror.status.documents import MirrorStatus, RunPage
from tests.mirror import Mirror
from tests.simulator import Simulator


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, database: str) -> Mirror:
    return Mirror(tmp_path, simulator)


@pytest.fixture
def status(mirror: Mirror) -> Callable[..., MirrorStatus]:
    """Reads what the mirror is like."""

    def read(**more: Any) -> MirrorStatus:
        with inspection.reading(mirror.catalog_url) as connection:
            return overview.read(connection, mirror.config, time.time(), **more)

    return read


@pytest.fixture
def page(mirror: Mirror) -> Callable[..., RunPage | None]:
    """Reads what is known of a run."""

    def read(name: str, **more: Any) -> RunPage | None:
        with inspection.reading(mirror.catalog_url) as connection:
            return history.read(connection, name, **more)

    return read
