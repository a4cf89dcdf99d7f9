"""Fetchers, syncs and kills on one mirror: each file comes once, and every promise holds."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from pypimirror.catalog.marks import WAITING
from pypimirror.on_demand.messages import FileQuestion, Here, PageQuestion
from pypimirror.pipeline import gate, sequence
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.run import Run
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, attest, offer, offer_sdist
from tests.on_demand.fetcher import PATIENCE, Fetcher, on_demand
from tests.on_demand.site import until
from tests.simulator import Corrupt, Simulator


def test_two_fetchers_of_one_catalog_download_a_file_once(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as first, Fetcher(mirror) as second:
        hold = simulator.hold(file.path)
        one = first.ask(FileQuestion(0, "six", file.filename))
        hold.wait_reached()
        other = second.ask(FileQuestion(0, "six", file.filename))
        assert isinstance(second.page("six"), Here)  # it answers meanwhile
        hold.release()
        assert isinstance(first.wait(one), Here)
        assert isinstance(second.wait(other), Here)
    assert simulator.downloads(file.filename) == 1
    mirror.check()


def test_a_busy_fetcher_places_at_once_what_another_one_waits_for(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,), (slow,) = offer(simulator, "six", "1.0"), offer(simulator, "idna", "1.0")
    mirror = on_demand(tmp_path, simulator, download={"timeout": 600})
    apart = "tests.on_demand.apart"
    with Fetcher(mirror, "tests.on_demand.busy") as first, Fetcher(mirror, apart) as second:
        hold = simulator.hold(slow.path)
        first.ask(FileQuestion(0, "idna", slow.filename))
        hold.wait_reached()
        assert isinstance(first.file("six", file.filename), Here)
        assert not mirror.holds(file)
        answer = second.file("six", file.filename)
        assert answer == Here(answer.id) and mirror.holds(file)
    assert simulator.downloads(file.filename) == 1


def test_a_client_gets_what_another_fetcher_here_has_before_it_is_placed(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror, "tests.on_demand.stuck") as first, Fetcher(mirror) as second:
        assert isinstance(first.file("six", file.filename), Here)
        answer = second.file("six", file.filename)
        assert isinstance(answer, Here) and not mirror.holds(file)
        assert Path(answer.path).read_bytes() == bytes(file.content)
        first.kill()
        until(lambda: mirror.state(file.filename) == "published")
    assert simulator.downloads(file.filename) == 1
    mirror.check()


def test_wrong_bytes_of_another_fetcher_are_not_handed_out(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror, "tests.on_demand.stuck") as first, Fetcher(mirror) as second:
        stored = first.file("six", file.filename)
        assert isinstance(stored, Here)
        Path(stored.path).write_bytes(bytes(file.size or 0))
        number = second.ask(FileQuestion(0, "six", file.filename))
        first.kill()
        answer = second.wait(number)
        assert isinstance(answer, Here)
        assert Path(answer.path).read_bytes() == bytes(file.content)
        second.wait_placed(mirror, file.filename)
    mirror.check()


def test_fifty_questions_for_one_file_are_one_download(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    with Fetcher(on_demand(tmp_path, simulator)) as fetcher:
        hold = simulator.hold(file.path)
        numbers = [fetcher.ask(FileQuestion(0, "six", file.filename)) for _ in range(50)]
        hold.wait_reached()
        hold.release()
        assert all(isinstance(fetcher.wait(number), Here) for number in numbers)
    assert simulator.downloads(file.filename) == 1


def test_a_file_asked_for_again_is_placed_though_its_bad_bytes_are_given_up_meanwhile(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    simulator.fault(file, Corrupt(at=100), nth=1)
    with Fetcher(mirror) as fetcher:
        assert not isinstance(fetcher.file("six", file.filename), Here)
        hold = simulator.hold(file.path)
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        hold.wait_reached()
        until(lambda: not mirror.query("SELECT * FROM asked"))  # the keeper has given them up
        hold.release()
        assert isinstance(fetcher.wait(number), Here)
        fetcher.wait_placed(mirror, file.filename)
    assert [row["filename"] for row in mirror.query("SELECT filename FROM asked")] == [
        file.filename
    ]
    mirror.check()


def test_a_file_is_seen_while_it_comes(simulator: Simulator, tmp_path: Path) -> None:
    (file,) = offer(simulator, "six", "1.0")
    with Fetcher(on_demand(tmp_path, simulator)) as fetcher:
        hold = simulator.hold(file.path, after=300)
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        hold.wait_reached()
        coming = fetcher.wait_coming(number)
        assert coming.size == file.size and coming.digests == {"sha256": file.sha256}
        assert not fetcher.is_answered(number)
        hold.release()
        assert isinstance(fetcher.wait(number), Here)


def test_a_sync_while_a_file_is_asked_for(simulator: Simulator, tmp_path: Path) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (other,) = offer(simulator, "idna", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna"]})
    with Fetcher(mirror) as fetcher:
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        assert mirror.sync(sound=False).state == "completed"
        assert isinstance(fetcher.wait(number), Here)
        fetcher.wait_placed(mirror, file.filename)
        assert mirror.sync().state == "completed"
    assert mirror.holds(file) and mirror.holds(other)
    assert sorted(mirror.projects) == ["idna", "six"]


def test_what_others_require_stays_when_a_client_asks_for_another_version(
    simulator: Simulator, tmp_path: Path
) -> None:
    """The fetcher has started before the sync that follows requirements."""
    made = make_wheel("app", "1.0", requires=["six < 2"])
    simulator.add_file("app", *made)
    (old,), (new,) = offer(simulator, "six", "1.0"), offer(simulator, "six", "2.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["app"], "dependencies": "all"})
    with Fetcher(mirror) as fetcher:
        assert mirror.sync(sound=False).state == "completed"
        assert mirror.holds(old) and not mirror.holds(new)
        assert isinstance(fetcher.file("six", new.filename), Here)
        fetcher.wait_placed(mirror, new.filename)
    assert {old.filename, new.filename} <= set(mirror.files("six"))
    mirror.check()


def test_a_sync_leaves_a_file_to_the_request_that_fetches_it(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,), _ = offer(simulator, "six", "1.0"), offer(simulator, "idna", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna"]})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(file.path)
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        hold.wait_reached()
        syncing = threading.Thread(target=mirror.sync, kwargs={"sound": False})
        syncing.start()
        syncing.join(PATIENCE)  # it does not wait for the file
        assert not syncing.is_alive() and not fetcher.is_answered(number)
        hold.release()
        assert isinstance(fetcher.wait(number), Here)
        fetcher.wait_placed(mirror, file.filename)
    assert simulator.downloads(file.filename) == 1
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


@pytest.mark.parametrize(
    "options",
    [Options(), Options(quick=True), Options(repair=True)],
    ids=["plain", "quick", "repair"],
)
def test_files_get_their_places_while_a_verification_goes_on(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    monkeypatch.setattr(gate, "EVERY", 0.0)
    (file,) = offer(simulator, "six", "1.0")
    (other,) = offer(simulator, "idna", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna"]})
    mirror.sync()

    def verify(run: Run) -> None:
        assert isinstance(fetcher.file("six", file.filename), Here)
        while not mirror.query("SELECT 1 FROM marks WHERE name = ?", WAITING.name):
            time.sleep(0.02)
        audit(run, options, sequence.repair)
        fetcher.wait_placed(mirror, file.filename)
        assert run.ledger.so_far()["files_checked"] >= 1

    with Fetcher(mirror) as fetcher:
        assert mirror.sync(work=verify, sound=False).state == "completed"
    assert mirror.holds(file) and mirror.holds(other)
    assert mirror.sync().state == "completed"


def test_the_next_sync_has_no_doubt_about_the_mirror(
    simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    mirror.sync()
    with Fetcher(mirror) as fetcher:
        fetcher.file("six", file.filename)
        fetcher.wait_placed(mirror, file.filename)
    assert mirror.query("SELECT 1 FROM marks WHERE name = 'in doubt'") == []
    caplog.clear()
    summary = mirror.sync()
    assert "files_checked" not in summary.counts or not summary.counts["files_checked"]
    assert not caplog.records


def test_what_the_keeper_makes_is_what_a_sync_makes(simulator: Simulator, tmp_path: Path) -> None:
    (wheel,) = offer(simulator, "six", "1.0")
    attest(wheel)
    sdist = offer_sdist(simulator, "idna", "1.0")
    asked = on_demand(tmp_path / "asked", simulator)
    with Fetcher(asked) as fetcher:
        for file in (wheel, sdist):
            assert isinstance(fetcher.file(file.project.normalized, file.filename), Here)
        fetcher.wait_placed(asked, wheel.filename, sdist.filename)
    asked.sync()
    synced = Mirror(tmp_path / "synced", simulator, mirror={"reserve": 0})
    synced.sync()
    names = {str(path.relative_to(synced.root)) for path in tree(synced.root)}
    assert names == {str(path.relative_to(asked.root)) for path in tree(asked.root)}
    for name in names:
        assert (asked.root / name).read_bytes() == (synced.root / name).read_bytes(), name


def tree(root: Path) -> list[Path]:
    return [path for top in ("simple", "packages") for path in (root / top).rglob("*.*")]


def test_what_a_killed_fetcher_had_fetched_is_verified_again_and_placed_by_the_next(
    simulator: Simulator, tmp_path: Path
) -> None:
    good, bad = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator)
    store = mirror.root / ".pypimirror" / "on_demand" / "1"
    with Fetcher(mirror) as fetcher:
        for file in (good, bad):
            assert isinstance(fetcher.file("six", file.filename), Here)
        fetcher.kill()
    assert mirror.state(good.filename) is None  # clients come first
    (store / "packages" / "six" / bad.filename).write_bytes(bytes(bad.content)[::-1])
    simulator.forget()
    with Fetcher(mirror) as fetcher:
        assert not (store / "packages" / "six").exists()  # nobody serves it
        fetcher.wait_placed(mirror, good.filename)
        fetcher.wait_placed(mirror, bad.filename)
    assert not simulator.downloads(good.filename) and simulator.downloads(bad.filename) == 1
    mirror.check()


def test_the_store_may_be_lost_at_any_time(simulator: Simulator, tmp_path: Path) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        assert isinstance(fetcher.page("six"), Here)
    shutil.rmtree(mirror.root / ".pypimirror" / "on_demand")
    with Fetcher(mirror) as fetcher:
        number = fetcher.ask(PageQuestion(0, "six"))
        assert isinstance(fetcher.wait(number), Here)
        assert isinstance(fetcher.file("six", file.filename), Here)
        fetcher.wait_placed(mirror, file.filename)
    mirror.check()


def test_a_fetcher_ends_with_its_server(simulator: Simulator, tmp_path: Path) -> None:
    (file,) = offer(simulator, "six", "1.0")
    fetcher = Fetcher(on_demand(tmp_path, simulator))
    hold = simulator.hold(file.path)
    fetcher.ask(FileQuestion(0, "six", file.filename))
    hold.wait_reached()
    fetcher.close()
    assert fetcher.process.returncode == 0
    hold.release()
