"""A dry run says what the next sync does, and changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import Reason
from pypimirror.pipeline.run import StoppedError
from pypimirror.storage import lock
from tests.mirror import Mirror, listing, offer, offer_sdist
from tests.simulator import Simulator


def agrees(mirror: Mirror) -> None:
    """Plan, then sync: the sync does what was said."""
    everything = listing(mirror.base)
    rows = mirror.query("SELECT * FROM files") if mirror.root.exists() else []
    planned = mirror.plan()
    # The lock is held meanwhile; SQLite makes and removes its own files beside the catalog.
    own = ("lock", "catalog.sqlite-wal", "catalog.sqlite-shm", "catalog.sqlite")
    changed = set(everything.items()) ^ set(listing(mirror.base).items())
    assert {name for name, _ in changed if not name.endswith(own)} == set()
    if mirror.root.exists():
        assert [tuple(r) for r in mirror.query("SELECT * FROM files")] == [tuple(r) for r in rows]
    before = mirror.served()
    result = mirror.sync()
    after = mirror.served()
    packages = {n for n in after.keys() - before.keys() if n.startswith("packages/")}
    fetched = {Path(name).name for name in packages if not name.endswith(".metadata")}
    removed = {Path(n).name for n in before.keys() - after.keys() if n.startswith("packages/")}
    pages = {Path(n).parent.name for n, v in after.items() if before.get(n) != v and "/p" in n}
    pages = {name for name in pages if (mirror.root / "simple" / name / "index.html").exists()}
    assert {entry.file for entry in planned.fetch} == fetched
    assert sum(entry.size or 0 for entry in planned.fetch) == result.counts["bytes_downloaded"]
    assert len(planned.withdraw) == result.counts["files_withdrawn"]
    assert {entry.file for entry in planned.remove} == {
        name for name in removed if not name.endswith(".metadata")
    }
    assert set(planned.publish) == pages
    assert [p.reason for p in planned.problems] == [p.reason for p in result.failures]


@pytest.mark.parametrize("projects", [[], ["p-a", "p-b"]], ids=["list", "named"])
def test_a_first_sync_is_planned_without_making_anything(
    mirror: Mirror, simulator: Simulator, projects: list[str]
) -> None:
    offer(simulator, "p-a", "1.0", "1.1")
    offer_sdist(simulator, "p-b", "1.0")
    mirror.select(*projects)
    mirror.plan()
    assert not mirror.root.exists()
    agrees(mirror)


def test_a_first_sync_with_a_catalog_elsewhere_is_planned_without_making_it(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "p-a", "1.0")
    catalog = mirror.base / "elsewhere.sqlite"
    mirror.configure(mirror={"catalog": f"sqlite:///{catalog}"})
    assert [entry.project for entry in mirror.plan().fetch] == ["p-a"]
    assert not catalog.exists()
    assert not mirror.root.exists()


@pytest.mark.parametrize("grace", ["0s", "1h"])
def test_additions_and_removals_are_planned(
    mirror: Mirror, simulator: Simulator, grace: str
) -> None:
    mirror.configure(delete={"grace": grace})
    gone, _ = offer(simulator, "p-a", "1.0", "1.1")
    offer(simulator, "p-b", "1.0")
    offer(simulator, "p-c", "1.0")
    mirror.sync()
    gone.remove()
    offer(simulator, "p-b", "2.0")
    offer(simulator, "p-d", "1.0")
    mirror.select(exclude=["p-c"])
    agrees(mirror)


def test_a_file_whose_grace_is_over_is_planned_to_go_also_when_its_project_changes(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    gone, _ = offer(simulator, "p-a", "1.0", "1.1")
    offer(simulator, "p-b", "1.0")
    mirror.sync()
    gone.remove()
    mirror.sync()
    mirror.query("UPDATE files SET withdrawn_at = withdrawn_at - 3601 WHERE withdrawn_at > 0")
    offer(simulator, "p-a", "1.2")
    agrees(mirror)


def test_what_the_guard_would_refuse_is_a_problem_and_no_withdrawal(
    mirror: Mirror, simulator: Simulator
) -> None:
    for name in ("p-a", "p-b", "p-c"):
        offer(simulator, name, "1.0")
    mirror.sync()
    simulator.delete_project("p-a")
    simulator.delete_project("p-b")
    planned = mirror.plan()
    assert [problem.reason for problem in planned.problems] == [Reason.DELETION_GUARD]
    assert planned.withdraw == planned.remove == []
    agrees(mirror)


def test_nothing_to_do_is_planned_as_nothing(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "p-a", "1.0")
    mirror.sync()
    planned = mirror.plan()
    assert planned.as_json() == {
        "version": 1,
        "projects": [],
        "fetch": [],
        "link": [],
        "publish": [],
        "withdraw": [],
        "remove": [],
        "bytes": 0,
        "bytes_removed": 0,
        "failures": [],
    }
    agrees(mirror)


def test_another_form_is_planned(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "p-a", "1.0")
    offer(simulator, "p-b", "1.0")
    mirror.configure(publish={"formats": ["json"]})
    mirror.sync()
    mirror.configure(publish={"formats": ["html", "json"]})
    agrees(mirror)


def test_refusals_are_planned(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "p-a", "1.0")
    simulator.add_file("p-a", "p-a-2.0.tar.gz", b"x", digests={"sha256": "0"})
    agrees(mirror)


def test_a_plan_leaves_no_run_and_says_when_no_upstream_answers(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "p-a", "1.0")
    mirror.sync()
    with simulator.refusing(), pytest.raises(StoppedError, match="no upstream answered"):
        mirror.plan()
    assert len(mirror.query("SELECT * FROM runs")) == 1


def test_a_plan_that_asks_the_upstream_holds_up_no_run(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "p-a", "1.0")
    mirror.sync()
    (new,) = offer(simulator, "p-b", "1.0")
    hold = simulator.hold("/simple/p-b/")
    with ThreadPoolExecutor(1) as pool:
        planned = pool.submit(mirror.plan)
        hold.wait_reached()
        assert mirror.sync("p-a").state == "completed"
        assert not planned.done()
        hold.release()
        assert [entry.file for entry in planned.result().fetch] == [new.filename]


def test_a_plan_does_not_wait_for_a_run(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "p-a", "1.0")
    mirror.sync()
    with lock.hold(mirror.root / ".pypimirror" / "lock"), pytest.raises(LockedError):
        mirror.plan()
