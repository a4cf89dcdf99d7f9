"""Not enough space is seen before a download and in it; the rest of the run goes on."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline.context import pools as pools_module
from pypimirror.system import space
from pypimirror.system.workers import Workers
from tests.corpus.build import make_sdist
from tests.mirror import Mirror, offer, reasons
from tests.simulator import Drip, Simulator, Truncate

RESERVE = 1 << 20


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is free from the first look on, the second, …; the last goes on for ever."""
    left = [RESERVE]
    monkeypatch.setattr(space, "free", lambda path: left.pop(0) if len(left) > 1 else left[0])
    return left


def test_a_download_that_does_not_fit_is_not_begun_and_all_else_is_done(
    mirror: Mirror, simulator: Simulator, disk: list[int]
) -> None:
    mirror.configure(mirror={"reserve": RESERVE})
    gone, kept = offer(simulator, "six", "1.0", "1.1")
    disk[0] = 1 << 40
    assert mirror.sync().state == "completed"
    gone.remove()
    (new,) = offer(simulator, "idna", "1.0")
    disk[0] = RESERVE + len(new.content) - 1
    simulator.forget()
    result = mirror.sync()
    assert result.state == "failed"
    (problem,) = result.failures
    assert problem.reason is Reason.DISK and result.stages == ["download"]
    assert str(mirror.root) in result.message and "reserve" in result.message
    assert simulator.downloads(new.filename) == 0
    # What makes room is done all the same.
    assert mirror.files("six") == [kept.filename]
    assert not mirror.path(gone).exists()
    assert mirror.state(new.filename) == "wanted"
    disk[0] += 1
    assert mirror.sync().state == "completed"
    assert mirror.holds(new)


def test_a_download_stops_when_the_disk_fills_under_it(
    mirror: Mirror, simulator: Simulator, disk: list[int]
) -> None:
    mirror.configure(mirror={"reserve": RESERVE})
    (file,) = offer(simulator, "six", "1.0")
    disk[:] = [1 << 40, RESERVE - 1]
    result = mirror.sync()
    assert result.state == "failed"
    assert {problem.reason for problem in result.failures} == {Reason.DISK}
    assert str(mirror.root) in result.message
    disk[:] = [1 << 40]
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert simulator.downloads(file.filename) == 0  # what had come was noted


def test_a_large_file_is_stopped_in_its_midst(
    mirror: Mirror, simulator: Simulator, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run's workers end with it; those that tests share would go on with what was stopped.
    monkeypatch.setattr(pools_module, "Workers", Workers)
    mirror.configure(mirror={"reserve": RESERVE})
    file = simulator.add_file("six", *make_sdist("six", "1.0", padding=8_000_000))
    simulator.fault(f"*/{file.filename}", Drip(1 << 16, 0.05), times=1)
    disk[:] = [1 << 40, RESERVE - 1]
    result = mirror.sync()
    assert result.state == "failed" and "not enough space" in result.message
    (request,) = simulator.find(f"*/{file.filename}")
    assert request.sent < len(file.content)
    disk[:] = [1 << 40]
    result = mirror.sync()
    assert result.state == "completed", result.failures
    assert mirror.holds(file)


def test_bytes_that_are_here_already_need_no_room(
    mirror: Mirror, simulator: Simulator, disk: list[int]
) -> None:
    mirror.configure(mirror={"reserve": RESERVE})
    file = simulator.add_file("six", *make_sdist("six", "1.0", padding=8_000_000))
    simulator.fault(f"*/{file.filename}", Truncate(at=6_000_000), times=1)
    disk[:] = [1 << 40]
    assert mirror.sync().state == "incomplete"
    disk[:] = [RESERVE + len(file.content) - 6_000_000]
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


@pytest.mark.parametrize("number", [1, 3])
def test_a_size_that_does_not_fit_is_left_out_and_takes_no_room_from_others(
    mirror: Mirror, simulator: Simulator, disk: list[int], number: int
) -> None:
    """Be it true or false: the upstream's word for one file decides nothing for another."""
    mirror.configure(mirror={"reserve": RESERVE})
    liars = offer(simulator, "evil", *(f"{n}.0" for n in range(number)))
    for file in liars:
        file.set(size=1 << 30)
    disk[0] = RESERVE + (1 << 30) - 1
    good = [*offer(simulator, "six", "1.0"), *offer(simulator, "a", "1.0")]
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "failed"
        assert "not enough space" in result.message
        assert all(mirror.holds(file) for file in good)
        assert {mirror.state(file.filename) for file in liars} == {"wanted"}


@pytest.mark.parametrize("number", [1, 3])
def test_a_claimed_size_that_is_refused_anyway_takes_no_room_from_others(
    mirror: Mirror, simulator: Simulator, number: int
) -> None:
    """Nor does the sum of such sizes end anything."""
    liars = offer(simulator, "evil", *(f"{n}.0" for n in range(number)))
    for file in liars:
        file.set(size=2**43 - 1)
    (good,) = offer(simulator, "six", "1.0")
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {file.filename: "size-mismatch" for file in liars}
    assert mirror.holds(good)
