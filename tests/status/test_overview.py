"""What the status page says is what one finds by counting, on both databases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from pypimirror.catalog.states import PROVEN
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.audit.audit import Options
from pypimirror.pipeline.run import Run
from pypimirror.status.documents import MirrorStatus
from tests.cli.test_documents import check
from tests.mirror import Mirror, offer
from tests.simulator import Corrupt, Simulator, Status

Read = Callable[..., MirrorStatus]


def reasons(found: MirrorStatus) -> dict[str, int]:
    return {each["reason"]: each["number"] for each in found["failures"]}


def broken(simulator: Simulator) -> None:
    """Offer files that are good, missing, damaged, and in trouble for another reason."""
    files = offer(simulator, "six", *(f"1.{n}" for n in range(9)))
    for file in files[:6]:
        simulator.fault(file, Status(404))
    simulator.fault(files[6], Corrupt())
    offer(simulator, "idna", "1.0")
    simulator.fault("/simple/attrs/", Status(500))
    offer(simulator, "attrs", "1.0")


def test_the_figures_are_those_that_counting_finds(
    mirror: Mirror, simulator: Simulator, status: Read
) -> None:
    broken(simulator)
    mirror.sync()
    found = status()
    check("status-page", json.loads(json.dumps(found)))
    pages, states, size = mirror.counted_totals()
    assert found["held"] == {
        "projects": pages, "files": states["published"], "bytes": size, "linked": 0,
    }  # fmt: skip
    left = {state: number for state, number in found["backlog"]["files"].items() if number}
    assert left == {s: n for s, n in states.items() if n and s != "published"}
    assert found["failures_of"] == found["runs"][0]["run"]
    rows = mirror.query("SELECT DISTINCT reason, project, file FROM failures")
    assert reasons(found) == Counter(row["reason"] for row in rows)
    assert found["failures"][0]["reason"] == "missing"
    assert len(found["failures"][0]["examples"]) == 5
    assert found["proofs"] is not None
    proven = mirror.query("SELECT state FROM files WHERE proven_at IS NOT NULL")
    assert found["proofs"]["files"] == sum(row["state"] in PROVEN for row in proven) == 3
    assert [(each["days"], each["share"]) for each in found["proofs"]["within"]] == [
        (1, 1.0), (7, 1.0), (30, 1.0), (90, 1.0),
    ]  # fmt: skip
    assert found["space"] is not None
    assert found["freshness"]["word"] == "never"
    assert [day["failures"] for day in found["days"]] == [reasons(found)]
    assert found["months"] == found["days"]


def test_a_file_that_waits_for_another_try_is_counted(
    mirror: Mirror, simulator: Simulator, status: Read
) -> None:
    (gone,) = offer(simulator, "six", "1.0")
    simulator.fault(gone, Status(404))
    offer(simulator, "idna", "1.0")
    for _ in range(2):  # the first try again is at once
        mirror.sync()
    found = status()["backlog"]
    assert (sum(found["files"].values()), found["waiting"]) == (0, 1)
    simulator.heal()
    mirror.sync(retry=status()["runs"][0]["run"])
    assert status()["backlog"]["waiting"] == 0


def test_a_failure_stands_until_a_sync_of_everything_or_a_retry_has_mended_it(
    mirror: Mirror, simulator: Simulator, status: Read
) -> None:
    broken(simulator)
    first = mirror.sync().run
    before = reasons(status())
    mirror.sync("idna")  # it says nothing of the others
    assert reasons(status()) == before
    simulator.heal()
    mirror.sync(retry=first)
    assert reasons(status()) == {}
    assert status()["runs"][-1]["state"] == "incomplete"  # it is still listed
    mirror.sync()
    assert status()["freshness"]["word"] == "fresh"


def test_what_a_verification_finds_stands_beside_what_the_sync_left(
    mirror: Mirror, simulator: Simulator, status: Read
) -> None:
    good, bad = offer(simulator, "six", "1.0", "2.0")
    simulator.fault(bad, Status(404))
    mirror.sync()
    mirror.path(good).unlink()

    def look(run: Run) -> None:
        audit.audit(run, Options(), sequence.repair)

    verify(mirror, look)
    assert reasons(status()) == {"missing": 1, "lost": 1}
    mirror.sync()
    assert reasons(status()) == {"missing": 1}


def verify(mirror: Mirror, work: Callable[[Run], None]) -> Any:
    from pypimirror.pipeline.lifecycle import sync

    return sync(mirror.config, (), work, trigger="test", command="verify")


def test_public_figures_name_no_path_and_no_machine(
    mirror: Mirror, simulator: Simulator, status: Read
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    (mirror.root / "simple/six/index.html").unlink()
    (mirror.root / "simple/six/index.html").mkdir()
    offer(simulator, "six", "2.0")
    mirror.sync(sound=False)
    public, local = json.dumps(status()), json.dumps(status(details=True))
    assert str(mirror.root) in local
    assert str(mirror.base) not in public
    assert "message" not in public
    host = mirror.query("SELECT host FROM runs")[0]["host"]
    assert host not in public


def test_files_that_a_policy_keeps_back_are_told_apart(
    mirror: Mirror, simulator: Simulator, status: Read
) -> None:
    files = offer(simulator, "six", "1.0", "2.0", "3.0")
    simulator.fault(files[0], Status(403))
    mirror.sync()
    assert status()["kept_back"] == 1
    assert status()["failures"] == []


def test_a_mirror_before_its_first_run_has_figures(mirror: Mirror, status: Read) -> None:
    from pypimirror.pipeline.lifecycle import open_mirror

    with open_mirror(mirror.config):
        pass
    found = status()
    check("status-page", json.loads(json.dumps(found)))
    assert (found["freshness"]["word"], found["days"], found["runs"]) == ("never", [], [])
    assert found["proofs"] is None
