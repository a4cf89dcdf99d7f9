"""What is held of pages at once is bounded in their sum, here and in the workers (promise 8)."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypimirror.domain.model import ProjectPage, Reason
from pypimirror.download.protocol import FetchLinks, FetchPage
from pypimirror.pipeline.discover import discover, page_memory
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.run import Run
from tests.corpus.build import make_sdist
from tests.links import LinkMirror, page, put
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
            limits = [job.max_size for job in asked if isinstance(job, FetchPage | FetchLinks)]
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
    monkeypatch.setattr(page_memory, "_SUM", 16 << 10)
    monkeypatch.setattr(page_memory, "_FEW", 2)
    monkeypatch.setattr(page_memory, "_MEDIUM", 4 << 10)
    monkeypatch.setattr(discover, "_FILES", 20)
    for name in SMALL:
        offer(simulator, name, "1.0")
    for name in LARGE:
        offer(simulator, name, *(f"{n}.0" for n in range(40)))
    return Watch(monkeypatch)


@pytest.mark.thorough
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
    monkeypatch.setattr(loop, "SMALLEST_BATCH", 1)
    monkeypatch.setattr(loop, "BATCH_SIZE", 2)
    assert mirror.sync().state == "completed"
    assert mirror.projects == sorted(SMALL + LARGE)
    assert max(watch.held) <= 6, "small ones alone, of other batches"


def linked_pages(tmp_path: Path, simulator: Simulator) -> LinkMirror:
    """A page of links that leads to a small page and to two large ones."""
    leads = []
    for name, number in (("aaa", 1), ("bbb", 40), ("ccc", 40)):
        made = [make_sdist(name, f"{n}.0") for n in range(number)]
        leads.append(page(simulator, f"/{name}/", *(put(simulator, each) for each in made)))
    page(simulator, "/", *leads)
    return LinkMirror(tmp_path, {"kind": "links", "url": f"{simulator.root}/", "newest": 0})


@pytest.mark.usefixtures("watch")
def test_large_linked_pages_are_asked_for_one_at_a_time(
    tmp_path: Path, simulator: Simulator, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_memory, "_SUM", 4 << 10)
    monkeypatch.setattr(page_memory, "_MEDIUM", 2 << 10)
    mirror = linked_pages(tmp_path, simulator)
    assert mirror.sync().state == "completed"
    assert [len(mirror.files(name)) for name in ("aaa", "bbb", "ccc")] == [1, 40, 40]
    assert len(watch.held) == 1 + 2, "the page of links, and the two large ones"
    assert watch.most <= 4 << 10


def test_linked_pages_beyond_what_is_held_are_told_and_take_nothing_away(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = linked_pages(tmp_path, simulator)
    assert mirror.sync().state == "completed"
    monkeypatch.setattr(page_memory, "MOST_LINKS", 50)
    result = mirror.sync()
    assert result.state == "incomplete"
    assert Reason.TOO_LARGE in [problem.reason for problem in result.failures]
    assert any("max_links" in problem.message for problem in result.failures)
    assert [len(mirror.files(name)) for name in ("aaa", "bbb", "ccc")] == [1, 40, 40]
