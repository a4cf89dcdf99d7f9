"""`verify --repair` brings files back that clients asked for, as it does selected ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mirror import Mirror, offer
from tests.on_demand.fetcher import Fetcher, on_demand
from tests.on_demand.site import verify
from tests.pipeline.audit.test_audit import flip
from tests.simulator import IndexFile, Simulator


def asked(mirror: Mirror) -> list[tuple[Any, ...]]:
    """What is known of the files that clients asked for."""
    return [tuple(row) for row in mirror.query("SELECT * FROM asked")]


def fetch(mirror: Mirror, file: IndexFile) -> None:
    """Let a client ask for a file; it gets its place."""
    with Fetcher(mirror) as fetcher:
        fetcher.file(file.project.normalized, file.filename)
        fetcher.wait_placed(mirror, file.filename)


@pytest.mark.parametrize("harm", [flip, Path.unlink])
@pytest.mark.parametrize("selected", [[], ["six>=2"]], ids=["nothing", "another version"])
def test_a_file_that_a_client_asked_for_is_repaired_and_stays_one(
    simulator: Simulator, tmp_path: Path, harm: Callable[[Path], None], selected: list[str]
) -> None:
    """Its neighbour, for which nobody asked, is not fetched meanwhile."""
    file, other = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": selected})
    fetch(mirror, file)
    assert mirror.sync().state == "completed"
    listed, known = mirror.files("six"), asked(mirror)
    assert [row[:2] for row in known] == [("six", file.filename)]
    harm(mirror.path(file))
    assert verify(mirror).state == "incomplete"
    assert not mirror.holds(file)
    repaired = verify(mirror, repair=True)
    assert repaired.state == "completed", repaired.failures
    assert mirror.holds(file)
    assert simulator.downloads(file.filename) == 2
    assert simulator.downloads(other.filename) == len(selected)
    assert (mirror.files("six"), asked(mirror)) == (listed, known)
    mirror.check()
    assert verify(mirror).state == mirror.sync().state == "completed"
    assert (mirror.files("six"), asked(mirror)) == (listed, known)
