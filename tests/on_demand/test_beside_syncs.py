"""A fetcher beside a sync: neither waits for the other, and a file that both need comes once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pypimirror.catalog.marks import DOUBT, LEFT, WAITING
from pypimirror.catalog.queries import marks
from pypimirror.on_demand.messages import FileQuestion, Here
from pypimirror.pipeline import gate
from pypimirror.pipeline.asked import leaving
from pypimirror.pipeline.audit import doubt
from pypimirror.pipeline.publish import finishing
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.on_demand.fetcher import PATIENCE, Fetcher, on_demand
from tests.on_demand.site import until
from tests.simulator import Corrupt, IndexFile, Simulator, Status


class Syncing:
    """A sync in a thread."""

    def __init__(self, mirror: Mirror, **options: Any) -> None:
        self._done: list[Summary] = []
        self._mirror = mirror
        self._thread = threading.Thread(target=self._sync, kwargs=options)
        self._thread.start()

    def _sync(self, **options: Any) -> None:
        self._done.append(self._mirror.sync(sound=False, **options))

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Summary:
        self._thread.join(PATIENCE)
        assert self._done, "the sync goes on, or has failed"
        return self._done[0]


@contextmanager
def syncing(mirror: Mirror, simulator: Simulator, **options: Any) -> Iterator[Syncing]:
    """A sync in a thread, which ends with the context: nothing is held then."""
    found = Syncing(mirror, **options)
    try:
        yield found
    finally:
        simulator.heal()
        found.result()


def wait_mark(mirror: Mirror, name: str) -> None:
    until(lambda: mirror.query("SELECT 1 FROM marks WHERE name = ?", name))


def parts(mirror: Mirror) -> list[Path]:
    """What workers receive at this moment."""
    return [
        path for path in mirror.root.glob(".pypimirror/staging/*/*.part") if path.stat().st_size
    ]


# Without waiting for each other


@pytest.mark.parametrize(
    ("select", "path"),
    [
        ({"projects": ["id*"]}, "/simple/"),
        ({"projects": ["idna"], "dependencies": "resolved"}, "/simple/idna/"),
        ({"projects": ["idna"], "dependencies": "all"}, "attrs"),
    ],
    ids=["the list of an upstream", "a resolution", "a file that is needed besides"],
)
def test_files_get_their_places_while_a_sync_waits_for(
    simulator: Simulator, tmp_path: Path, select: dict[str, Any], path: str
) -> None:
    (file,), (needed,) = offer(simulator, "six", "1.0"), offer(simulator, "attrs", "1.0")
    made = make_wheel("idna", "1.0", requires=["attrs"])
    simulator.add_file("idna", *made, core_metadata=True)
    mirror = on_demand(tmp_path, simulator, select=select)
    path = needed.path if path == "attrs" else path
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(path)
        with syncing(mirror, simulator) as sync:
            hold.wait_reached()
            assert isinstance(fetcher.file("six", file.filename), Here)
            fetcher.wait_placed(mirror, file.filename)
            assert not sync.has_ended
            hold.release()
            assert sync.result().state == "completed"
    assert mirror.holds(file)
    mirror.check()


def redo_pages(mirror: Mirror) -> Callable[[Run], None]:
    mirror.configure(publish={"formats": ["json"]})
    return finishing.finish


def remove_files(mirror: Mirror) -> Callable[[Run], None]:
    mirror.configure(select={"projects": ["attrs"]})
    mirror.sync()
    mirror.configure(delete={"grace": "0s"})
    return finishing.finish


def look_at_all(mirror: Mirror) -> Callable[[Run], None]:
    def work(run: Run) -> None:
        with run.catalog.write() as connection:
            marks.write(connection, DOUBT, "a test")
        doubt.settle(run)

    return work


@pytest.mark.parametrize("begin", [redo_pages, remove_files, look_at_all])
def test_files_get_their_places_in_pauses_of(
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[[Mirror], Callable[[Run], None]],
) -> None:
    monkeypatch.setattr(gate, "EVERY", 0.0)
    (file,), _ = offer(simulator, "six", "1.0"), offer(simulator, "attrs", "1.0")
    offer(simulator, "idna", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna", "attrs"]})
    mirror.sync()
    work = begin(mirror)

    def alone(run: Run) -> None:
        assert isinstance(fetcher.file("six", file.filename), Here)
        wait_mark(mirror, WAITING.name)
        work(run)
        fetcher.wait_placed(mirror, file.filename)

    with Fetcher(mirror) as fetcher:
        assert mirror.sync(work=alone, sound=False).state == "completed"
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


def test_a_sync_does_not_wait_for_a_file_without_a_digest_that_comes_slowly(
    simulator: Simulator, tmp_path: Path
) -> None:
    (slow,) = offer(simulator, "six", "1.0", digests=())
    offer(simulator, "idna", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna"]})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(slow.path, after=300)
        number = fetcher.ask(FileQuestion(0, "six", slow.filename))
        hold.wait_reached()
        assert mirror.sync(sound=False).state == "completed"
        assert not fetcher.is_answered(number)
        hold.release()
        assert isinstance(fetcher.wait(number), Here)
    assert simulator.downloads(slow.filename) == 1
    mirror.check()


# One download


def test_a_file_that_a_sync_receives_is_not_downloaded_again(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["six"]})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(file.path, after=300)
        with syncing(mirror, simulator) as sync:
            hold.wait_reached()
            until(lambda: parts(mirror))
            number = fetcher.ask(FileQuestion(0, "six", file.filename))
            coming = fetcher.wait_coming(number)
            assert coming.size == file.size and coming.digests == {"sha256": file.sha256}
            assert not fetcher.is_answered(number)
            hold.release()
            assert isinstance(fetcher.wait(number), Here)
            assert sync.result().state == "completed"
        fetcher.wait_placed(mirror, file.filename)
    assert simulator.downloads(file.filename) == 1
    assert mirror.holds(file)
    mirror.check()


@pytest.mark.slow
def test_a_sync_that_receives_no_more_of_a_file_does_not_hold_up_its_clients(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["six"]})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(file.path, after=300, nth=1)
        with syncing(mirror, simulator) as sync:
            hold.wait_reached()
            until(lambda: parts(mirror))
            assert isinstance(fetcher.file("six", file.filename), Here)
            assert not sync.has_ended
    assert mirror.holds(file)
    mirror.check()


def test_wrong_bytes_that_a_sync_receives_are_not_handed_out(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["six"]})
    with Fetcher(mirror) as fetcher:
        simulator.fault(file, Corrupt(at=100), nth=1)
        hold = simulator.hold(file.path, after=300, nth=1)
        with syncing(mirror, simulator):
            hold.wait_reached()
            until(lambda: parts(mirror))
            number = fetcher.ask(FileQuestion(0, "six", file.filename))
            fetcher.wait_coming(number)
            hold.release()
            answer = fetcher.wait(number)
            assert isinstance(answer, Here)
            assert Path(answer.path).read_bytes() == bytes(file.content)


def test_a_file_that_waits_in_a_sync_is_left_to_the_client_who_asks_for_it(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "EVERY", 0.0)
    first, *_ = offer(simulator, "attrs", *(f"{number}.0" for number in range(1, 9)))
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["attrs", "six"]})
    mirror.configure(download={"connections": 1})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(first.path)
        with syncing(mirror, simulator) as sync:
            hold.wait_reached()
            assert isinstance(fetcher.file("six", file.filename), Here)  # it waits for nothing
            hold.release()
            assert sync.result().state == "completed"
    assert simulator.downloads(file.filename) == 1
    assert mirror.holds(file)
    mirror.check()


# What is left


def test_a_sync_that_left_a_file_to_a_request_ends_when_it_has_it(
    simulator: Simulator, tmp_path: Path
) -> None:
    file, mirror = left(simulator, tmp_path)
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(file.path)
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        hold.wait_reached()
        with syncing(mirror, simulator) as sync:
            wait_mark(mirror, LEFT.name)
            hold.release()
            assert isinstance(fetcher.wait(number), Here)
            assert sync.result().state == "completed"
            assert mirror.holds(file)
    assert simulator.downloads(file.filename) == 1
    mirror.check()


@pytest.mark.parametrize("end", ["fails", "dies"])
def test_a_sync_fetches_itself_what_it_left_to_a_request_that(
    simulator: Simulator, tmp_path: Path, end: str
) -> None:
    file, mirror = left(simulator, tmp_path)
    with Fetcher(mirror) as fetcher:
        if end == "fails":
            simulator.fault(file, Status(500), nth=1)
        hold = simulator.hold(file.path, nth=1)
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        hold.wait_reached()
        with syncing(mirror, simulator) as sync:
            wait_mark(mirror, LEFT.name)
            if end == "dies":
                fetcher.kill()
            else:
                hold.release()
                assert not isinstance(fetcher.wait(number), Here)
            assert sync.result().state == "completed"
            assert mirror.holds(file)
    mirror.check()


def left(simulator: Simulator, tmp_path: Path) -> tuple[IndexFile, Mirror]:
    """A selected file that is not here yet, and its mirror."""
    (file,), _ = offer(simulator, "six", "1.0"), offer(simulator, "idna", "1.0")
    return file, on_demand(tmp_path, simulator, select={"projects": ["six", "idna"]})
