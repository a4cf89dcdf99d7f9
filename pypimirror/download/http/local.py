"""An upstream that is a directory: an index (`file:///srv/index/simple/`) or files (find-links).

To its callers, this looks like HTTP: 200 for an existing file, 404 for a missing one, and 304 for a
validator that still matches. A directory answers with its page. If it has none, it answers with a
list of its directories and files; so an index needs no list of its own. A directory of files also
answers for the pages of its projects, as an index does.

No link and no symbolic link leads out of the upstream's own directory. For an index `simple/`, that
is the directory around it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from pypimirror.domain.filenames import is_distribution
from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.body import LARGE
from pypimirror.download.http.connection import Headers
from pypimirror.download.http.transport import Answer
from pypimirror.download.protocol import Remote
from pypimirror.system import regular
from pypimirror.upstream.grouping import project_of

_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "text/html; charset=utf-8"

#: Files that are the page of a directory, the best first.
_PAGES = {"index.v1_json": _JSON, "index.json": _JSON, "index.html": _HTML}

#: For each directory of files: when it was read, and its files by project.
_seen: dict[Path, tuple[int, dict[str, list[str]]]] = {}


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


def get(remote: Remote, url: str, headers: dict[str, str]) -> Answer:
    """Answer a GET for a file of an upstream that is a directory. Raises `FetchError`."""
    path = _path(remote, url)
    if path is None:
        return _of_files(remote, url)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _directory(path, url, _is_root(remote, path))
        if not stat.S_ISREG(status.st_mode):
            return _answer(url, 404)
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
        if headers.get("If-None-Match") == etag:
            return _answer(url, 304, {"ETag": etag})
        said = {"ETag": etag, "Content-Length": str(status.st_size)}
        said["Content-Type"] = _PAGES.get(path.name, "application/octet-stream")
        return _answer(url, 200, said, regular.stream(str(path)))
    except FileNotFoundError:
        return _answer(url, 404)
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _path(remote: Remote, url: str) -> Path | None:
    """Return the path of an address; None if there is nothing, or it is outside the upstream."""
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


def _is_root(remote: Remote, path: Path) -> bool:
    return str(path) == os.path.realpath(unquote(urlsplit(remote.url).path))


def _directory(path: Path, url: str, is_root: bool) -> Answer:
    """Return a page of links for a directory without a page of its own."""
    directories, files = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                directories.append(f"{entry.name}/")
            elif entry.is_file():
                files.append(entry.name)
    # A project with a directory of its own has its page there.
    ours = {f"{project}/" for project in _by_project(path)} if is_root else set()
    return _page(url, sorted(ours.union(directories)), sorted(files))


def _of_files(remote: Remote, url: str) -> Answer:
    """Return the page of a project whose files lie in the upstream's directory."""
    root = Path(os.path.realpath(unquote(urlsplit(remote.url).path)))
    asked, slash, rest = unquote(urlsplit(url).path).rpartition("/")
    if rest or not slash or os.path.realpath(os.path.dirname(asked)) != str(root):  # noqa: PTH120
        return _answer(url, 404)
    try:
        found = _by_project(root).get(asked.rpartition("/")[2])
    except OSError:
        found = None
    return _page(url, [], [f"../{name}" for name in found]) if found else _answer(url, 404)


def _by_project(root: Path) -> dict[str, list[str]]:
    """Return the distributions in a directory by project, if their names tell the project."""
    seen = root.stat().st_mtime_ns
    if _seen.get(root, (0, {}))[0] != seen:
        found: dict[str, list[str]] = {}
        for name in sorted(entry.name for entry in os.scandir(root) if entry.is_file()):
            if is_distribution(name) and (project := project_of(name)) is not None:
                found.setdefault(project, []).append(name)
        _seen[root] = seen, found
    return _seen[root][1]


def _page(url: str, directories: Sequence[str], files: Sequence[str]) -> Answer:
    links = "".join(
        f'<a href="{quote(name)}">{escape(name.removeprefix("../"))}</a><br>\n'
        for name in (*directories, *files)
    )
    title = f"Files in {escape(url)}"
    head = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>"
    body = f"{head}<body>\n{links}</body></html>\n".encode()
    said = {"Content-Type": _HTML, "Content-Length": str(len(body))}
    return _answer(url, 200, said, BytesIO(body))


def _answer(
    url: str,
    status: int,
    headers: dict[str, str] | None = None,
    stream: BinaryIO | None = None,
) -> Answer:
    return Answer(status, "", Headers((headers or {}).items()), FileBody(stream or BytesIO()), url)


def _unreadable(name: str, error: OSError) -> FetchError:
    return FetchError(Reason.CONNECTION, f"{name} cannot be read: {error.strerror or error}.")
