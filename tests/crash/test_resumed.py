"""Parent and children killed in the middle of a transfer: what had come of it is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.build import make_sdist
from tests.crash.harness import Victim, kill_with_children, leftovers
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

SIZE, HERE = 8_000_000, 6_000_000


@pytest.mark.thorough
def test_a_large_file_goes_on_where_a_killed_run_left_it(
    victim: Victim, simulator: Simulator, tmp_path: Path
) -> None:
    (done,) = offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator)
    assert victim.run(mirror, real=True)["pid"]
    assert victim.answer()["state"] == "completed"
    large = simulator.add_file("idna", *make_sdist("idna", "1.0", padding=SIZE))
    hold = simulator.hold(large, after=HERE, times=1)
    pid = victim.run(mirror, real=True)["pid"]
    hold.wait_reached()
    arrived(mirror)
    kill_with_children(pid)
    assert victim.answer() == {"killed": True}
    hold.release()
    mirror.check()
    assert mirror.query("SELECT state FROM runs ORDER BY id DESC")[0]["state"] == "running"
    here = sum(path.stat().st_size for path in staged(mirror))
    assert here > SIZE // 2
    simulator.forget()
    victim.run(mirror, real=True)
    assert victim.answer()["state"] == "completed"
    mirror.check()
    (request,) = simulator.find(f"*/{large.filename}")
    assert request.headers["range"] == f"bytes={here}-"
    assert request.sent <= len(large.content) - here + 1000  # and a head
    assert mirror.holds(large)
    assert simulator.downloads(done.filename) == 0
    assert leftovers(mirror) == []
    states = [row["state"] for row in mirror.query("SELECT state FROM runs ORDER BY id")]
    assert states == ["completed", "crashed", "completed"]


def staged(mirror: Mirror) -> list[Path]:
    return list((mirror.root / ".pypimirror" / "staging").rglob("*.part"))


def arrived(mirror: Mirror) -> None:
    """Wait until the worker has written what was sent: it takes that from the socket in order."""
    before = -1
    while True:
        size = sum(path.stat().st_size for path in staged(mirror))
        if size > SIZE // 2 and size == before:
            return
        before = size
