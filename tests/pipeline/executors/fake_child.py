"""Children that do no work, to see what the process does that leads the run.

`FAKE_CHILD` in the environment says how they behave.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing

import msgspec

from pypimirror.catalog import claims
from pypimirror.catalog.database import Catalog, Connection
from pypimirror.catalog.queries import runs
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.states import CHILD
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.executors import handover
from pypimirror.pipeline.executors.messages import (
    Began,
    Ended,
    FailureReport,
    LogLine,
    Message,
    Moved,
)

FULL = Problem(Reason.DISK, "the disk is full. Free some space and run again.")


def say(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def work(orders: handover.Handover) -> None:
    """Record what a child records that fails at a project, ends a batch, and is in the next."""
    problem = Problem(Reason.BAD_PAGE, "nonsense", f"of-{os.getpid()}")
    with (
        closing(Catalog.open(orders.config.catalog_url)) as catalog,
        claims.hold(catalog, orders.run_id, executor=CHILD, name=orders.worker) as held,
    ):
        say(Began(held.id))

        def change(connection: Connection) -> None:
            runs.add_failures(connection, orders.run_id, Stage.DISCOVER, [problem])
            batches.start(connection, orders.run_id, Stage.DISCOVER, orders.number)
            workers.progress(connection, held.id, 1, 20, {"files_verified": 5})

        catalog.apply(change)
        os._exit(9)


def main() -> None:
    orders = handover.read(sys.stdin.buffer)
    assert orders is not None
    match os.environ["FAKE_CHILD"]:
        case "dies":
            sys.exit(f"worker {orders.worker} is out of luck")
        case "works and dies":
            work(orders)
        case "is full" if orders.slot == 0:
            say(Ended(stopped=FULL, stage=Stage.VERIFY))
        case "is full" | "waits":
            sys.stdin.buffer.read()
            say(Ended(counts={"files_verified": 5}))
        case "tells":
            say(LogLine("warning", "the upstream is slow", "pypimirror"))
            say(LogLine("", f"hello from {orders.worker}"))
            say(Moved({Stage.DOWNLOAD: (4, 400, 3, 300)}, 2))
            say(
                FailureReport(Stage.DOWNLOAD, Problem(Reason.MISSING, "gone", "six", orders.worker))
            )
            say(Ended(counts={"files_verified": 3}, no_room=FULL if orders.slot else None))


if __name__ == "__main__":
    main()
