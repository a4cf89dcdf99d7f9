"""A process whose children die."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.harness import Victim


@pytest.fixture
def victim() -> Iterator[Victim]:
    running = Victim()
    yield running
    running.close()
