"""Search, as a page and as JSON."""

from __future__ import annotations

import msgspec

from pypimirror.catalog.queries.browsing import search as queries
from pypimirror.domain import documents
from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import Made, Visit, document

#: Most results.
_PAGE, _MOST = 50, 200


def page(site: Site, visit: Visit) -> Made:
    """Make the page at `/search?q=`."""
    asked = _asked(visit)
    with site.reader.read() as connection:
        hits = queries.search(connection, asked, _PAGE + 1)
    more = len(hits) > _PAGE
    return site.page(visit, "search.html", asked=asked, hits=hits[:_PAGE], more=more)


def twin(site: Site, visit: Visit) -> Made:
    """Make `/search.json?q=&limit=`."""
    asked = _asked(visit)
    given = visit.arguments.get("limit", "")
    limit = min(max(int(given), 1), _MOST) if given.isdecimal() and given.isascii() else _PAGE
    with site.reader.read() as connection:
        hits = queries.search(connection, asked, limit)
    found: documents.SearchResults = {
        "query": asked,
        "results": [{"name": hit.name, "summary": hit.summary} for hit in hits],
    }
    return document(msgspec.json.encode(found))


def _asked(visit: Visit) -> str:
    return " ".join(visit.arguments.get("q", "")[:100].split())
