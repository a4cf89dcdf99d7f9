"""The WSGI app over a mirror root: the simple API's pages, and the files they link to.

The app needs only the tree (`tree`): a directory (`files`) or a bucket (`bucket`). So it can run
on another machine than the sync, or at the same time: each answer comes from one open file. The
tree decides which file may be opened, and its ETag; `negotiation` decides which form of a page is
sent; werkzeug handles conditions and ranges. A bucket that does not answer is 503 and never 404: an
installer would go on without the project.

Routes: `/`, `/simple/`, `/simple/<project>/`, `/packages/...`; `/pypi/<project>/json` if the mirror
has it; `/metrics` if the server was told to. Redirects are relative, so the app works below any
prefix of a proxy.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import InvalidName, canonicalize_name
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable
from werkzeug.http import http_date, parse_date, parse_range_header
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from pypimirror.domain.objects.headers import FILE_CACHE, PAGE_CACHE, file_type
from pypimirror.serve.files import Directory
from pypimirror.serve.landing import landing_page
from pypimirror.serve.negotiation import PAGE_FILES, TEXT_HTML, negotiate
from pypimirror.serve.tree import AwayError, Opened, Tree

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from pypimirror.serve.metrics import Metrics

#: Bytes read and sent at a time.
CHUNK = 256 * 1024

_PAGE_NAMES = frozenset(PAGE_FILES.values())


def create_app(tree: Path | Tree, metrics: Metrics | None = None) -> WSGIApplication:
    """A WSGI app that serves a mirror root, which need not exist yet.

    With `metrics`, also `/metrics`.
    """
    return _App(Directory(tree) if isinstance(tree, Path) else tree, metrics)


class _App:
    def __init__(self, tree: Tree, metrics: Metrics | None) -> None:
        self.tree = tree
        self.metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, populate_request=False)
        try:
            response = self.respond(request)
        except HTTPException as error:  # werkzeug refuses the request
            response = _text(error.code or 400, error.description or error.name)
        except AwayError as error:
            environ["wsgi.errors"].write(f"{request.path!r}: {error}\n")
            response = _away()
        except OSError as error:
            environ["wsgi.errors"].write(f"{request.path!r}: {error}\n")
            response = _text(500, "This file is here, but cannot be read; see the server's log.")
        response.headers["X-Content-Type-Options"] = "nosniff"
        if self.metrics is not None:
            self.metrics.count(response.status_code)
        return response(environ, start_response)

    def respond(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            refusal = _text(405, "A mirror can only be read.")
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        try:
            path = request.environ.get("PATH_INFO", "").encode("latin-1").decode()
        except UnicodeDecodeError:
            return _nothing_here()
        if "//" in path and path.lstrip("/").partition("/")[0] in ("simple", "pypi"):
            return _redirect(request, _without_empty(path))
        match path.split("/")[1:]:
            case [] | [""]:
                return _landing(request)
            case ["simple"]:
                return _redirect(request, "simple/")
            case ["simple", ""]:
                return self.page(request, None)
            case ["simple", name] | ["simple", name, ""]:
                return self.project(request, name, slash=path.endswith("/"))
            case ["packages", *parts]:
                return self.package(request, parts)
            case ["metrics"] if self.metrics is not None:
                return _metrics(request, self.metrics)
            case ["pypi", name, "json"]:
                return self.legacy(request, name)
        return _nothing_here()

    def project(self, request: Request, name: str, *, slash: bool) -> Response:
        project = canonicalize_name(name)
        if slash and project == name:
            return self.page(request, name)
        try:
            canonicalize_name(name, validate=True)
        except InvalidName:
            return _nothing_here()
        return _redirect(request, f"../{project}/" if slash else f"{project}/")

    def page(self, request: Request, project: str | None) -> Response:
        """The root index, or the page of a project."""
        where = ("simple",) if project is None else ("simple", project)
        present = self.tree.names_present(*where, names=_PAGE_NAMES)
        if not present:
            return _no_page(project)
        accept = request.environ.get("HTTP_ACCEPT", "")
        content_type = negotiate(accept, _wanted_format(request), present)
        if content_type is None:
            return _not_acceptable(present)
        file = self.tree.open(*where, PAGE_FILES[content_type])
        if file is None:  # withdrawn in this moment, or a symbolic link that leads out of the tree
            return _no_page(project)
        charset = "; charset=utf-8" if content_type == TEXT_HTML else ""
        headers = _page_headers(file, content_type + charset) | {"Vary": "Accept"}
        return _send(request, file, headers)

    def legacy(self, request: Request, name: str) -> Response:
        """A project in PyPI's older JSON."""
        project = canonicalize_name(name)
        if project != name:
            try:
                canonicalize_name(name, validate=True)
            except InvalidName:
                return _nothing_here()
            return _redirect(request, f"../{project}/json")
        file = self.tree.open("pypi", project, "json")
        if file is None and self.tree.names_present("simple", project, names=_PAGE_NAMES):
            return _no_legacy(project)
        if file is None:
            return _no_page(project)
        return _send(request, file, _page_headers(file, "application/json"))

    def package(self, request: Request, parts: list[str]) -> Response:
        file = self.tree.open("packages", *parts)
        if file is None:
            return _text(404, "No such file on this mirror.")
        if request.method == "GET" and (address := self.tree.address("packages", *parts)):
            file.handle.close()
            return _elsewhere(address)
        headers = {
            "Content-Type": file_type(parts[-1]),
            "Cache-Control": FILE_CACHE,
            "ETag": f'"{file.state_etag()}"',
        }
        if file.modified_is_past():
            headers["Last-Modified"] = http_date(file.modified)
        return _send(request, file, headers)


def _without_empty(path: str) -> str:
    """Return the path without its empty segments, as a relative redirect.

    The two paths are different addresses, because links of a page are relative. Below a prefix,
    Python's `urljoin` alone resolves the redirect differently: it ignores empty segments.
    """
    segments = [segment for segment in path.split("/") if segment]
    end = "/" if path.endswith("/") and segments else ""
    return "../" * (path.count("/") - 1) + quote("/".join(segments)) + end


def _page_headers(file: Opened, content_type: str) -> dict[str, str]:
    headers = {
        "Content-Type": content_type,
        "Cache-Control": PAGE_CACHE,
        "ETag": f'"{file.content_etag()}"',
    }
    if (serial := file.serial()) is not None:
        headers["X-PyPI-Last-Serial"] = serial
    if file.modified_is_settled():
        headers["Last-Modified"] = http_date(file.modified)
    return headers


def _send(request: Request, file: Opened, headers: dict[str, str]) -> Response:
    """Send `file`, or the requested part of it, or 304."""
    environ = request.environ
    _drop_unusable_conditions(environ, headers)
    response = Response(
        wrap_file(environ, file.handle, CHUNK), headers=headers, direct_passthrough=True
    )
    response.content_length = file.size
    try:
        response.make_conditional(environ, accept_ranges=True, complete_length=file.size)
        file.until(response.content_range.stop or file.size)
    except RequestedRangeNotSatisfiable:
        response.close()
        response = _text(
            416,
            f"This file has {file.size} bytes; none of them are in the range that was asked for.",
        )
        response.headers["Content-Range"] = f"bytes */{file.size}"
    return response


def _drop_unusable_conditions(environ: WSGIEnvironment, headers: dict[str, str]) -> None:
    """Drop conditions that werkzeug reads too loosely for this server.

    A date counts only if it equals the Last-Modified that we sent: a page from a backup can be
    older than the one before it. Only a single range of bytes is answered with a part.
    """
    if "HTTP_IF_MODIFIED_SINCE" in environ and not _is_our_date(
        environ["HTTP_IF_MODIFIED_SINCE"], headers
    ):
        del environ["HTTP_IF_MODIFIED_SINCE"]
    if "HTTP_RANGE" in environ and not _is_usable_range(environ, headers):
        del environ["HTTP_RANGE"]


def _is_usable_range(environ: WSGIEnvironment, headers: dict[str, str]) -> bool:
    if environ["REQUEST_METHOD"] != "GET":
        return False
    ranges = parse_range_header(environ["HTTP_RANGE"])
    if ranges is None or ranges.units != "bytes" or len(ranges.ranges) != 1:
        return False
    condition = environ.get("HTTP_IF_RANGE", headers["ETag"]).strip()
    return condition == headers["ETag"] or _is_our_date(condition, headers)


def _is_our_date(date: str, headers: dict[str, str]) -> bool:
    try:
        said = parse_date(date)
    except OverflowError:  # its time zone is out of range
        return False
    return said is not None and said == parse_date(headers.get("Last-Modified"))


def _wanted_format(request: Request) -> str | None:
    if not request.environ.get("QUERY_STRING"):
        return None
    wanted = request.args.get("format")
    return None if wanted is None else wanted.replace(" ", "+")  # a "+" that was not quoted


def _text(status: int, message: str) -> Response:
    headers = {"Cache-Control": "no-cache"}
    return Response(f"{message}\n", status, headers, content_type="text/plain; charset=utf-8")


def _nothing_here() -> Response:
    return _text(404, "Nothing here. The index of this mirror is at /simple/.")


def _no_page(project: str | None) -> Response:
    if project is None:
        return _text(404, "This mirror has no index yet. `pypimirror sync` makes one.")
    return _text(
        404,
        "This mirror has no such project. Check its name. If it is right, the mirror does not"
        " select the project, or the last sync was before the project was there.",
    )


def _no_legacy(project: str) -> Response:
    return _text(
        404,
        f"This mirror has {project} at /simple/{project}/, but not in PyPI's older JSON. For that,"
        " its configuration needs 'legacy' in [publish] formats, and then a sync.",
    )


def _not_acceptable(present: frozenset[str]) -> Response:
    types = ", ".join(kind for kind, name in PAGE_FILES.items() if name in present)
    response = _text(406, f"None of the requested types is here. The types here are: {types}.")
    response.headers["Vary"] = "Accept"
    return response


def _redirect(request: Request, location: str) -> Response:
    if query := request.environ.get("QUERY_STRING"):
        location += f"?{query}"
    response = _text(301, f"The page is at {location}")
    response.headers["Location"] = location
    return response


def _elsewhere(address: str) -> Response:
    """Send the client to another address of a file, which is good for a short time only."""
    response = _text(302, "The file is at another address, for a short time.")
    response.headers["Location"] = address
    response.headers["Cache-Control"] = "private, max-age=60"
    return response


def _away() -> Response:
    response = _text(503, "The storage of this mirror does not answer now. Try again soon.")
    response.headers["Retry-After"] = "10"
    return response


def _metrics(request: Request, metrics: Metrics) -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    content, content_type = metrics.render(request.headers.get("Accept", ""))
    return Response(content, 200, headers, content_type=content_type)


def _landing(request: Request) -> Response:
    root = request.root_url
    if request.headers.get("X-Forwarded-Proto") == "https":  # a web server in front does TLS
        root = f"https://{root.partition('://')[2]}"
    page = landing_page(f"{root}simple/")
    headers = {"Cache-Control": "no-store"}  # the page contains the address of this request
    return Response(page, 200, headers, content_type="text/html; charset=utf-8")
