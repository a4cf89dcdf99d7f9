"""Which page is at which path. `messages.FIRST` lists the first segments."""

from __future__ import annotations

from collections.abc import Callable

from pypimirror.serve.pages import feeds, front, project, search, status
from pypimirror.serve.pages.messages import PageResponse
from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import Made, Visit, document, redirect

#: The makers of pages, by the first segment of the path.
PAGES: dict[str, Callable[[Site, Visit], Made]] = {
    "": front.page,
    "status": status.page,
    "status.json": status.as_json,
    "project": project.page,
    "projects": search.projects,
    "search": search.page,
    "search.json": search.twin,
    "feed": feeds.page,
}

#: First segments of pages that only clients with access to the status see.
_OF_STATUS = frozenset({"status", "status.json"})

#: Robots may read the front page. All else is on the mirrored index, too, and a robot that asks for
#: all of it keeps people waiting.
_ROBOTS = b"User-agent: *\nAllow: /$\nAllow: /static/\nDisallow: /\n"

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def respond(site: Site, visit: Visit) -> Made:
    """Return the page at a path. Raises `CatalogAwayError`."""
    first = visit.parts[0]
    if first == "static":
        return _static(site, visit)
    if visit.path == "/favicon.ico":  # browsers ask for it if an answer is no page, such as JSON
        return redirect(site.static_name("icon.svg"))
    if visit.path == "/robots.txt":
        return document(_ROBOTS, "text/plain; charset=utf-8")
    page = PAGES.get(first)
    if page is None or (first in _OF_STATUS and not visit.sees_status):
        return site.missing(visit)
    return page(site, visit)


def _static(site: Site, visit: Visit) -> Made:
    name = visit.path.removeprefix("/static/")
    stem, _, end = name.rpartition(".")
    plain = f"{stem.rpartition('-')[0]}.{end}"
    body = site.static(plain)
    if body is None or visit.path != f"/{site.static_name(plain)}":
        return site.missing(visit)
    return Made(PageResponse(200, _TYPES[end], is_lasting=True), body)
