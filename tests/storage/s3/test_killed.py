"""Promises 1 to 4 on object storage: killed or refused at any change, the bucket keeps them.

The steps are those of `tests.crash`, changes of the workspace and commits of the catalog, and
besides each change of the bucket. The checker sees only what is in the bucket.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import buckets
from tests.crash.harness import Victim, differences, without_serials
from tests.crash.test_failed import FAULTS
from tests.crash.thorough import THOROUGH
from tests.mirror import attest, offer
from tests.sampling import sample
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket


@pytest.fixture
def victim(credentials: None) -> Iterator[Victim]:
    made = Victim()
    yield made
    made.close()


def update(simulator: Simulator) -> Callable[[], None]:
    """A file, a project and attestations come, a file and a project go."""
    (old,) = offer(simulator, "six", "1.0")
    (gone,) = offer(simulator, "six", "1.1")
    offer(simulator, "idna", "1.0")

    def change() -> None:
        attest(old)
        gone.remove()
        offer(simulator, "six", "2.0")
        offer(simulator, "attrs", "1.0")
        simulator.delete_project("idna")

    return change


def first(simulator: Simulator) -> Callable[[], None]:
    """Nothing is there yet."""

    def change() -> None:
        (wheel,) = offer(simulator, "six", "1.0")
        attest(wheel)
        offer(simulator, "idna", "1.0")

    return change


#: With the environment variable `THOROUGH`, each step.
EVERYTHING = [(update, 1), (first, 1)] if THOROUGH else []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "stride"),
    sample([(update, 23), (first, 13), *EVERYTHING], (update, 23)),
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_run_killed_before_any_change(
    victim: Victim,
    simulator: Simulator,
    tmp_path: Path,
    seaweed: buckets.Server,
    prepare: Callable[[Simulator], Callable[[], None]],
    stride: int,
) -> None:
    change = prepare(simulator)
    before = InBucket(tmp_path / "before", simulator, seaweed.bucket(connections=1))

    def run(mirror: InBucket, **job: Any) -> dict[str, Any]:
        return victim.run(mirror.mirror, s3=True, **job)

    if prepare is not first:
        assert run(before)["state"] == "completed"
    change()
    whole = before.copy(tmp_path / "whole")
    answer = run(whole)
    assert answer["state"] == "completed"
    assert whole.faults() == []
    expected, changes = whole.content(), 0
    for step in range(1, answer["steps"] + 1, stride):
        mirror = before.copy(tmp_path / f"killed-{step}")
        said = f"killed before step {step} of {answer['steps']}"
        assert run(mirror, step=step) == {"killed": True}, said
        assert mirror.faults(agree=False) == [], said
        changes += mirror.content() != before.content()
        ours = proven(mirror)
        simulator.forget()
        assert run(mirror)["state"] == "completed", said
        assert mirror.faults() == [], said
        # Bytes that the killed run has put without noting it: the page is rendered without them
        # before they are replaced, and then gets the next serial.
        assert without_serials(differences(mirror.content(), expected)) == {}, said
        assert not [name for name in ours if simulator.downloads(name)], said
    assert changes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "stride"),
    sample([(update, 29), (first, 17), *EVERYTHING], (update, 29)),
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_worker_killed_at_any_step_beside_another(
    victim: Victim,
    simulator: Simulator,
    tmp_path: Path,
    seaweed: buckets.Server,
    prepare: Callable[[Simulator], Callable[[], None]],
    stride: int,
) -> None:
    """The same run does the rest. What was verified is not fetched again, by nobody."""
    pair = Pair(victim, simulator, tmp_path, seaweed, prepare)
    killed = 0
    for step in range(1, pair.steps + 1, stride):
        mirror = pair.before.copy(tmp_path / f"killed-{step}")
        answer = pair.run(mirror, step=step, pair=True)
        said = f"a worker, before its step {step} of {pair.steps}: {answer}"
        assert answer["state"] == "completed", said
        pair.compare(mirror, said)
        pair.resume(mirror, said)
        killed += not answer["steps"]
    assert killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "faults"),
    sample(
        [(update, FAULTS[:1]), (first, FAULTS[1:3]), *([(update, FAULTS)] if THOROUGH else [])],
        (update, FAULTS[:1]),
    ),
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_change_that_fails_for_one_worker_beside_another(
    victim: Victim,
    simulator: Simulator,
    tmp_path: Path,
    seaweed: buckets.Server,
    prepare: Callable[[Simulator], Callable[[], None]],
    faults: tuple[int, ...],
) -> None:
    """The server is busy, fails or denies from then on, for changes of files or of pages."""
    pair = Pair(victim, simulator, tmp_path, seaweed, prepare, steps="only")
    reached = 0
    for step, fault in itertools.product(range(1, pair.steps + 1), faults):
        mirror = pair.before.copy(tmp_path / f"failed-{step}-{fault}")
        answer = pair.run(mirror, step=step, fault=fault, pair=True, s3="only")
        said = f"{errno.errorcode[fault]} at step {step} of {pair.steps}: {answer}"
        assert answer["state"] in ("completed", "incomplete", "failed"), said
        assert "fault of this program" not in answer["message"], said
        assert {failure["reason"] for failure in answer["failures"]} <= {"disk"}, said
        reached += answer["at"] is not None
        pair.resume(mirror, said)
    assert reached


class Pair:
    """A mirror before a run with two workers, and after it where nothing came in between."""

    def __init__(
        self,
        victim: Victim,
        simulator: Simulator,
        base: Path,
        seaweed: buckets.Server,
        prepare: Callable[[Simulator], Callable[[], None]],
        steps: str = "all",
    ) -> None:
        self._victim, self._simulator = victim, simulator
        change = prepare(simulator)
        self.before = InBucket(base / "before", simulator, seaweed.bucket(connections=1))
        if prepare is not first:
            assert self.run(self.before)["state"] == "completed"
        change()
        whole = self.before.copy(base / "whole")
        answer = self.run(whole, pair=True, s3=steps)
        assert answer["state"] == "completed"
        assert whole.faults() == []
        self.steps: int = answer["steps"]
        self.expected = whole.content()

    def run(self, mirror: InBucket, **job: Any) -> dict[str, Any]:
        """Do a run."""
        return self._victim.run(mirror.mirror, **{"s3": "all", **job})

    def compare(self, mirror: InBucket, said: str) -> None:
        """Hold a mirror whose run has done everything against the undisturbed one."""
        assert mirror.faults() == [], said
        assert without_serials(differences(mirror.content(), self.expected)) == {}, said

    def resume(self, mirror: InBucket, said: str) -> None:
        """Hold a mirror whose run has ended somehow against promises 1 to 4."""
        assert mirror.faults(agree=False) == [], said
        ours = proven(mirror)
        self._simulator.forget()
        assert self.run(mirror)["state"] == "completed", said
        self.compare(mirror, said)
        assert not [name for name in ours if self._simulator.downloads(name)], said


def proven(mirror: InBucket) -> set[str]:
    """The files that the catalog calls verified."""
    if not mirror.mirror.has_catalog:
        return set()
    rows = mirror.mirror.query("SELECT filename FROM files WHERE state IN (2, 3)")
    return {row["filename"] for row in rows}
