"""`runs show` has a row for each worker of a run."""

from __future__ import annotations

from contextlib import closing

from pypimirror.catalog import holder
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import runs
from pypimirror.catalog.queries.work import workers
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

COLUMNS = ["worker", "executor", "host", "state", "took", "batches", "projects", "files", "bytes"]


def add(mirror: Mirror, executor: str, name: str, state: str, message: str = "") -> None:
    """Record a worker that has done two batches."""
    here = holder.this_process(holder.this_machine())
    with closing(Catalog.open(mirror.config.catalog_url)) as catalog, catalog.write() as connection:
        run = runs.find(connection, "last")
        assert run is not None
        worker = workers.start(connection, run.id, executor, name, here, 60.0)
        counts = {"files_verified": 412, "bytes_downloaded": 3 << 20}
        workers.progress(connection, worker, 2, 200, counts)
        if state != "working":
            workers.end(connection, worker, state, message)


def test_each_worker_has_a_row(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline", "-q")
    add(mirror, "shard", "1", "completed")
    add(mirror, "shard", "2", "failed", "No space left on device")
    add(mirror, "shard", "2", "working")
    document = run("runs", "show", "last", "--json").json
    shards = [each for each in document["workers"] if each["executor"] == "shard"]
    assert [(each["name"], each["state"], each["message"]) for each in shards] == [
        ("1", "completed", None),
        ("2", "failed", "No space left on device"),
        ("2", "working", None),
    ]
    first, last = shards[0], shards[-1]
    assert first["host"] == holder.this_machine().host
    assert (first["batches"], first["projects"]) == (2, 200)
    assert (first["files"], first["bytes"]) == (412, 3 << 20)
    assert first["seconds"] is not None
    assert last["seconds"] is None
    text = run("runs", "show", "last").out
    head, *rows = text[text.index("worker  ") :].splitlines()
    assert head.split() == [*COLUMNS, "message"]
    found = [row.split() for row in rows if "shard" in row.split()]
    assert [row[-1] for row in found] == ["MiB", "device", "MiB"]
    assert "workers" not in run("runs", "show", "last", "--failures", "--json").json


def test_a_run_that_did_all_itself_has_no_table_of_workers(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline", "-q")
    add(mirror, "inline", "1", "completed")
    assert "executor" not in run("runs", "show", "last").out
    add(mirror, "inline", "2", "lost", "its process has died")
    assert "its process has died" in run("runs", "show", "last").out
