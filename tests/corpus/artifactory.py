"""A server that speaks as Artifactory does, on real files: its product itself cannot be had.

From its documentation and from what its users' logs show. Pages are in HTML alone, whatever is
asked for, served by the names that projects have in files (`zope.event`, not `zope-event`), from
where the normalized ones redirect. They have no meta tags; their links are relative, lead to
`../../packages/`, carry sha256 and `rel="internal"`; the root index links without a slash at the
end, from where there is a redirect. Everything wants a login. What is unknown is 404 with a page
in HTML, or, where the login may not see it, 403. No answer has an ETag; the headers are its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import canonicalize_name

HOST = "127.0.0.1"
BASE = "/artifactory/api/pypi/team-pypi"
_HEADERS = {
    "Server": "Artifactory/7.77.5 77705900",
    "X-JFrog-Version": "Artifactory/7.77.5 77705900",
    "X-Artifactory-Id": "5f1c3b6e0d9a2c47:-6d8f9b1:18d2b6f3a11:-8000",
    "X-Artifactory-Node-Id": "artifactory-0",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}


class Artifactory:
    """The server, from `with` to its end."""

    def __init__(self, files: Iterable[Path], user: str, password: str) -> None:
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}"
        self.projects: dict[str, list[Path]] = defaultdict(list)
        self.forbidden: set[str] = set()  #: normalized names that the login may not see
        self.requests: list[tuple[str, int]] = []
        for path in sorted(files):
            self.projects[re.split(r"-\d", path.name)[0].replace("_", "-")].append(path)
        for name in [name for name in self.projects if name != name.lower()]:
            # An sdist and a wheel may write the name each in its own way.
            other = next((o for o in self.projects if o != name and _same(o, name)), name)
            if other != name:
                self.projects[other] += self.projects.pop(name)

    def __enter__(self) -> Artifactory:
        handler = type("Handler", (_Handler,), {"artifactory": self})
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://{self.userinfo}@{HOST}:{self._server.server_port}{BASE}/simple/"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def place(self, path: Path) -> str:
        """Where a file is, below `packages/`: by project and version, as what is uploaded is."""
        name, _, rest = re.sub(r"-(?=\d)", "\0", path.name, count=1).partition("\0")
        return f"{name}/{re.split(r'-|[.]tar', rest)[0]}/{path.name}"


def _same(one: str, other: str) -> bool:
    return canonicalize_name(one) == canonicalize_name(other)


class _Handler(BaseHTTPRequestHandler):
    artifactory: ClassVar[Artifactory]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.artifactory
        path = unquote(urlsplit(self.path).path)
        if self.headers.get("Authorization") != server.login:
            realm = {"WWW-Authenticate": 'Basic realm="Artifactory Realm"'}
            self._error(401, "Unauthorized", realm)
        elif path == f"{BASE}/simple/":
            links = (f'<a href="{name}" >{name}</a><br/>' for name in sorted(server.projects))
            self._page("Simple Index", links)
        elif path.startswith(f"{BASE}/packages/"):
            self._file(path.removeprefix(f"{BASE}/packages/"))
        elif path.startswith(f"{BASE}/simple/"):
            self._project(path.removeprefix(f"{BASE}/simple/"))
        else:
            self._error(404, "Not Found")

    do_HEAD = do_GET

    def _project(self, name: str) -> None:
        server, asked = self.artifactory, name.rstrip("/")
        if canonicalize_name(asked) in server.forbidden:
            return self._error(403, "Forbidden")
        known = next((known for known in server.projects if _same(known, asked)), None)
        if known is None:
            return self._error(404, "Not Found")
        if name != f"{known}/":
            return self._send(302, {"Location": f"{BASE}/simple/{known}/"}, b"")
        links = []
        for path in server.projects[known]:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            href = f"../../packages/{quote(server.place(path))}#sha256={sha256}"
            python = f' data-requires-python="{escape(">=2.7")}"'
            links.append(f'<a href="{href}"{python} rel="internal">{path.name}</a><br/>')
        return self._page(f"Links for {known}", links, head=False)

    def _page(self, title: str, links: Iterable[str], *, head: bool = True) -> None:
        shown = f"<head><title>{title}</title></head>" if head else ""
        body = "\n".join(["<!DOCTYPE html>", f"<html>{shown}<body>", *links, "</body></html>"])
        self._send(200, {"Content-Type": "text/html"}, body.encode())

    def _file(self, place: str) -> None:
        files = (path for paths in self.artifactory.projects.values() for path in paths)
        found = next((path for path in files if self.artifactory.place(path) == place), None)
        if found is None:  # core metadata among others
            return self._error(404, "Not Found")
        content = found.read_bytes()
        kind = "application/x-gzip" if place.endswith(".gz") else "application/octet-stream"
        sha256 = hashlib.sha256(content).hexdigest()
        headers = {"Content-Type": kind, "X-Checksum-Sha256": sha256, "Accept-Ranges": "bytes"}
        headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
        return self._send(200, headers, content)

    def _error(self, status: int, text: str, more: dict[str, str] | None = None) -> None:
        body = f"<html><head><title>{status} {text}</title></head><body>{text}</body></html>"
        self._send(status, {"Content-Type": "text/html", **(more or {})}, body.encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.artifactory.requests.append((urlsplit(self.path).path, status))
        self.send_response_only(status)
        for name, value in {**_HEADERS, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
