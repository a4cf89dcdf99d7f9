"""Serves the mirror as a simple index on this machine during a check.

uv can read a directory of HTML pages, but not of JSON pages. And a server sees which files are
missing, without parsing a resolver's messages. If only a build can tell an sdist's requirements, uv
would run its code. So when uv asks for such an sdist, it is removed from its page and noted, and
the caller asks again.

Only files of the shelf are served, only to this machine, until the check is over. If the storage
does not answer, the resolver gets a 404, and `ServedIndex.raise_fault` tells the caller that its
result means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

from pypimirror.check.shelf import Shelf, ShelfFile, ShelfPage
from pypimirror.domain.layout import METADATA_SUFFIX
from pypimirror.system.disk_errors import StorageError

_JSON = "application/vnd.pypi.simple.v1+json"


class ServedIndex:
    """The served index."""

    def __init__(self, shelf: Shelf, *, builds: bool) -> None:
        self.shelf = shelf
        self.url = self.cache = ""
        self._builds = builds
        #: Sdists whose requirements only a build can tell, by path, with the reason.
        self.unknown: dict[str, tuple[ShelfFile, str]] = {}
        self.fault: StorageError | None = None  #: why an answer may be wrong
        self._by_path: dict[str, ShelfFile] = {}

    def raise_fault(self) -> None:
        """Raise `StorageError` if the storage has failed to answer a resolver."""
        if self.fault is not None:
            raise self.fault

    def page(self, project: str) -> bytes | None:
        """Return the page of a project."""
        offer = self.shelf.offer(project)
        return None if offer is None else self._rendered(offer)

    def key_of(self, path: str) -> str | None:
        """Return the key of the file for the path of an address; None if it is not offered."""
        held = self._by_path.get(path.removesuffix(METADATA_SUFFIX))
        if held is None:
            return None
        if not held.is_wheel and not self._builds:
            unknown = self.shelf.requirements(held).unknown
            if unknown:
                self.unknown[held.path] = held, unknown
                return None
        return path

    def _rendered(self, offer: ShelfPage) -> bytes:
        files = [file for file in offer.files if file.path not in self.unknown]
        self._by_path.update((file.path, file) for file in files)
        described = self.shelf.described(files)
        document = {
            "meta": {"api-version": "1.0"},
            "name": offer.project,
            "files": [_entry(file, file.path in described) for file in files],
        }
        return json.dumps(document).encode()


def _entry(file: ShelfFile, has_metadata: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": f"../../{quote(file.path)}",
        "hashes": dict(file.digests),
        "core-metadata": has_metadata,
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.yanked is not None:
        entry["yanked"] = file.yanked or True
    return entry


@contextmanager
def served(shelf: Shelf, *, builds: bool = False) -> Iterator[ServedIndex]:
    """Serve the files of a shelf."""
    found = ServedIndex(shelf, builds=builds)

    class Handler(_Handler):
        index = found

    with (
        TemporaryDirectory(prefix="pypimirror-uv-") as found.cache,
        _Server(("127.0.0.1", 0), Handler) as server,
    ):
        found.url = f"http://127.0.0.1:{server.server_address[1]}/simple/"
        thread = Thread(target=server.serve_forever, args=(0.05,), name="index", daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    """Serves only this machine."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that has gone: resolvers end in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one client."""

    index: ServedIndex
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer with a page or a file."""
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        try:
            if path.startswith("simple/"):
                self._answer(self.index.page(path.removeprefix("simple/").rstrip("/")))
            elif (key := self.index.key_of(path)) is not None:
                self._send(key)
            else:
                self._answer(None)
        except StorageError as error:
            self.index.fault = error
            self._answer(None)

    def do_HEAD(self) -> None:
        """Answer without the body: uv sends HEAD for a wheel without core metadata beside it."""
        self.do_GET()

    def _send(self, key: str) -> None:
        storage = self.index.shelf.storage
        try:
            if self.command == "HEAD":
                size = storage.size(key)
                chunks: Iterator[bytes] = iter(())
            else:
                seen, chunks = storage.opened(key)
                size = seen.size
        except OSError:
            size = None
        if size is None:
            self._answer(None)
            return
        self._head(200, "application/octet-stream", size)
        try:
            self.wfile.writelines(chunks)
        except StorageError as error:  # too late for another answer
            self.index.fault = error
            self.close_connection = True

    def _answer(self, body: bytes | None) -> None:
        self._head(404 if body is None else 200, _JSON, len(body or b""))
        if self.command != "HEAD":
            self.wfile.write(body or b"")

    def _head(self, status: int, kind: str, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "no-cache" if kind == _JSON else "max-age=3600")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: requests are internal to the check."""
