"""A web server for a mirror root: `python -P -m pypimirror.serve.server --directory D`.

For a mirror on object storage it gets `--bucket CONFIG` instead.

It runs `pypimirror.serve.app` on gevent, in a process of its own. With `--processes`, it starts
more processes that give direct answers (`processes`). When it is ready, it prints one line on
stdout, `Serving <directory> at http://HOST:PORT/`, or with `--json` a JSON document that says the
same; then it explains on stderr how to install. On SIGTERM or SIGINT it accepts no more
connections, gives running answers `DRAIN` seconds to finish, and ends with 0. It ends with 2 after
wrong use, and with 3 if it cannot listen.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all other imports, and never inside another program
    from pypimirror.system import abrupt  # itself imports nothing

    abrupt.install()

    from gevent import monkey

    monkey.patch_all()

import argparse
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import gevent.socket
from gevent.event import Event
from werkzeug.wsgi import FileWrapper

from pypimirror.domain.errors import PypimirrorError
from pypimirror.serve.app import create_app
from pypimirror.serve.direct.counts import AnswerCounts, shared_memory
from pypimirror.serve.direct.direct import Direct, TreeHits
from pypimirror.serve.files import Directory
from pypimirror.serve.handlers import BACKLOG, DRAIN, QuietHandler, RequestHandler, Server
from pypimirror.serve.install import install_commands
from pypimirror.serve.metrics import ServerMetrics
from pypimirror.serve.negotiation import PAGE_FILES
from pypimirror.serve.pages.asking import PagesForPeople
from pypimirror.serve.processes.channel import HandedConnection, Message, SentFiles
from pypimirror.serve.processes.children import Children
from pypimirror.serve.tree import AwayError, Tree
from pypimirror.system import streams

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from pypimirror.serve.demand.demand import Demand


#: Most processes.
MOST = 256

#: Seconds after `DRAIN` in which another process can end by itself.
_LATE = 1.0


class _Chunks(FileWrapper):
    """A file in chunks; other connections continue between two of them."""

    def __next__(self) -> bytes:
        gevent.sleep(0)
        return super().__next__()


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        tree = _tree(options.directory, options.bucket, may_be_new=options.on_demand is not None)
    except PypimirrorError as error:
        return _fail(2, str(error))
    number = options.processes if isinstance(tree, Directory) else 1
    memory = shared_memory(number)
    counts = AnswerCounts(memory, number)
    demand = _demand(tree, options.on_demand, counts) if options.on_demand else None
    more = {"more": demand.figures.collect} if demand is not None else {}
    metrics = ServerMetrics(options.metrics, counts, **more) if options.metrics else None
    pages = PagesForPeople(options.pages) if options.pages else None
    app = create_app(tree, metrics, pages, demand)
    try:
        server = _listen(app, _direct(tree, demand, counts), options)
    except OSError as error:
        return _fail(3, _why_not(error, options.host, options.port))
    stop = Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(signal_number, stop.set)
    children = _children(server, tree, demand, number - 1, memory, options)
    if demand is not None:
        demand.start()
    address = options.host, int(server.address[1])
    _announce(tree, *address, as_json=options.json, may_be_new=demand is not None)
    stop.wait()
    _end(server, children)
    if demand is not None:
        demand.end()
    if pages is not None:
        pages.close()
    return 0


def _end(server: Server, children: Children) -> None:
    """Accept no more connections, and let running answers finish."""
    late = time.monotonic() + DRAIN
    server.close()  # `stop` would kill running answers
    children.stop()
    server.connections.finish(DRAIN)
    children.join(late + _LATE)


def _children(
    server: Server,
    tree: Tree,
    demand: Demand | None,
    number: int,
    counts: int,
    options: argparse.Namespace,
) -> Children:
    """Start the other processes."""

    def hear(message: Message) -> None:
        if isinstance(message, HandedConnection):
            server.take(gevent.socket.socket(fileno=message.descriptor), message.unread)
        elif isinstance(message, SentFiles) and demand is not None:
            demand.used_elsewhere(message.files)

    children = Children(
        tree.shown,
        hear,
        demand.believed if demand is not None else None,
        number=number,
        listener=server.socket.fileno(),
        counts=counts,
        verbose=options.verbose,
    )
    if demand is not None:
        demand.on_belief(children.tell)
    children.start()
    return children


def _demand(tree: Tree, config: Path, counts: AnswerCounts) -> Demand:
    from pypimirror.serve.demand.demand import Demand  # only here: without it, nothing changes

    return Demand(tree, config, counts)


def _direct(tree: Tree, demand: Demand | None, counts: AnswerCounts) -> Direct | None:
    """Return the direct answers. A mirror on object storage has none."""
    if not isinstance(tree, Directory):
        return None
    if demand is None:
        return Direct(tree, TreeHits(tree), counts)
    return Direct(tree, demand, counts, demand.misses)


def _tree(directory: Path | None, bucket: Path | None, *, may_be_new: bool) -> Tree:
    """Return the tree to serve. Raises `PypimirrorError`."""
    if bucket is not None:
        from pypimirror.serve import bucket as buckets  # its libraries are slow to load

        return buckets.open_tree(bucket)
    assert directory is not None
    if not may_be_new and not directory.is_dir():
        raise PypimirrorError(
            f"{directory.resolve()} is not a directory. `pypimirror sync` makes a mirror root."
        )
    return Directory(directory)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pypimirror serve", description="Serve a mirror over HTTP.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--directory", type=Path, help="the mirror root")
    where.add_argument(
        "--bucket", type=Path, metavar="CONFIG", help="serve the bucket that this file names"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8000, help="port (%(default)s); 0 takes any free one"
    )
    parser.add_argument(
        "--metrics", type=Path, metavar="CONFIG", help="answer /metrics, for this configuration"
    )
    parser.add_argument(
        "--pages", type=Path, metavar="CONFIG", help="answer pages, for this configuration"
    )
    parser.add_argument(
        "--on-demand", type=Path, metavar="CONFIG", help="fetch files that clients ask for"
    )
    parser.add_argument(
        "--processes", type=_processes, default=1, help="processes that answer (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the address as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="log requests to stderr")
    return parser


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _processes(text: str) -> int:
    if not 1 <= (number := int(text)) <= MOST:
        raise argparse.ArgumentTypeError(f"from 1 to {MOST} processes")
    return number


def _listen(app: WSGIApplication, direct: Direct | None, options: argparse.Namespace) -> Server:
    environ = {
        "SERVER_NAME": options.host,  # with a name, pywsgi does not ask the resolver for one
        "wsgi.file_wrapper": _Chunks,
        "wsgi.multiprocess": options.processes > 1,
    }
    server = Server(
        (options.host, options.port),
        app,
        direct,
        backlog=BACKLOG,
        log="default" if options.verbose else None,
        handler_class=RequestHandler if options.verbose else QuietHandler,
        environ=environ,
    )
    server.start()
    return server


def _announce(tree: Tree, host: str, port: int, *, as_json: bool, may_be_new: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/"
    if as_json:
        print(json.dumps({"directory": tree.shown, "url": url}), flush=True)
    else:
        print(f"Serving {tree.shown} at {url}", flush=True)
    if not may_be_new and _is_empty(tree):
        print("There is no index here yet. `pypimirror sync` makes one.", file=sys.stderr)
    reachable = socket.gethostname() if host in ("0.0.0.0", "::", "") else shown  # noqa: S104
    print("Install from it with", file=sys.stderr)
    commands = install_commands(f"http://{reachable}:{port}/simple/")
    for tool in ("pip", "uv", "poetry"):
        print(f"  {commands[tool].partition(chr(10))[0]}", file=sys.stderr)


def _is_empty(tree: Tree) -> bool:
    """Whether there is no root index yet."""
    try:
        return not tree.names_present("simple", names=frozenset(PAGE_FILES.values()))
    except AwayError as error:
        print(f"{error} Requests are answered with 503 until then.", file=sys.stderr)
        return False


def _why_not(error: OSError, host: str, port: int) -> str:
    where = f"Cannot listen on {host} port {port}"
    if isinstance(error, socket.gaierror):
        return f"{where}: the host is not known here. Give an address of this machine."
    # gevent adds the address to `strerror`.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{where}: {reason}. Choose another with --port or --host; --port 0 takes a free one."


def _fail(code: int, message: str) -> int:
    print(f"Error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main())
