"""The fetcher: `python -P -m pypimirror.on_demand.fetcher`; `messages` says who starts it, and how.

The main thread reads the questions. Each is answered in a thread of its own (`desk`), and one
thread places fetched files (`keeper`). When its input ends, the server has ended. Then the fetcher
ends when the keeper has ended its turn, or after `GRACE`. Both are as safe as a kill, because
nothing depends on its store.
"""

from __future__ import annotations

if __name__ == "__main__":
    from pypimirror.system import abrupt, children, memory

    abrupt.install(signals=False)
    memory.calm_collector()
    children.start_early("pypimirror.download.worker")  # the first question needs it

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

from pypimirror import __version__
from pypimirror.catalog.database import Connection
from pypimirror.catalog.engines import errors
from pypimirror.catalog.lease import LostError
from pypimirror.catalog.queries.work import asked
from pypimirror.config.settings import Config, load
from pypimirror.domain.model import PypimirrorError
from pypimirror.on_demand import messages, opening
from pypimirror.on_demand.desk import Desk
from pypimirror.on_demand.files import DeskFiles
from pypimirror.on_demand.grouped import Grouped
from pypimirror.on_demand.index import Index
from pypimirror.on_demand.keeping.keeper import Keeper
from pypimirror.on_demand.keeping.turns import Turns
from pypimirror.on_demand.keeping.upkeep import Upkeep
from pypimirror.on_demand.messages import Counted, Message, Ready, Used
from pypimirror.on_demand.pages import DeskPages
from pypimirror.system import clock
from pypimirror.system.memory import relax_collector

log = logging.getLogger(__name__)

#: Seconds that the keeper has for the end of its turn: as long as a server waits that still lives.
GRACE = 2.0


class ServerLink:
    """The connection to the server. Safe to use from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message. Without a server, this process ends."""
        line = messages.line(message)
        try:
            with self._lock:
                self._socket.sendall(line)
        except OSError:
            os._exit(0)

    def questions(self) -> Callable[[], messages.FromServer | None]:
        """Return a function that waits for the next message; it returns None if none will come."""

        def following() -> messages.FromServer | None:
            try:
                line = self._lines.readline()
            except ConnectionError:  # the server was killed, and had not read everything
                return None
            return messages.from_server(line) if line.endswith(b"\n") else None

        return following


def main() -> NoReturn:
    """Answer questions until the server has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pypimirror").setLevel(logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--link", type=int, required=True)
    options = parser.parse_args()
    try:
        work(load(options.config), ServerLink(options.link))
    except (PypimirrorError, errors.SQLAlchemyError, OSError) as error:
        print(f"the fetcher cannot work: {error}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def work(config: Config, link: ServerLink) -> None:
    """Answer the questions that come over `link`, until it ends."""
    with ExitStack() as stack:
        opened = stack.enter_context(opening.opened(config))
        priority = opened.run.lanes.priority
        grouped = Grouped(opened.run.catalog, priority.given_up)
        keeper = Keeper(
            Turns(opened.keeping, opened.worker),
            opened.store,
            opened.source,
            lambda: desk.quiet_for(),
        )
        pages, index = DeskPages(opened.run, opened.store), Index(opened.run, opened.store)
        worker = opened.worker
        files = DeskFiles(
            opened.run, opened.store, pages, grouped, lambda: worker.id, keeper.keep, keeper.placed
        )
        desk = Desk(pages, files, index.answer, link.send, priority)
        upkeep = Upkeep(
            opened.keeping,
            opened.store,
            lambda: {
                "upstream_pages_total": pages.asked,
                "upstream_files_total": files.asked,
                "upstream_bytes_total": files.received,
            },
            lambda figures: link.send(Counted(figures)),
        )
        ending = threading.Event()
        stack.callback(ending.set)
        threading.Thread(target=upkeep.work, args=(ending,), name="upkeep", daemon=True).start()
        placing = threading.Thread(target=_keep, args=(keeper,), name="keeper", daemon=True)
        placing.start()
        files.take_leftovers()
        relax_collector()
        link.send(Ready(__version__))
        following = link.questions()
        while (message := following()) is not None:
            if isinstance(message, Used):
                grouped.later(partial(_note_use, keeper.not_waiting(message.files), clock.now()))
            else:
                desk.ask(message)
        keeper.end()
        placing.join(GRACE)
        if placing.is_alive():  # its files must stay where they are
            os._exit(0)


def _note_use(pairs: list[asked.Pair], at: float, connection: Connection) -> None:
    asked.used(connection, pairs, at)


def _keep(keeper: Keeper) -> None:
    """Place files. If this fails, the process ends, because it would be useless."""
    try:
        keeper.work()
    except LostError:  # it is in the log already
        os._exit(1)
    except BaseException:
        log.exception("the keeper has ended")
        os._exit(1)


if __name__ == "__main__":
    main()
