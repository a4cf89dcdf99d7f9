"""The process of a host: it forks a worker for each job, in the host's network.

python -m tests.hosts.server NAME LIFETIME [real | ENDPOINT]

What a machine is called, and what its kernel says of itself, is made up. So no host can tell
whether a process of another one lives. Reads one job a line, for a worker or for a coordinator:

    {"config": FILE, "share": PATH, "run": ID, "now": SECONDS, "batch": NUMBER, "step": NUMBER}
    {"config": FILE, "share": PATH, "hosts": NUMBER}

The process id of the job is written at once, and at its end how it ended. A coordinator says when
its workers can begin. With a `share`, the directory of the mirror is reached by it. Forking makes
this fast: nothing is imported again, and the statements that the first job has compiled are there
for all. That one runs in this very process. With `real`, a worker has the usual sizes, and children
that fetch and verify. With the endpoint of an object storage, its clients are made once.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from sqlalchemy.exc import SQLAlchemyError

from pypimirror.catalog import claims, holder, lease, states
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.engines import servers
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import claims as claim_queries
from pypimirror.catalog.queries.work import workers
from pypimirror.config.settings import Config, load
from pypimirror.domain.model import PypimirrorError, Stage
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.download.files import transfer
from pypimirror.download.http import opening
from pypimirror.pipeline import lifecycle, sequence, waiting
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.download import download
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.executors.inline import inline
from pypimirror.pipeline.executors.loop import Call, WorkOff
from pypimirror.pipeline.run import Run, make
from pypimirror.pipeline.sequence import perform
from pypimirror.select.selection import Selection
from pypimirror.storage.opening import open_storage
from pypimirror.storage.s3 import clients
from pypimirror.storage.workspace import Workspace
from pypimirror.system.workers import Cancelled
from tests import databases
from tests.hosts import shares
from tests.pools import by_thread

make_pools: MakePools = by_thread

#: Projects in a batch: small, so that several workers have something to do.
BATCH = 2

#: Seconds between two looks of a coordinator at what the workers have in hand.
EVERY = 0.05

#: How many such looks the workers have to begin.
PATIENCE = 20


def small_sizes(change: Callable[[object, str, object], None] = setattr) -> None:
    """Let batches be small, and let interrupted transfers of small files be continued."""
    change(loop, "BATCH_SIZE", BATCH)
    change(loop, "SMALLEST_BATCH", BATCH)
    change(loop, "LANES", 1)
    change(transfer, "WORTH_A_NOTE", 1 << 16)
    change(transfer, "WORTH_RESUMING", 1 << 14)
    change(download, "WORTH_A_NOTE", 1 << 16)


def pace(lifetime: float) -> lease.LeaseTimes:
    """Return times of claims that expire soon."""
    return lease.LeaseTimes(
        lifetime, heartbeat=lifetime / 6, again=lifetime / 10, margin=lifetime / 3
    )


def do(host: str, job: dict[str, Any]) -> dict[str, Any]:
    """Do a job; return how it ended. A coordinator without hosts has the usual time to live."""
    if not job.get("hosts", 1):
        lease.PACE = lease.LeaseTimes()
    if job.get("share"):
        shares.use(load(Path(job["config"])).directory, job["share"])
    return lead(job) if "hosts" in job else work(host, job)


def lead(job: dict[str, Any]) -> dict[str, Any]:
    """Be the coordinator of a run: wait for the workers, and do what they leave."""
    executor = partial(led, job["hosts"]) if job["hosts"] else inline
    try:
        summary = lifecycle.sync(
            load(Path(job["config"])),
            (),
            partial(sequence.sync, executor=executor),
            trigger="test",
            make_pools=make_pools,
            wait=60,
        )
    except (PypimirrorError, SQLAlchemyError, OSError) as error:
        return {"state": type(error).__name__, "message": str(error)}
    return {"state": summary.state, "message": summary.message}


@contextmanager
def led(hosts: int, call: Call) -> Iterator[WorkOff]:
    """Let so many workers begin. What none of them does is done here."""

    def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
        told = {"run": run.id, "now": run.now, "batch": number, "step": hosts + 1}
        print(json.dumps(told), flush=True)
        patience = PATIENCE
        while _is_any_left(run):
            begun, working = _others(run)
            patience -= 1
            if not working and (begun >= hosts or patience < 0):
                work_here(run, stages, number, small_ends)
            if run.cancelled.wait(EVERY):
                raise Cancelled("cancelled")
        with run.catalog.read() as connection:
            return batches.last(connection, run.id)

    with inline(call, hosts + 1) as work_here:
        yield work_off


def _others(run: Run) -> tuple[int, int]:
    """How many other workers have begun, and how many of them have claims that hold."""
    here = holder.this_machine()
    with run.catalog.read() as connection:
        found = workers.of_run(connection, run.id)
        others = workers.others(connection, run.id, 0)
    begun = {row.id for row in found if row.executor == states.SHARD}
    return len(begun), sum(each.id in begun and not each.is_gone(here) for each in others)


def _is_any_left(run: Run) -> bool:
    with run.catalog.read() as connection:
        return claim_queries.is_any_left(connection)


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
        storage = open_storage(workspace, bucket=config.bucket)
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
            yield run, loop.Loop(held, run.ledger.so_far(), workspace, loop.lanes_for(config))
        finally:
            run.pools.close()
            workspace.give_back()


def make_clients_once(endpoint: str) -> None:
    """Let all jobs use one client of boto3, which takes long to make, with little patience."""
    clients.Patience = partial(  # type: ignore[assignment,misc]
        clients.Patience, tries=3, first=0.01, longest=0.1, timeout=1
    )
    bucket = Bucket("none", "", endpoint=endpoint)
    boto = clients.Clients(bucket).boto
    clients._boto = lambda *_: boto


def serve(host: str) -> None:
    """Fork a worker for each job but the first, until the input ends."""
    for number, line in enumerate(sys.stdin):
        if not number:
            print(json.dumps({"pid": os.getpid()}), flush=True)
            short, lease.PACE = (
                lease.PACE,
                lease.LeaseTimes(),
            )  # nobody may take over from this process
            print(json.dumps(do(host, json.loads(line))), flush=True)
            lease.PACE = short
            gevent.get_hub().destroy(destroy_loop=True)  # none of it may be shared
            continue
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            gc.disable()  # it would touch, and so copy, all that is shared
            try:
                said = do(host, json.loads(line))
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
    global make_pools, PATIENCE
    machine = holder.Machine(name, id=name, boot=name, namespace="pid:[1]")
    holder.this_machine = lambda: machine
    lease.PACE = pace(float(lifetime))
    servers._PROMPT = (
        f"SET LOCAL idle_in_transaction_session_timeout = {int(float(lifetime) * 700)}"
    )
    waiting.FIRST = 0.05
    if kind == "real":
        make_pools, PATIENCE = pools.start, 1000
    else:
        small_sizes()
    if kind.startswith("http"):
        make_clients_once(kind)
    databases.compile_once()
    opening.make_tls_context = functools.cache(opening.make_tls_context)
    serve(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
