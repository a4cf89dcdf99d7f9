"""A Prefect server for the tests of this directory, and a mirror for each.

It ends with the last of them: idle, it takes a tenth of a core.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from pypimirror.cli.actions.initialise import write_configuration
from tests.flows.stack import Stack, running
from tests.simulator import Simulator


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(tmp_path_factory.mktemp("prefect"))
    with running(found):
        yield found


def configure(directory: Path, upstream: Simulator) -> Path:
    """A configuration for a mirror in this directory."""
    file = directory / "pypimirror.toml"
    write_configuration(file, [], upstream.url, Path("mirror"), force=False)
    return file


@pytest.fixture
def config(tmp_path: Path, simulator: Simulator) -> Path:
    """A configuration for the simulator's index."""
    return configure(tmp_path, simulator)


@pytest.fixture
def in_process(stack: Stack) -> Iterator[None]:
    """Flows of this process go to the server, without their logs.

    Those are sent by a thread that does not see these settings.
    """
    settings = {PREFECT_API_URL: stack.url, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings):
        yield
        # What this process has to tell the server, it must tell before the server ends.
        EventsWorker.drain_all()
