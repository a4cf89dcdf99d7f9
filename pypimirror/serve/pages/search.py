"""Search, as a page and as JSON, and the list of all projects."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import entries, totals
from pypimirror.catalog.queries.browsing import search as queries
from pypimirror.domain import documents
from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import Made, Visit, document

#: Most results.
_PAGE, _MOST = 50, 200
#: Most projects that are listed. A page with more would load slowly, and nobody reads it.
LISTED = 2_000
#: A requirement, which people paste: a name, and extras, versions or a marker behind it. Signs
#: that stand between words, as in "json (fast)", are none.
_REQUIREMENT = re.compile(
    r"([A-Z0-9._-]+) *(?:\[[^]]*\] *)?"
    r"(?:$|;.*[\"']|@.*:|\(? *(?:[<>]|[!~]=|={2,3} *(v?[0-9][A-Z0-9.+!]*(?=$|[ ;,)]))?)).*",
    re.ASCII | re.IGNORECASE,
)
#: A name and a version.
_WITH_VERSION = re.compile(r"(\S+) (v?[0-9][A-Z0-9.+!]*)", re.ASCII | re.IGNORECASE)


class _Found(NamedTuple):
    hits: list[queries.Hit]
    name: str  #: what was searched for
    version: str = ""  #: "": none was asked for


def page(site: Site, visit: Visit) -> Made:
    """Make the page at `/search?q=`."""
    asked = _asked(visit)
    with site.reader.read() as connection:
        found = _find(connection, asked, _PAGE + 1)
    hits, more = found.hits[:_PAGE], len(found.hits) > _PAGE
    return site.page(visit, "search.html", asked=asked, hits=hits, more=more, found=found)


def twin(site: Site, visit: Visit) -> Made:
    """Make `/search.json?q=&limit=`."""
    asked = _asked(visit)
    given = visit.arguments.get("limit", "")
    limit = min(max(int(given), 1), _MOST) if given.isdecimal() and given.isascii() else _PAGE
    with site.reader.read() as connection:
        hits = _find(connection, asked, limit).hits
    found: documents.SearchResults = {
        "query": asked,
        "results": [{"name": hit.name, "summary": hit.summary} for hit in hits],
    }
    return document(msgspec.json.encode(found))


def projects(site: Site, visit: Visit) -> Made:
    """Make the page at `/projects`. Raises `CatalogAwayError`."""
    if visit.parts != ["projects"]:
        return site.missing(visit)
    with site.reader.read() as connection:
        number = totals.held(connection).projects
        names = list(entries.root_names(connection, False)) if number <= LISTED else []
    return site.page(visit, "projects.html", number=number, names=names)


def _find(connection: Connection, asked: str, limit: int) -> _Found:
    """Search. Of a requirement, and of a name with a version that nothing has, the name counts."""
    if said := _REQUIREMENT.fullmatch(asked):
        return _Found(queries.search(connection, said[1], limit), said[1], said[2] or "")
    hits = queries.search(connection, asked, limit)
    if not hits and (said := _WITH_VERSION.fullmatch(asked)):
        return _Found(queries.search(connection, said[1], limit), said[1], said[2])
    return _Found(hits, asked)


def _asked(visit: Visit) -> str:
    return " ".join(visit.arguments.get("q", "")[:100].split())
