"""A child that works on a run: `python -P -m pypimirror.pipeline.executors.child`.

It gets a `Handover` on its standard input, and writes `messages` to its standard output. When its
input ends, it gives back its claims and ends.
"""

from __future__ import annotations

if __name__ == "__main__":
    from pypimirror.system import abrupt

    abrupt.install(signals=False)

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import NoReturn

from msgspec.structs import replace

from pypimirror.catalog import claims, damage
from pypimirror.catalog.database import Catalog, sqlite_file
from pypimirror.catalog.engines import errors
from pypimirror.catalog.states import CHILD
from pypimirror.domain.model import PypimirrorError
from pypimirror.pipeline import conclude, sequence
from pypimirror.pipeline.context import pools
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.context.pools import MakePools
from pypimirror.pipeline.executors import handover
from pypimirror.pipeline.executors.handover import Handover
from pypimirror.pipeline.executors.loop import at_work
from pypimirror.pipeline.executors.messages import Began, Ended, Relay, RelayHandler
from pypimirror.pipeline.run import Run, make
from pypimirror.storage.changes import Journal
from pypimirror.storage.durability import choose
from pypimirror.storage.opening import opener
from pypimirror.storage.slots import ROOM, Slots
from pypimirror.storage.workspace import Workspace
from pypimirror.system.memory import relax_collector
from pypimirror.system.space import Room
from pypimirror.system.workers import Cancelled

#: Seconds that this process has for its end after the end of its input.
_GRACE = 5.0

#: Batches that a child works on at the same time.
LANES = 2


def main() -> NoReturn:
    """Work until no project is free, then end at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    output = os.dup(1)
    os.dup2(2, 1)  # a stray print must not break the protocol
    orders = handover.read(sys.stdin.buffer)
    if orders is None:
        os._exit(0)
    relax_collector()
    relay = Relay(partial(_write, output))
    logging.basicConfig(level=logging.WARNING, handlers=[RelayHandler(relay)], force=True)
    logging.getLogger("pypimirror").setLevel(orders.log_level)
    try:
        relay.end(work(orders, relay, _at_end_of_input))
    except claims.ClaimLostError:  # it is in the log already
        os._exit(1)
    os._exit(0)


def work(
    orders: Handover,
    relay: Relay,
    at_end: Callable[[Callable[[], None]], None],
    make_pools: MakePools = pools.start,
    lanes: int = LANES,
) -> Ended:
    """Work as a worker of the run. Return the facts that the run must know about this work.

    `at_end` gets a function that ends the work. Raises `ClaimLostError`.
    """
    with closing(Catalog.open(orders.config.catalog_url)) as catalog:
        ledger = Ledger(catalog, orders.run_id, relay)
        ledger.learn({}, (), orders.unreachable, orders.no_room, answered=orders.answered)
        stopped = None
        try:
            with (
                damage.reported(catalog.shown, catalog.read),
                _opened(orders, ledger, make_pools) as run,
            ):
                at_end(run.cancel)
                _work(orders, run, relay, lanes)
        except claims.ClaimLostError:
            raise
        except Cancelled:
            pass  # this is the end that the run wants
        except (PypimirrorError, errors.SQLAlchemyError, OSError) as error:
            stopped = conclude.as_problem(error, catalog)
        return Ended(
            counts=dict(ledger.counts),
            unsure=sorted(ledger.unsure),
            unreachable=ledger.unreachable,
            no_room=ledger.no_room,
            answered=ledger.answered,
            stopped=stopped,
            stage=ledger.stage,
        )


def _work(orders: Handover, run: Run, relay: Relay, lanes: int) -> None:
    with at_work(run, CHILD, orders.worker) as loop:
        relay.send(Began(loop.worker.id))
        try:
            replace(loop, lanes=lanes, workers=orders.workers).work_off(
                run,
                sequence.perform,
                orders.stages,
                orders.number,
                orders.small_ends,
                step=orders.workers,
            )
        finally:
            run.pools.close()  # nobody may write to what is given back now


@contextmanager
def _opened(orders: Handover, ledger: Ledger, make_pools: MakePools) -> Iterator[Run]:
    """Open all that a run needs, and close it."""
    config, catalog = orders.config, ledger.catalog
    workspace = Workspace(config.directory)
    file = sqlite_file(config.catalog_url)
    durability = choose(config.mirror.durability, config.directory, file)
    storage = opener(config.bucket)(workspace, durability)
    with ExitStack() as stack:
        if config.publish.changes is not None:
            storage.changes = stack.enter_context(closing(Journal(workspace.private / "changes")))
        slots = Slots(workspace.staging / ROOM, orders.workers + 1, orders.slot)
        stack.callback(slots.close)
        run = make(
            config,
            orders.selection,
            catalog,
            storage,
            workspace,
            ledger.reporter,
            ledger,
            orders.names,
            make_pools=make_pools,
            id=orders.run_id,
            name=orders.name,
            command=orders.command,
            retry=orders.retry,
            now=orders.now,
        )
        stack.callback(run.pools.close)
        room = Room(workspace.directory, int(config.mirror.reserve), slots)
        yield replace(run, fetches=orders.fetches, cache=orders.cache, room=room)


def _write(descriptor: int, line: bytes) -> None:
    data = memoryview(line)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:  # the parent is gone
        os._exit(1)


def _at_end_of_input(cancel: Callable[[], None]) -> None:
    def watch() -> None:
        while os.read(0, 1 << 10):
            pass
        threading.Timer(_GRACE, os._exit, (1,)).start()
        cancel()

    threading.Thread(target=watch, name="input", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: cancel())


if __name__ == "__main__":
    main()
