"""Shards for real: a Prefect server, a work pool, workers, and one sync that they share.

Small batches keep the syncs small: each shard sets their size as its deployment says
(`tests.flows.small_shards`).
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from flows import deployments, shards
from flows.sync import run_sync
from pypimirror.config import settings
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.summary import Summary
from tests import buckets, postgresql
from tests.checker import check
from tests.corpus.build import make_wheel
from tests.databases import Databases
from tests.flows.stack import Stack, children, wait_for
from tests.flows.test_deployments import is_of
from tests.simulator import Hold, Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = [f"project{number:02}" for number in range(12)]

#: How `runs show` and Prefect call the same end.
SAME = {"completed": "Completed", "failed": "Failed", "cancelled": "Cancelled", "lost": "Crashed"}


#: Where catalog and files are, besides SQLite and a directory.
ON_POSTGRESQL = pytest.mark.parametrize("shared", ["postgresql"], indirect=True)
IN_A_BUCKET = pytest.mark.parametrize("shared", ["bucket"], indirect=True)


@pytest.fixture
def shared(
    request: pytest.FixtureRequest,
    config: Path,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """A configuration with three shards, for a dozen projects."""
    for name in NAMES:
        simulator.add_file(name, *make_wheel(name, "1.0"))
    kind, catalog, lines = getattr(request, "param", "sqlite"), "", ["[workers]", "shards = 3"]
    server: Databases | None = None
    if kind != "sqlite":
        server = request.getfixturevalue("server_databases")
        catalog = server.migrated()
        mirror = [f'catalog = "{catalog}"']
        if kind == "bucket":
            request.getfixturevalue("keys_of_the_bucket")
            bucket = request.getfixturevalue("seaweed").bucket()
            mirror.append(f'storage = "{bucket.shown}"')
            lines += ["[s3]", f'endpoint = "{bucket.endpoint}"']
        said = config.read_text()
        config.write_text(said.replace("[mirror]\n", "\n".join(["[mirror]", *mirror, ""])))
    with config.open("a") as file:
        file.write("\n".join(["", *lines, ""]))
    monkeypatch.setattr(shards, "PATIENCE", 600.0)
    for module in (loop, shards):
        monkeypatch.setattr(module, "BATCH_SIZE", 2)
    monkeypatch.setattr(loop, "SMALLEST_BATCH", 2)
    monkeypatch.setattr(loop, "LANES", 1)
    yield config
    if server is not None:
        server.take_back({catalog})


@pytest.fixture
def deployed(stack: Stack, shared: Path, in_process: None) -> None:
    """The deployments, with a shard that has small batches."""
    deployments.apply(shared, settings.load(shared))
    path = Path(__file__).with_name("small_shards.py")
    with get_client(sync_client=True) as client:
        for name, flow in ((shards.DEPLOYMENT, "shard"), ("sync/adhoc", "sync")):
            found = client.read_deployment_by_name(name)
            client.create_deployment(
                flow_id=found.flow_id,
                name=found.name,
                entrypoint=f"{path}:{flow}",
                parameters=found.parameters,
                work_pool_name=found.work_pool_name,
                pull_steps=found.pull_steps,
            )


@contextmanager
def worker_of(stack: Stack, name: str, limit: int) -> Iterator[int]:
    """A worker for the work pool, with so many places; its process id."""
    command = (stack.programs / "prefect", "worker", "start", "--pool", "pypimirror")
    options = ("--name", name, "--limit", str(limit))
    with stack.process(f"worker-{name}", *command, *options, **buckets.ENVIRONMENT) as worker:
        yield worker


def at_once(config: Path, hold: Hold, meddle: Callable[[], object]) -> Summary:
    """Sync, and do something else while downloads are held."""

    def meddle_or_release() -> None:
        try:
            meddle()
        finally:
            hold.release()

    with ThreadPoolExecutor(1) as other:
        meddling = other.submit(meddle_or_release)
        summary = run_sync(str(config), [])
        meddling.result()
    return summary


def states_of(config: Path) -> list[str]:
    """The states of the shards of the last run, as the catalog has them."""
    query = (
        "SELECT state FROM workers WHERE executor = 'shard' "
        "AND run_id = (SELECT max(id) FROM runs) ORDER BY state"
    )
    return ask(config, query)


def in_hand(config: Path) -> list[int]:
    """How many projects each shard has that has any."""
    return ask(config, "SELECT count(*) FROM claims GROUP BY worker_id")


def ask(config: Path, query: str) -> list[Any]:
    """The first column of what the catalog answers."""
    url = settings.load(config).catalog_url
    if url.startswith("postgresql"):
        return [row[0] for row in postgresql.execute(url, query)]
    file = config.parent / "mirror" / ".pypimirror" / "catalog.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return [row[0] for row in connection.execute(query)]
    except sqlite3.OperationalError:  # it is not there yet
        return []


def faults(config: Path) -> list[str]:
    """What is wrong with promises 1 to 3."""
    root, bucket = config.parent / "mirror", settings.load(config).bucket
    if bucket is not None:
        root = config.parent / "seen"
        for path, content in buckets.content(bucket).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        assert {path.name for path in (root / "simple").iterdir()} >= set(NAMES)
    return check(root)


def running() -> dict[str, Any]:
    """A filter for shards that run."""
    return {"name": {"like_": "-shard-"}, "state": {"type": {"any_": ["RUNNING"]}}}


def of_run(stack: Stack, summary: Summary) -> dict[str, dict[str, Any]]:
    """The flow runs of the shards of a run, by number."""
    head = f"sync-{summary.run}-shard-"
    found = stack.flow_runs(name={"like_": head})
    return {each["name"].removeprefix(head): each for each in found}


def agree(stack: Stack, config: Path, summary: Summary) -> list[dict[str, Any]]:
    """The workers of a run; they have ended as Prefect says."""
    flow_runs = of_run(stack, summary)
    twice = "SELECT batch FROM stages GROUP BY run_id, stage, batch HAVING count(*) > 1"
    assert ask(config, twice) == []
    rows = stack.pypimirror("runs", "show", "last", "--config", config)["workers"]
    last = {row["name"]: row["state"] for row in rows if row["executor"] == "shard"}
    assert {name: SAME[state] for name, state in last.items()} == {
        name: flow_runs[name]["state_name"] for name in last
    }
    return list(rows)


def test_without_a_worker_the_sync_works_itself(
    stack: Stack, shared: Path, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PATIENCE", 0.5)
    monkeypatch.setattr(shards, "EVERY", 0.1)
    summary = run_sync(str(shared), [])
    assert summary.state == "completed"
    assert summary.message == "of 3 shards, 3 not begun; all their work was done"
    assert faults(shared) == []
    assert {each["state_type"] for each in of_run(stack, summary).values()} == {"CANCELLED"}
    (row,) = agree(stack, shared, summary)
    assert (row["executor"], row["projects"]) == ("inline", len(NAMES))


@ON_POSTGRESQL
@pytest.mark.thorough
def test_one_fails_one_is_cancelled_and_one_dies(
    stack: Stack, shared: Path, deployed: None, simulator: Simulator
) -> None:
    """Prefect repeats the first, which does the work of the others. Nothing else is lost."""
    shared.with_name("fail-1").touch()
    hold = simulator.hold("*.whl")

    def meddle() -> None:
        wait_for(lambda: states_of(shared) == ["failed", "working", "working", "working"])
        found = {each["name"][-1]: each["id"] for each in stack.flow_runs(**running())}
        hold.wait_reached(60)
        for pid in [pid for worker in workers for pid in children(worker)]:
            if is_of(pid, found["2"]):
                os.kill(pid, signal.SIGKILL)
        stack.api(f"flow_runs/{found['3']}/set_state", state={"type": "CANCELLING"})
        wait_for(lambda: "cancelled" in states_of(shared))

    with ExitStack() as stop:
        workers = [stop.enter_context(worker_of(stack, name, 1)) for name in ("a", "b", "c")]
        summary = at_once(shared, hold, meddle)
    assert summary.state == "completed"
    assert summary.message.startswith("of 3 shards, 1 lost (its process has died")
    assert "1 cancelled" in summary.message
    assert faults(shared) == []
    rows = agree(stack, shared, summary)
    assert sorted((row["name"], row["state"]) for row in rows) == [
        ("1", "completed"), ("1", "failed"), ("2", "lost"), ("3", "cancelled"),
    ]  # fmt: skip
    assert summary.counts["files_verified"] == len(NAMES)
    assert of_run(stack, summary)["1"]["run_count"] == 2


@IN_A_BUCKET
@pytest.mark.thorough
def test_the_server_restarts_and_there_is_one_place_for_three_shards(
    stack: Stack, shared: Path, deployed: None, simulator: Simulator
) -> None:
    hold = simulator.hold("*.whl")

    def meddle() -> None:
        wait_for(lambda: states_of(shared) == ["working"])
        hold.wait_reached(60)
        stack.stop_server()
        stack.start_server()

    with worker_of(stack, "one", 1):
        summary = at_once(shared, hold, meddle)
    assert summary.state == "completed"
    assert summary.message == "of 3 shards, 2 not begun; all their work was done"
    assert faults(shared) == []
    (row,) = agree(stack, shared, summary)
    assert (row["state"], row["projects"]) == ("completed", len(NAMES))
    found = of_run(stack, summary)
    assert sorted(each["state_name"] for each in found.values()) == [
        "Cancelled", "Cancelled", "Completed",
    ]  # fmt: skip


@pytest.mark.thorough
def test_with_the_sync_its_shards_are_cancelled(
    stack: Stack, shared: Path, deployed: None, simulator: Simulator
) -> None:
    """The next sync, which they share again, does the rest."""
    hold = simulator.hold("*.whl")
    adhoc = stack.api("deployments/name/sync/adhoc")["id"]
    with worker_of(stack, "one", 4):
        path, parameters = f"deployments/{adhoc}/create_flow_run", {"config": str(shared)}
        sync = stack.api(path, parameters=parameters, state={"type": "SCHEDULED"})["id"]
        wait_for(lambda: in_hand(shared) == [4, 4, 4])
        stack.api(f"flow_runs/{sync}/set_state", state={"type": "CANCELLING"}, force=True)
        wait_for(lambda: stack.api(f"flow_runs/{sync}")["state_name"] == "Cancelled")
        mine = {"parent_flow_run_id": {"any_": [sync]}}
        wait_for(lambda: {e["state_type"] for e in stack.flow_runs(**mine)} == {"CANCELLED"})
        run = stack.pypimirror("runs", "--config", shared)["runs"][0]
        assert run["state"] == "cancelled"
        assert set(states_of(shared)) <= {"cancelled", "lost"}
        hold.release()
        hold = simulator.hold("*.whl")
        summary = at_once(shared, hold, lambda: wait_for(lambda: in_hand(shared) == [4, 4, 4]))
    assert (summary.state, summary.message) == ("completed", "")
    assert faults(shared) == []
    rows = agree(stack, shared, summary)
    assert [(row["executor"], row["projects"]) for row in rows] == [("shard", 4)] * 3
    assert summary.counts["files_verified"] == len(NAMES)
