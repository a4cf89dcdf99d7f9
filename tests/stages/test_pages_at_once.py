"""What is held of pages at once is bounded in their sum, here and in the workers (promise 8)."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from pypimirror.download.protocol import FetchPage
from pypimirror.model import ProjectPage
from pypimirror.stages import discover, pages, sequence
from pypimirror.stages.run import Run
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

SMALL, LARGE = [f"small{n}" for n in range(4)], [f"large{n}" for n in range(4)]


class Watch:
    """What pages are asked for at once, and held while another comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0  # bytes that answers to what is out may have
        self.held: list[int] = []  # files of other pages while one came that may have any size
        fetch = Run.fetch

        def watched(run: Run, jobs: Iterable[Any], *more: Any) -> Iterator[Any]:
            asked = list(jobs)
            limits = [job.max_size for job in asked if isinstance(job, FetchPage)]
            if None in limits:
                assert len(limits) == 1
                self.held.append(held_files())
            else:
                self.most = max(self.most, sum(limits))
            yield from fetch(run, asked, *more)

        monkeypatch.setattr(Run, "fetch", watched)


def held_files() -> int:
    gc.collect()
    return sum(len(o.files) for o in gc.get_objects() if isinstance(o, ProjectPage))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> Watch:
    """Bounds that a page of 40 releases is beyond, and one of a single release is not."""
    monkeypatch.setattr(pages, "_SUM", 16 << 10)
    monkeypatch.setattr(pages, "_FEW", 2)
    monkeypatch.setattr(pages, "_MEDIUM", 4 << 10)
    monkeypatch.setattr(discover, "_FILES", 20)
    for name in SMALL:
        offer(simulator, name, "1.0")
    for name in LARGE:
        offer(simulator, name, *(f"{n}.0" for n in range(40)))
    return Watch(monkeypatch)


def test_large_pages_are_held_one_at_a_time(mirror: Mirror, watch: Watch) -> None:
    mirror.configure(select={"exclude": ["large0==1.0"]})
    assert mirror.sync().state == "completed"
    assert mirror.projects == sorted(SMALL + LARGE)
    assert len(mirror.files("large1")) == 40
    assert len(watch.held) == len(LARGE)
    assert max(watch.held) <= len(SMALL)
    assert watch.most <= 16 << 10


def test_so_they_are_of_batches_side_by_side(
    mirror: Mirror, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "SMALLEST_BATCH", 1)
    monkeypatch.setattr(sequence, "BATCH_SIZE", 2)
    assert mirror.sync().state == "completed"
    assert mirror.projects == sorted(SMALL + LARGE)
    assert max(watch.held) <= 6, "small ones alone, of other batches"
