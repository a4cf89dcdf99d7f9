"""The coordinator of shards, without a server: when it waits, works itself, and what it tells."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Crashed, Failed, Scheduled

from flows import shards
from pypimirror.catalog.records import WorkerRecord
from pypimirror.domain.model import Stage
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.system.workers import Cancelled


def row(name: str, state: str, message: str = "", number: int = 0, projects: int = 0) -> Any:
    fields = dict.fromkeys(WorkerRecord.__struct_fields__)
    known = {"id": number, "name": name, "state": state, "message": message or None}
    return SimpleNamespace(
        **fields | known | {"host": "far", "projects": projects, "batches": projects // 100}
    )


@dataclass
class Told:
    """Keeps what a reporter is told."""

    lines: list[str] = field(default_factory=list)
    done: int = 0

    def note(self, level: str, message: str) -> None:
        self.lines.append(f"{level}: {message}")

    def finished(self, projects: int) -> None:
        self.done += projects


class Shards:
    """Shards as the coordinator sees them: what it finds at each look, the last one for ever."""

    def __init__(self, *looks: list[Any], may_begin: bool = True, number: int = 3) -> None:
        self.flow_runs = dict.fromkeys(range(1, number + 1))
        self.told = Told()
        self.run: Any = SimpleNamespace(reporter=self.told, cancelled=threading.Event())
        self.is_done = False
        self.rests = 0
        self._looks = [*looks]
        self._may_begin = may_begin

    def is_work_left(self) -> bool:
        return not self.is_done

    def rows(self) -> list[Any]:
        found = self._looks[0]
        if len(self._looks) > 1:
            self._looks.pop(0)
        return found

    def is_any_working(self, rows: list[Any]) -> bool:
        return any(each.state == "working" for each in rows)

    def may_begin(self) -> bool:
        return self._may_begin

    def rest(self) -> None:
        self.rests += 1
        self.is_done = True

    def wait(self) -> None:
        shards._wait(self, self.rest)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "EVERY", 0.0)
    monkeypatch.setattr(shards, "PATIENCE", 3600.0)


def test_while_a_shard_works_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long, and whatever became of the others."""
    monkeypatch.setattr(shards, "PATIENCE", 0.0)
    looks = [[row("1", "working"), row("2", "failed", "boom", 1)]] * 20
    found = Shards(*looks, may_begin=False)
    progress = shards.ShardProgress.show

    def show(self: shards.ShardProgress, rows: Any) -> None:
        progress(self, rows)
        found.is_done = len(found._looks) == 1

    monkeypatch.setattr(shards.ShardProgress, "show", show)
    found.wait()
    assert found.rests == 0


@pytest.mark.parametrize(
    ("looks", "number", "said"),
    [
        ([], 3, "none of 3 shards has begun"),
        ([], 0, "there are no shards"),
        ([row("1", "failed", "boom")], 1, "of 1 shards, none works any more"),
    ],
)
def test_if_no_shard_can_begin_any_more_it_works_itself_at_once(
    looks: list[Any], number: int, said: str
) -> None:
    found = Shards(looks, may_begin=False, number=number)
    found.wait()
    assert found.rests == 1
    (told,) = [line for line in found.told.lines if line.startswith("warning: ")]
    assert told.startswith(f"warning: {said}: this run does the work itself")
    assert ("Does a Prefect worker serve the work pool" in told) == (not looks)


@pytest.mark.parametrize("looks", [[], [row("1", "lost")]])
def test_if_shards_may_still_begin_it_is_patient(
    looks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Shards(looks)
    waited = iter([False, False, True])
    found.run.cancelled = SimpleNamespace(wait=lambda _: next(waited))
    with pytest.raises(Cancelled):
        found.wait()
    assert found.rests == 0
    monkeypatch.setattr(shards, "PATIENCE", 0.0)
    found.run.cancelled = threading.Event()
    found.wait()
    assert found.rests == 1


def test_progress_counts_projects_and_tells_each_change_once() -> None:
    told = Told()
    progress = shards.ShardProgress(SimpleNamespace(reporter=told))  # type: ignore[arg-type]
    progress.show([row("1", "working", number=1)])
    progress.show([row("1", "working", number=1, projects=200)])
    both = [row("1", "failed", "boom", 1, 200), row("1", "working", number=2, projects=100)]
    progress.show(both)
    progress.show(both)
    assert told.done == 300
    assert told.lines == [
        "info: shard 1 on far: working",
        "info: shard 1 on far: failed, 2 batches, 200 projects: boom",
        "info: shard 1 on far: working, 1 batch, 100 projects",
    ]


def test_a_long_wait_tells_the_progress_of_those_who_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_LINE", 0.0)
    told = Told()
    progress = shards.ShardProgress(SimpleNamespace(reporter=told))  # type: ignore[arg-type]
    for done in (0, 100):
        progress.show([row("1", "working", number=1, projects=done), row("2", "failed", number=2)])
    assert told.lines == [
        "info: shard 1 on far: working",
        "info: shard 2 on far: failed",
        "info: shard 1 on far: working, 1 batch, 100 projects",
    ]


@pytest.mark.parametrize(
    ("rows", "known", "said"),
    [
        ([row("1", "completed"), row("2", "completed")], {}, ""),
        # Prefect has repeated it.
        ([row("1", "failed", "boom"), row("2", "completed"), row("1", "completed")], {}, ""),
        ([row("1", "completed")], {2: Scheduled()}, "1 not begun"),
        ([], {}, "2 not begun"),
        ([row("1", "completed")], {2: Failed(message="select")}, "1 failed (select)"),
        ([row("1", "lost", "gone")], {2: Crashed(message="-9")}, "1 lost (gone), 1 failed (-9)"),
        ([row("1", "working"), row("2", "cancelled")], {}, "1 still at work, 1 cancelled"),
        ([row("1", "failed", "a"), row("2", "failed", "b")], {2: Completed()}, "2 failed (a)"),
    ],
)  # fmt: skip
def test_what_is_said_of_shards_that_did_not_end_well(
    rows: list[Any], known: dict[int, Any], said: str
) -> None:
    found = shards.trouble([1, 2], rows, known)
    assert found == (said and f"of 2 shards, {said}; all their work was done")


def test_without_prefect_or_the_deployment_there_are_fewer_shards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is told, and no error of the run."""
    made = iter([SimpleNamespace(id="one"), httpx.ConnectError("no http://me:s3cret@127.0.0.1")])

    def run_deployment(name: str, **more: Any) -> Any:
        assert more["parameters"]["number"] in (4, 5)
        found = next(made, ObjectNotFound(KeyError(name)))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(shards, "run_deployment", run_deployment)
    told = Told()
    run = SimpleNamespace(
        name="20260101-0300", command="sync", reporter=told, config=SimpleNamespace(directory="/m")
    )
    found = shards.Shards(run)  # type: ignore[arg-type]
    found.start([4, 5], {}, 1)
    assert found.flow_runs == {4: "one"}
    found.start([5], {}, 1)
    assert found.faults == [
        "Prefect cannot start shards: no http://127.0.0.1",
        "there is no deployment sync/shard: 'pypimirror deploy' makes it",
    ]
    assert told.lines == [f"warning: {fault}" for fault in found.faults]


@pytest.mark.parametrize(
    ("free", "expected"), [(0, 0), (100, 0), (101, 2), (250, 3), (300, 3), (5000, 3)]
)
def test_there_is_at_most_one_shard_for_each_batch(
    free: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards.claims, "number_free", lambda *given: min(free, given[2]))
    assert shards.number_of_shards(whole_run(), tuple(Stage)) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"names": ("six",)},
        {"retry": Retry("20260101-0300", "", only={"six": frozenset({"six-1.0.tar.gz"})})},
        {"shards": 0},
        {"changes": "changes.txt"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_is_no_sync_of_everything_has_no_shards(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry of all that a run left open is one."""
    monkeypatch.setattr(shards.claims, "number_free", lambda *given: given[2])
    assert shards.number_of_shards(whole_run(**changed), tuple(Stage)) == 0
    assert shards.number_of_shards(whole_run(), (Stage.DISCOVER,)) == 0
    assert shards.number_of_shards(whole_run(retry=Retry("20260101-0300", "")), tuple(Stage)) == 3


def whole_run(**changed: Any) -> Any:
    values = {"names": None, "retry": None, "shards": 3, "changes": None, **changed}
    return SimpleNamespace(
        names=values["names"],
        retry=values["retry"],
        reporter=Told(),
        catalog=SimpleNamespace(read=lambda: nullcontext()),
        config=SimpleNamespace(
            workers=SimpleNamespace(shards=values["shards"]),
            publish=SimpleNamespace(changes=values["changes"]),
        ),
    )
