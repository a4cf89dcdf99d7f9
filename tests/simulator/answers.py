"""The answers of a healthy upstream: routes, negotiation, conditions, ranges."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from tests.simulator import pages
from tests.simulator.index import EPOCH, IndexFile, fingerprint
from tests.simulator.wire import Answer, Exchange, Request

if TYPE_CHECKING:
    from tests.simulator.simulator import Simulator

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PROVENANCE = "application/vnd.pypi.integrity.v1+json"

_PAGE = re.compile(r"/simple/([^/]+)/?")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def answer(sim: Simulator, exchange: Exchange) -> Answer:
    """Return the answer; set `exchange.full_body` to the body before a range is cut."""
    request = exchange.request
    with sim.index.lock:
        found = _find(sim, request)
    exchange.full_body = found.body
    if request.method not in ("GET", "HEAD"):
        return Answer(405, {"Allow": "GET, HEAD"})
    if found.status != 200:
        return found
    if _not_modified(found, request):
        kept = ("ETag", "Last-Modified", "X-PyPI-Last-Serial", "Vary")
        return Answer(304, {k: v for k, v in found.headers.items() if k in kept})
    if sim.ranges and request.path not in sim.raw and request.path.startswith("/packages/"):
        return _cut(found, request)
    return found


def _find(sim: Simulator, request: Request) -> Answer:
    path = request.path
    if path in sim.raw:
        raw = sim.raw[path]
        return Answer(raw.status, dict(raw.headers), raw.body)
    if file := sim.index.by_path.get(path):
        return _file(sim, file)
    if path.endswith(".metadata") and (file := sim.index.by_path.get(path[:-9])):
        if file.metadata is not None:
            return _tagged(sim, Answer(200, {"Content-Type": "text/plain"}, file.metadata))
        return Answer(404)
    if path.startswith("/integrity/"):
        return _provenance(sim, path)
    if path == "/simple":
        return Answer(301, {"Location": "/simple/"})
    if path == "/simple/":
        return _page(sim, path, request)
    if match := _PAGE.fullmatch(path):
        wanted = f"/simple/{canonicalize_name(match[1])}/"
        if wanted != path:
            return Answer(301, {"Location": wanted})
        return _page(sim, path, request)
    return Answer(404)


@dataclass(frozen=True)
class Rendered:
    """A page in both forms; each is made when it is asked for."""

    serial: int
    json: Callable[[], bytes]
    html: Callable[[], bytes]

    def fixed(self) -> Rendered:
        """The page as it is now, for ever."""
        as_json, as_html = self.json(), self.html()
        return Rendered(self.serial, lambda: as_json, lambda: as_html)


def render(sim: Simulator, path: str) -> Rendered | None:
    """Return a page of the index; None if there is none."""
    index, style = sim.index, sim.style
    if path == "/simple/":
        return Rendered(
            index.serial,
            lambda: pages.json_list(index, style),
            lambda: pages.html_list(index, style),
        )
    if (project := index.projects.get(path.split("/")[2])) is None:
        return None
    return Rendered(
        project.serial,
        lambda: pages.json_project(project, style),
        lambda: pages.html_project(project, style),
    )


def _page(sim: Simulator, path: str, request: Request) -> Answer:
    rendered = sim.frozen.get(path) or render(sim, path)
    if rendered is None:
        return Answer(404, {"Content-Type": "text/plain"}, b"404 Not Found")
    content_type, as_json = _negotiate(sim, request.headers.get("accept", "*/*"))
    headers = {"Content-Type": content_type, "Vary": "Accept"}
    if sim.style.serials:
        headers["X-PyPI-Last-Serial"] = str(rendered.serial)
    page = Answer(200, headers, rendered.json() if as_json else rendered.html())
    return _tagged(sim, page, rendered.serial)


def _negotiate(sim: Simulator, accept: str) -> tuple[str, bool]:
    """The content type of the answer, and whether it is JSON."""
    major = (sim.style.api_version or "1.0").partition(".")[0]
    offered: dict[str, bool] = {}
    for form in sim.formats:
        if form == "json":
            offered[JSON.replace("v1", f"v{major}")] = True
        else:
            offered["text/html"] = False
            offered[HTML.replace("v1", f"v{major}")] = False
    weights: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = [part.strip() for part in item.split(";")]
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weights[name.lower().replace("latest", f"v{major}")] = float(quality)

    def weight(name: str) -> float:
        any_sub = name.partition("/")[0] + "/*"
        return weights.get(name, weights.get(any_sub, weights.get("*/*", 0.0)))

    best = max(offered, key=weight)
    if offered[best]:
        return sim.json_type or best, True
    return sim.html_type or (best if best != "text/html" else "text/html; charset=utf-8"), False


def _file(sim: Simulator, file: IndexFile) -> Answer:
    headers = {"Content-Type": "application/octet-stream"}
    if sim.ranges:
        headers["Accept-Ranges"] = "bytes"
    return _tagged(sim, Answer(200, headers, file.content), file.project.serial, file.etag)


def _provenance(sim: Simulator, path: str) -> Answer:
    for file in sim.index.by_path.values():
        if file.provenance_body is not None and pages.provenance_path(file) == path:
            return _tagged(sim, Answer(200, {"Content-Type": PROVENANCE}, file.provenance_body))
    return Answer(404)


def _tagged(sim: Simulator, answer: Answer, serial: int = 0, etag: str = "") -> Answer:
    """Return the answer with its validators."""
    if sim.etags:
        answer.headers["ETag"] = etag or fingerprint(answer.body)
    if sim.last_modified:
        moment = EPOCH + timedelta(seconds=serial)
        answer.headers["Last-Modified"] = format_datetime(moment, usegmt=True)
    return answer


def _not_modified(found: Answer, request: Request) -> bool:
    wanted = request.headers.get("if-none-match")
    if wanted is not None:
        tags = [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
        return "*" in tags or found.headers.get("ETag") in tags
    since, modified = request.headers.get("if-modified-since"), found.headers.get("Last-Modified")
    if since and modified:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
    return False


def _cut(found: Answer, request: Request) -> Answer:
    """Return the requested range, if there is one and its condition holds."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    validators = (found.headers.get("ETag"), found.headers.get("Last-Modified"))
    if match is None or match[0] == "bytes=-" or (condition and condition not in validators):
        return found
    total = len(found.body)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or total), total - 1)
    else:
        first, last = max(0, total - int(match[2])), total - 1
    if first > last:
        return Answer(416, {"Content-Range": f"bytes */{total}"})
    span = {"Content-Range": f"bytes {first}-{last}/{total}"}
    return Answer(206, found.headers | span, found.body[first : last + 1])
