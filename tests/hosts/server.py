"""The process of a host: it forks a worker for each job, in the host's network.

python -m tests.hosts.server NAME LIFETIME [real]

What a machine is called, and what its kernel says of itself, is made up. So no host can tell
whether a process of another one lives. Reads one job a line:

    {"config": FILE, "run": ID, "now": SECONDS, "batch": NUMBER, "step": NUMBER}

The worker's process id is written at once, and at its end how it ended. Forking makes this fast:
nothing is imported again, and the statements that the first job has compiled are there for all.
That one runs in this very process. With `real`, a worker has the usual sizes, and children that
fetch and verify.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gevent
from sqlalchemy.exc import SQLAlchemyError

from pypimirror.catalog import claims, engines, holder, lease, states
from pypimirror.catalog.database import Catalog
from pypimirror.config.settings import Config, load
from pypimirror.domain.model import PypimirrorError, Stage
from pypimirror.download.files import transfer
from pypimirror.download.http import opening
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.download import download
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.run import Run, make
from pypimirror.pipeline.sequence import perform
from pypimirror.select.selection import Selection
from pypimirror.storage.opening import open_storage
from pypimirror.storage.workspace import Workspace
from tests import databases
from tests.pools import by_thread

make_pools: MakePools = by_thread

#: Projects in a batch: small, so that several workers have something to do.
BATCH = 2


def small_sizes(change: Callable[[object, str, object], None] = setattr) -> None:
    """Let batches be small, and let interrupted transfers of small files be continued."""
    change(loop, "BATCH_SIZE", BATCH)
    change(loop, "SMALLEST_BATCH", BATCH)
    change(loop, "LANES", 1)
    change(transfer, "WORTH_A_NOTE", 1 << 16)
    change(transfer, "WORTH_RESUMING", 1 << 14)
    change(download, "WORTH_A_NOTE", 1 << 16)


def pace(lifetime: float) -> lease.Pace:
    """Return times of claims that expire soon."""
    return lease.Pace(lifetime, heartbeat=lifetime / 6, again=lifetime / 10, margin=lifetime / 3)


def work(host: str, job: dict[str, Any]) -> dict[str, Any]:
    """Be a worker of a run; return how it ended."""
    try:
        with joined(load(Path(job["config"])), host, job) as (run, worker):
            worker.work_off(
                run, perform, tuple(Stage), job["batch"], small_ends=True, step=job["step"]
            )
    except (PypimirrorError, SQLAlchemyError) as error:
        return {"state": type(error).__name__, "message": str(error)}
    return {"state": "completed"}


@contextmanager
def joined(config: Config, host: str, job: dict[str, Any]) -> Iterator[tuple[Run, loop.Loop]]:
    """Become a worker of the run that the test process leads, with as little as that takes."""
    reporter, common = LogReporter(), Workspace(config.directory)
    with (
        closing(Catalog.open(config.catalog_url)) as catalog,
        claims.hold(catalog, job["run"], executor=states.SHARD, name=host) as held,
    ):
        workspace = common.of_worker(held.id)
        workspace.create()
        storage = open_storage(workspace)
        storage.guard = catalog.guard
        run = make(
            config,
            Selection(config),
            catalog,
            storage,
            workspace,
            reporter,
            Ledger(catalog, job["run"], reporter),
            None,
            make_pools=make_pools,
            id=job["run"],
            now=job["now"],
        )
        held.on_lost = run.cancel
        try:
            yield run, loop.Loop(held, run.ledger.so_far(), workspace)
        finally:
            run.pools.close()
            workspace.give_back()


def serve(host: str) -> None:
    """Fork a worker for each job but the first, until the input ends."""
    for number, line in enumerate(sys.stdin):
        if not number:
            print(json.dumps({"pid": os.getpid()}), flush=True)
            print(json.dumps(work(host, json.loads(line))), flush=True)
            gevent.get_hub().destroy(destroy_loop=True)  # none of it may be shared
            continue
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            gc.disable()  # it would touch, and so copy, all that is shared
            try:
                said = work(host, json.loads(line))
            except BaseException:  # noqa: BLE001
                said = {"state": "raised", "message": traceback.format_exc()}
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
        os.close(writer)
        print(json.dumps({"pid": pid}), flush=True)
        with os.fdopen(reader, "rb") as stream:
            answer = stream.read()
        _, status = os.waitpid(pid, 0)
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"state": "killed"} if is_killed else json.loads(answer)), flush=True)


def main(name: str, lifetime: str, kind: str = "") -> None:
    """Be this host."""
    global make_pools
    machine = holder.Machine(name, id=name, boot=name, namespace="pid:[1]")
    holder.this_machine = lambda: machine
    lease.PACE = pace(float(lifetime))
    engines._PROMPT = (
        f"SET LOCAL idle_in_transaction_session_timeout = {int(float(lifetime) * 700)}"
    )
    if kind == "real":
        make_pools = pools.start
    else:
        small_sizes()
    databases.compile_once()
    opening.make_tls_context = functools.cache(opening.make_tls_context)
    serve(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
