"""A web server for a mirror root: `python -P -m pypimirror.serve.server --directory D`.

For a mirror on object storage it gets `--bucket CONFIG` instead.

It runs `pypimirror.serve.app` on gevent, in a process of its own. When it is ready, it prints one
line on stdout, `Serving <directory> at http://HOST:PORT/`, or with `--json` a JSON document that
says the same; then it explains on stderr how to install. On SIGTERM or SIGINT it accepts no more
connections, gives running answers `DRAIN` seconds to finish, and ends with 0. It ends with 2 for
wrong use, and with 3 if it cannot listen.

Idle clients cannot block it. `connections` bounds the number of connections and decides which one
is closed for a new one. The head of a request must arrive within `HEAD` seconds. The body of a
request is not read, because no request here needs one.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all other imports, and never inside another program
    from pypimirror.system import abrupt  # itself imports nothing

    abrupt.install()

    from gevent import monkey

    monkey.patch_all()

import argparse
import errno
import json
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIHandler, WSGIServer
from werkzeug.wsgi import ClosingIterator, FileWrapper

from pypimirror.domain.errors import PypimirrorError
from pypimirror.serve.app import create_app
from pypimirror.serve.connections import LATE, Connections, places
from pypimirror.serve.files import Directory
from pypimirror.serve.install import install_commands
from pypimirror.serve.metrics import Metrics
from pypimirror.serve.negotiation import PAGE_FILES
from pypimirror.serve.pages.asking import Pages
from pypimirror.serve.tree import AwayError, Tree
from pypimirror.system import streams

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from pypimirror.serve.demand.demand import Demand

#: Seconds that running answers get to finish when the server ends.
DRAIN = 5.0

#: Seconds in which the next head must arrive, and in which a client must accept a chunk.
HEAD = 60.0
STALLED = 60.0

#: Connections that may wait to be accepted.
BACKLOG = 1024


class _Chunks(FileWrapper):
    """A file in chunks; other connections continue between two of them."""

    def __next__(self) -> bytes:
        gevent.sleep(0)
        return super().__next__()


class _InFlight:
    """Counts the answers that are being sent."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.count = 0
        self.idle = Event()
        self.idle.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.count += 1
        self.idle.clear()
        try:
            body = self.app(environ, start_response)
        except BaseException:
            self._finished()
            raise
        return ClosingIterator(body, self._finished)

    def _finished(self) -> None:
        self.count -= 1
        if self.count == 0:
            self.idle.set()


class _Server(WSGIServer):
    """pywsgi's server, with a bound on connections."""

    max_accept = LATE  # connections accepted at once, before others that must close can close

    def __init__(self, address: tuple[str, int], app: WSGIApplication, **options: Any) -> None:
        self.connections = Connections(places())
        super().__init__(address, app, spawn=self.connections.most + LATE, **options)

    def do_read(self) -> Any:
        accepted = super().do_read()
        if accepted:
            self.connections.waits(accepted[0])
        return accepted

    def do_close(self, sock: socket.socket, *arguments: Any) -> None:
        self.connections.ended(sock)
        super().do_close(sock, *arguments)


class _Handler(WSGIHandler):
    """pywsgi's handler, which also closes stalled connections, without a traceback."""

    #: Compared with the first argument of an `OSError`, which is a text for a time-out. A greenlet
    #: gets EBADF if its connection is closed while it waits.
    ignored_socket_errors: tuple[Any, ...] = (
        *(errno.EPIPE, errno.ECONNRESET, errno.EBADF),
        errno.ECONNABORTED,  # an answer that must not be completed
        "timed out",
    )

    server: _Server

    def __init__(self, sock: socket.socket, address: Any, server: _Server) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(STALLED)
        super().__init__(sock, address, server)

    def handle_one_request(self) -> Any:
        self.server.connections.waits(self.socket)
        self._patience = gevent.Timeout.start_new(HEAD, TimeoutError("timed out"))
        try:
            return super().handle_one_request()
        finally:
            self._patience.close()

    def read_request(self, raw_requestline: str) -> Any:
        understood = super().read_request(raw_requestline)
        self._patience.close()
        self.server.connections.moves(self.socket)
        if self._may_have_more():
            self.close_connection = True
            self.content_length = 0
            for name in ("content-length", "transfer-encoding"):
                del self.headers[name]
        return understood

    def _may_have_more(self) -> bool:
        """Whether a proxy may read the bytes after the head as the body of this request.

        This server would read it as the next request, so its answer could reach somebody else. So
        the connection ends if a request announces a body, even an empty one, or breaks HTTP.
        """
        bodies = ("content-length", "transfer-encoding")
        return bool(self.headers.defects) or any(name in self.headers for name in bodies)

    def _sendall(self, data: bytes) -> None:
        super()._sendall(data)  # type: ignore[misc]
        self.server.connections.moves(self.socket)

    def _handle_client_error(self, ex: BaseException) -> Any:
        if isinstance(ex, OSError) and ex.args[:1] and ex.args[0] in self.ignored_socket_errors:
            return None
        return super()._handle_client_error(ex)  # type: ignore[misc]


class _QuietHandler(_Handler):
    def log_request(self) -> None:
        """Log nothing."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        tree = _tree(options.directory, options.bucket, may_be_new=options.on_demand is not None)
    except PypimirrorError as error:
        return _fail(2, str(error))
    demand = _demand(tree, options.on_demand) if options.on_demand else None
    more = {"more": demand.figures.collect} if demand is not None else {}
    metrics = Metrics(options.metrics, **more) if options.metrics else None
    pages = Pages(options.pages) if options.pages else None
    app = _InFlight(create_app(tree, metrics, pages, demand))
    try:
        server = _listen(app, options.host, options.port, verbose=options.verbose)
    except OSError as error:
        return _fail(3, _why_not(error, options.host, options.port))
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    if demand is not None:
        demand.start()
    address = options.host, int(server.address[1])
    _announce(tree, *address, as_json=options.json, may_be_new=demand is not None)
    stop.wait()
    server.close()  # `stop` would kill running answers
    app.idle.wait(timeout=DRAIN)
    if demand is not None:
        demand.end()
    if pages is not None:
        pages.close()
    return 0


def _demand(tree: Tree, config: Path) -> Demand:
    from pypimirror.serve.demand.demand import Demand  # only here: without it, nothing changes

    return Demand(tree, config)


def _tree(directory: Path | None, bucket: Path | None, *, may_be_new: bool) -> Tree:
    """Return what is served. Raises `PypimirrorError`."""
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
        "--on-demand", type=Path, metavar="CONFIG", help="fetch what is asked for, by this file"
    )
    parser.add_argument("--json", action="store_true", help="print the address as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="log requests to stderr")
    return parser


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _listen(app: WSGIApplication, host: str, port: int, *, verbose: bool) -> WSGIServer:
    server = _Server(
        (host, port),
        app,
        backlog=BACKLOG,
        log="default" if verbose else None,
        handler_class=_Handler if verbose else _QuietHandler,
        # With this name, pywsgi does not ask the resolver for one.
        environ={"SERVER_NAME": host, "wsgi.file_wrapper": _Chunks},
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
    reason = error.strerror or str(error)
    return f"{where}: {reason}. Choose another with --port or --host; --port 0 takes a free one."


def _fail(code: int, message: str) -> int:
    print(f"Error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main())
