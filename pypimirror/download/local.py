"""An upstream that is a directory: `file:///srv/index/simple/`, or one of files (find-links).

Looks like HTTP to the rest: what is there is a 200, what is not a 404, and a validator that still
holds a 304. A directory is the page that it has, else the list of its files. Nothing is opened
outside of the upstream's own directory (of an index `simple/`: the one that this is in), whatever
a link or a symbolic link says.
"""

from __future__ import annotations

import os
import stat
from html import escape
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from requests.models import PreparedRequest, Response

from pypimirror.download.body import LARGE
from pypimirror.download.connection import Head
from pypimirror.download.failure import FetchError
from pypimirror.download.protocol import Remote
from pypimirror.download.transport import Answer, Headers
from pypimirror.model import Reason

_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "text/html; charset=utf-8"

#: What a directory is shown as, best first: files that an index has for its pages.
_PAGES = {"index.v1_json": _JSON, "index.json": _JSON, "index.html": _HTML}


class FileBody:
    """The bytes of a file as the body of an answer."""

    excess = False
    delimited = True

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def next_piece(self) -> bytes:
        """Return the next bytes, nothing at the end. Raises `FetchError`."""
        try:
            return b"" if self._stream.closed else self._stream.read(LARGE)
        except OSError as error:
            raise _unreadable(str(getattr(self._stream, "name", "")), error) from error

    def close(self) -> None:
        """Stop reading."""
        self._stream.close()

    release_conn = close


def get(remote: Remote, url: str, headers: dict[str, str]) -> Response:
    """Answer a GET for a file of an upstream that is a directory. Raises `FetchError`."""
    path = _path(remote, url)
    request = PreparedRequest()
    request.url = url
    if path is None:
        return _answer(request, 404)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _directory(request, path, url)
        if not stat.S_ISREG(status.st_mode):
            return _answer(request, 404)
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
        if headers.get("If-None-Match") == etag:
            return _answer(request, 304, {"ETag": etag})
        said = {"ETag": etag, "Content-Length": str(status.st_size)}
        said["Content-Type"] = _PAGES.get(path.name, "application/octet-stream")
        return _answer(request, 200, said, path.open("rb"))
    except FileNotFoundError:
        return _answer(request, 404)
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _path(remote: Remote, url: str) -> Path | None:
    """Return what an address means, where that is within the upstream; None where nothing is."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise FetchError(Reason.HOST_NOT_ALLOWED, f"{url} is a file of another machine.")
    base = os.path.realpath(unquote(urlsplit(remote.url).path))
    inside = str(Path(base).parent) if Path(base).name == "simple" else base
    asked = unquote(parts.path)
    if "\0" in asked:
        return None
    path = os.path.realpath(asked)
    if path != inside and not path.startswith(inside.rstrip("/") + "/"):
        raise FetchError(
            Reason.HOST_NOT_ALLOWED,
            f"{url} is outside of {inside}, the directory of the upstream {remote.name!r}.",
        )
    for name in _PAGES:
        page = Path(path, name)
        if asked.endswith("/") and page.is_file() and not page.is_symlink():
            return page
    return Path(path) if os.path.exists(path) else None  # noqa: PTH110


def _directory(request: PreparedRequest, path: Path, url: str) -> Response:
    """Show a directory without a page of its own as a page of links."""
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    links = "".join(f'<a href="{quote(name)}">{escape(name)}</a><br>\n' for name in names)
    title = f"Files in {escape(url)}"
    head = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>"
    body = f"{head}<body>\n{links}</body></html>\n".encode()
    said = {"Content-Type": _HTML, "Content-Length": str(len(body))}
    return _answer(request, 200, said, BytesIO(body))


def _answer(
    request: PreparedRequest,
    status: int,
    headers: dict[str, str] | None = None,
    stream: BinaryIO | None = None,
) -> Response:
    head = Head(status, "", "HTTP/1.1", list((headers or {}).items()))
    return Answer(head, Headers(head.headers), FileBody(stream or BytesIO()), request)


def _unreadable(name: str, error: OSError) -> FetchError:
    return FetchError(Reason.CONNECTION, f"{name} cannot be read: {error.strerror or error}.")
