"""Promises 1 to 4 on object storage: killed before any change, the bucket keeps them.

The steps are those of `tests.crash`, changes of the workspace and commits of the catalog, and
besides each change of the bucket. The checker sees only what is in the bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import buckets
from tests.crash.harness import Victim, differences, without_serials
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "stride"),
    sample([(update, 23), (update, 9), (first, 13)], (update, 23)),
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


def proven(mirror: InBucket) -> set[str]:
    """The files that the catalog calls verified."""
    if not mirror.mirror.has_catalog:
        return set()
    rows = mirror.mirror.query("SELECT filename FROM files WHERE state IN (2, 3)")
    return {row["filename"] for row in rows}
