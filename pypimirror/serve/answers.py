"""Answers with a file of a tree: a project's page, the root index, a package; and short texts.

The tree decides which file may be opened, and its ETag; `negotiation` decides which form of a page
is sent; werkzeug handles conditions and ranges. `app` decides which address has which answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import http_date, parse_date, parse_range_header
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from pypimirror.domain.objects.headers import FILE_CACHE, PAGE_CACHE, file_type
from pypimirror.serve.negotiation import PAGE_FILES, TEXT_HTML, negotiate
from pypimirror.serve.tree import OpenFile, Tree

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Bytes read and sent at a time.
CHUNK = 256 * 1024

#: The key of the time at which a request began to wait for the fetcher before it took the long way.
BEGAN = "pypimirror.began"

#: The names of the files that can hold a page.
PAGE_NAMES = frozenset(PAGE_FILES.values())


def began(request: Request) -> float:
    """Return since when a request has waited for the fetcher, in monotonic seconds."""
    found: float | None = request.environ.get(BEGAN)
    return time.monotonic() if found is None else found


def page(tree: Tree, request: Request, project: str | None) -> Response | None:
    """Answer with the page of a project, or with the root index; None if there is none."""
    where = ("simple",) if project is None else ("simple", project)
    present = tree.names_present(*where, names=PAGE_NAMES)
    if not present:
        return None
    accept = request.environ.get("HTTP_ACCEPT", "")
    content_type = negotiate(accept, _wanted_format(request), present)
    if content_type is None:
        return _not_acceptable(present)
    file = tree.open(*where, PAGE_FILES[content_type])
    if file is None:  # just withdrawn, or a symbolic link that leads out of the tree
        return None
    headers = page_headers(file, page_form(content_type)) | {"Vary": "Accept"}
    return send(request, file, headers)


def package(tree: Tree, request: Request, parts: list[str]) -> Response | None:
    """Answer with the file `packages/<parts>`, or with its other address; None if there is none."""
    file = tree.open("packages", *parts)
    if file is None:
        return None
    if request.method == "GET" and (address := tree.address("packages", *parts)):
        file.handle.close()
        return _elsewhere(address)
    return send(request, file, file_headers(file, parts[-1]))


def file_headers(file: OpenFile, name: str) -> dict[str, str]:
    """Return the headers of a file. Its caches may keep it."""
    headers = {
        "Content-Type": file_type(name),
        "Cache-Control": FILE_CACHE,
        "ETag": f'"{file.state_etag()}"',
    }
    if file.modified_is_past():
        headers["Last-Modified"] = http_date(file.modified)
    return headers


def page_form(content_type: str) -> str:
    """Return the Content-Type of a form of a page."""
    return f"{content_type}; charset=utf-8" if content_type == TEXT_HTML else content_type


def page_headers(file: OpenFile, content_type: str) -> dict[str, str]:
    """Return the headers of a page. Its caches must ask each time."""
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


def send(request: Request, file: OpenFile, headers: dict[str, str]) -> Response:
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
        response = text(
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


def text(status: int, message: str) -> Response:
    """Answer with a sentence for people."""
    headers = {"Cache-Control": "no-cache"}
    return Response(f"{message}\n", status, headers, content_type="text/plain; charset=utf-8")


def _not_acceptable(present: frozenset[str]) -> Response:
    types = ", ".join(kind for kind, name in PAGE_FILES.items() if name in present)
    response = text(406, f"None of the requested types is here. The types here are: {types}.")
    response.headers["Vary"] = "Accept"
    return response


def _elsewhere(address: str) -> Response:
    """Send the client to another address of a file, which is valid only for a short time."""
    response = text(302, "The file is at another address, for a short time.")
    response.headers["Location"] = address
    response.headers["Cache-Control"] = "private, max-age=60"
    return response
