"""A fetcher that is killed at any step leaves a mirror that keeps its promises (promise 4)."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from pypimirror.on_demand.messages import Away, FileQuestion, Here
from tests.mirror import attest, offer
from tests.on_demand.fetcher import PATIENCE, Fetcher, on_demand
from tests.on_demand.site import until
from tests.sampling import sample
from tests.simulator import Simulator

VICTIM = "tests.on_demand.victim"

#: More than a fetcher takes for one file.
STEPS = range(1, 90)


@pytest.mark.parametrize("step", sample(STEPS, 25, 44, 60))
def test_a_fetcher_that_is_killed_at_any_step(
    simulator: Simulator, tmp_path: Path, step: int
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    attest(file)
    mirror = on_demand(tmp_path, simulator)
    mirror.sync()
    fetcher = Fetcher(mirror, VICTIM, str(mirror.root), str(step), "0")
    if fetcher.is_ready:
        number = fetcher.ask(FileQuestion(0, "six", file.filename))
        fetcher.wait_end(number)
        deadline = time.monotonic() + PATIENCE
        while not fetcher.is_over and mirror.state(file.filename) != "published":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        fetcher.kill()
    assert mirror.faults(agree=False) == []
    with Fetcher(mirror) as again:
        assert isinstance(again.file("six", file.filename), Here)
        again.wait_placed(mirror, file.filename)
    assert mirror.faults(agree=False) == []  # the next run writes the root index
    assert mirror.sync().state == "completed" and mirror.holds(file)


def test_a_full_disk_is_away_and_what_is_held_stays(simulator: Simulator, tmp_path: Path) -> None:
    (held,) = offer(simulator, "idna", "1.0")
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna"]})
    mirror.sync()
    mirror.configure(mirror={"reserve": 1 << 60})
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", file.filename)
        assert isinstance(answer, Away) and "not enough space" in answer.reason
        assert "/" not in answer.reason  # clients need no paths of this machine
        assert mirror.query("SELECT * FROM asked") == []
    assert mirror.holds(held)
    mirror.configure(mirror={"reserve": 0})
    with Fetcher(mirror) as fetcher:
        assert isinstance(fetcher.file("six", file.filename), Here)


def test_what_a_killed_fetcher_left_gets_its_place_without_free_space(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Its bytes are on this disk already: they were removed, or waited for an error to pass."""
    (file,), (slow,) = offer(simulator, "six", "1.0"), offer(simulator, "idna", "1.0")
    attest(file)
    mirror = on_demand(tmp_path, simulator, download={"timeout": 600})
    with Fetcher(mirror, "tests.on_demand.busy") as fetcher:
        hold = simulator.hold(slow.path)
        fetcher.ask(FileQuestion(0, "idna", slow.filename))
        hold.wait_reached()
        assert isinstance(fetcher.file("six", file.filename), Here)
        fetcher.kill()
    hold.release()
    mirror.configure(mirror={"reserve": 1 << 60})
    with Fetcher(mirror) as again:
        again.wait_placed(mirror, file.filename)
    assert simulator.downloads(file.filename) == 1


@pytest.mark.parametrize("step", sample(STEPS, 25, 36, 40, 44, 52, 60))
def test_a_disk_without_space_from_any_step_on(
    simulator: Simulator, tmp_path: Path, step: int
) -> None:
    """What is held stays, and with space again, the file comes and gets its place."""
    (held,) = offer(simulator, "idna", "1.0")
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["idna"]})
    mirror.sync()
    full = Fetcher(mirror, VICTIM, str(mirror.root), str(step), str(errno.ENOSPC))
    if full.is_ready:
        number = full.ask(FileQuestion(0, "six", file.filename))
        full.wait_end(number)
        if full.is_answered(number):
            answer = full.wait(number)
            assert isinstance(answer, Here) or str(mirror.base) not in str(answer)
            assert isinstance(answer, Here | Away)
            if isinstance(answer, Here) and answer.path:
                assert Path(answer.path).read_bytes() == bytes(file.content)
        full.kill()
    assert mirror.faults(agree=False) == [] and mirror.holds(held)
    with Fetcher(mirror) as again:
        assert isinstance(again.file("six", file.filename), Here)
        again.wait_placed(mirror, file.filename)
    assert mirror.sync().state == "completed" and mirror.holds(file)


def test_a_fetcher_that_ends_places_the_files_of_its_turn(
    simulator: Simulator, tmp_path: Path
) -> None:
    """They were taken from its keeper, which then said that they were lost."""
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    fetcher = Fetcher(mirror, "tests.on_demand.slow", str(tmp_path))
    assert isinstance(fetcher.file("six", file.filename), Here)
    until((tmp_path / "waits").exists)
    fetcher.hang_up()
    (tmp_path / "goes").touch()
    assert fetcher.process.wait(PATIENCE) == 0
    assert mirror.holds(file) and mirror.state(file.filename) == "published"
    mirror.check()
