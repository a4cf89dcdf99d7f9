"""A process that does runs in children which die, or whose disk fails, at a given step.

python -m tests.crash.victim

Reads one job a line:

    {"config": FILE, "command": "sync" or "repair", "step": N, "fault": NUMBER, "real": BOOL}

The child dies with SIGKILL right before step N (`steps`), or that step and all like it from then on
fail with the error of that number. Answers with {"killed": true}, or with how the run ended. With
`pair`, two workers work on the run, each in a process of its own, and it is the first one that
dies, or whose disk fails. With `s3`, each change of a bucket is a step, too, and what fails is the
server; with "only" as its value, there are no other steps. With `heartbeat`, what a process holds
is renewed every so many seconds. With `real`, the run has real workers and no steps, and its pid is
written at once. Forking is what makes this fast: nothing is imported again, and what one run in
this very process (`warm`) has compiled is there for all.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from msgspec.structs import replace
from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

from pypimirror.catalog import lease
from pypimirror.catalog.mapping import sql
from pypimirror.config.settings import load
from pypimirror.domain.model import PypimirrorError
from pypimirror.download.http import opening
from pypimirror.pipeline import lifecycle, run, sequence
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.executors.inline import inline as inline_executor
from tests.crash import pair, power, steps
from tests.pools import inline


class Fate:
    """What becomes of a child at its steps."""

    def __init__(
        self, root: Path, step: int | None, fault: int | None, *, only_bucket: bool
    ) -> None:
        self.root = root
        self.only_bucket = only_bucket
        self.step = step
        self.fault = fault
        self.reached = 0
        self.at: tuple[str, str] | None = None  # what the step was

    def __call__(self, what: str, where: str) -> None:
        if self.only_bucket and not what.startswith("s3 "):
            return
        self.reached += 1
        if self.step is None or self.reached < self.step:
            return
        if self.fault is None:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.at is None:
            self.at = what, where
        if what == self.at[0] and where.split("/")[0] == self.at[1].split("/")[0]:
            raise steps.failure(what, self.fault or 0, self.root / where)


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Do one run; return how it ended."""
    file = Path(job["config"])
    config = load(file)
    only_bucket = job.get("s3") == "only"
    fate = Fate(config.directory, job.get("step"), job.get("fault"), only_bucket=only_bucket)
    make_pools, watched = pools.start, pair.Watched()
    if "heartbeat" in job:
        lease.PACE = replace(lease.PACE, heartbeat=job["heartbeat"])
    if not job.get("real"):
        make_pools = inline
        recorder = None
        if target := job.get("record"):
            recorder = power.Recorder(config.directory, Path(target))
        watched.on_step = recorder or (fate if not job.get("pair") else pair.ignored)
        steps.watch(config.directory, watched)
    if job.get("s3"):
        steps.watch_bucket(watched)
    executor = pair.pair(fate, watched) if job.get("pair") else inline_executor
    work, command = partial(sequence.sync, executor=executor), "sync"
    if job.get("command") == "repair":
        command = "verify"

        def work(current: run.Run) -> None:
            repair = partial(sequence.repair, executor=executor)
            audit.audit(current, audit.Options(repair=True), repair)

    try:
        result = lifecycle.sync(
            config, (), work, trigger="test", command=command, make_pools=make_pools
        )
    except PypimirrorError as error:
        ended: dict[str, Any] = {"state": "refused", "message": str(error), "failures": []}
    else:
        ended = result.as_json() | {"message": result.message}
        if not job.get("real") and recorder is not None:
            recorder("end", "")
    return ended | {"steps": fate.reached, "at": fate.at}


def warm(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in this process, and keep what children can use."""
    opening.make_tls_context = functools.cache(opening.make_tls_context)
    create = sql.create_engine
    compiled: Any = LRUCache(1000)

    def create_engine(*arguments: Any, **more: Any) -> Engine:
        engine = create(*arguments, **more)
        engine._compiled_cache = compiled
        return engine

    sql.create_engine = create_engine
    try:
        return child(job)
    finally:
        gevent.get_hub().destroy(destroy_loop=True)  # none of it may be shared


def forked(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a child of its own."""
    if job.get("s3"):  # import them once; neither starts a thread before its first request
        import boto3  # noqa: F401
        import obstore.store  # noqa: F401
    reader, writer = os.pipe()
    write = os.write
    pid = os.fork()
    if not pid:
        gc.disable()  # it would touch, and so copy, all that is shared
        try:
            said = child(job)
        except BaseException:  # noqa: BLE001
            said = {"state": "raised", "message": traceback.format_exc(), "failures": []}
        write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    if job.get("real"):
        print(json.dumps({"pid": pid}), flush=True)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return {"killed": True}
    return dict(json.loads(answer))


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(warm(job) if job.get("warm") else forked(job)), flush=True)


if __name__ == "__main__":
    main()
