"""Another process of the web server: `python -P -m pypimirror.serve.processes.program …`.

The first process starts it. It inherits the listening socket, one end of a channel, and the memory
of the counts. It gives direct answers. A connection with any other request goes to the first
process, with the bytes that were read from it, and stays there.

When its channel ends, or after SIGTERM, it accepts no more connections, gives running answers
`DRAIN` seconds to finish, and ends. So it also ends if the first process is killed.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all other imports, and never inside another program
    from pypimirror.system import abrupt  # itself imports nothing

    abrupt.install(signals=False)

    from gevent import monkey

    monkey.patch_all()

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import msgspec
from gevent.event import Event
from gevent.socket import socket

from pypimirror.serve.direct.counts import AnswerCounts
from pypimirror.serve.direct.direct import Direct, Hits, TreeHits
from pypimirror.serve.files import Directory
from pypimirror.serve.handlers import DRAIN, RequestHandler, Server
from pypimirror.serve.processes.channel import Channel, HandedConnection
from pypimirror.system import streams

if TYPE_CHECKING:
    from pypimirror.serve.processes.hits import BelievedHits


class Passing(RequestHandler):
    """A handler that gives direct answers, and passes other connections on."""

    channel: Channel

    def go_the_long_way(self) -> Any:
        """Give the connection to the first process."""
        with contextlib.suppress(OSError):  # it is ending
            self.channel.hand_over(HandedConnection(self.socket.fileno(), self.rfile.peek()))
        # pywsgi reads from a connection before it closes it. Here, only this copy is closed.
        self.rfile.close()
        self.socket = None  # type: ignore[assignment]  # so that pywsgi leaves it alone


class Quiet(Passing):
    """The same, without a log of requests."""

    def log_direct(self, data: bytes, answer: object) -> None:
        """Log nothing."""


def main() -> int:
    """Serve until the channel ends or a signal comes; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    options = _parser().parse_args()
    stop = Event()
    gevent.signal_handler(signal.SIGTERM, stop.set)
    Passing.channel = Channel(socket(fileno=options.channel))
    tree = Directory(options.directory)
    told = _told(Passing.channel) if options.on_demand else None
    hits: Hits = told or TreeHits(tree)
    server = Server(
        socket(fileno=options.listener),
        None,
        Direct(tree, hits, AnswerCounts(options.counts, options.rows, options.row)),
        log="default" if options.verbose else None,
        handler_class=Passing if options.verbose else Quiet,
        environ={"SERVER_NAME": "", "wsgi.multiprocess": True},
    )
    server.start()
    gevent.spawn(_listen, Passing.channel, told, stop)
    stop.wait()
    server.close()
    server.connections.finish(DRAIN)
    if told is not None:
        told.tell()
    return 0


def _told(channel: Channel) -> BelievedHits:
    # Imported here, because nothing else needs on demand.
    from pypimirror.serve.processes.hits import BelievedHits

    return BelievedHits(channel)


def _listen(channel: Channel, told: BelievedHits | None, stop: Event) -> None:
    """Note believed pages until the channel ends."""
    try:
        for message in channel.messages():
            if told is not None:
                told.hear(message)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"pypimirror: The first process cannot be understood ({error}).", file=sys.stderr)
    finally:
        stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    for name in ("listener", "channel", "counts", "rows", "row"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--on-demand", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    return parser


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main())
