"""The front page: what this mirror is, whether it is fresh, and how to install from it."""

from __future__ import annotations

import sys

from pypimirror.catalog.queries import statistics, totals
from pypimirror.catalog.queries.browsing import news
from pypimirror.serve.install import install_commands
from pypimirror.serve.pages.site import CatalogAwayError, Site
from pypimirror.serve.pages.visit import Made, Visit
from pypimirror.status import freshness


def page(site: Site, visit: Visit) -> Made:
    """Make the page, also without a catalog."""
    held = fresh = example = None
    try:
        with site.reader.read() as connection:
            held = totals.held(connection)
            example = news.example(connection)
            fresh = freshness.of(
                statistics.last_complete_sync(connection), site.now(), site.config.schedule.sync
            )
    except CatalogAwayError as error:
        print(f"pages: {visit.path!r}: {error}", file=sys.stderr)
    example = example or "PROJECT"
    return site.page(
        visit,
        "front.html",
        held=held,
        fresh=fresh,
        is_new=held is None and site.is_new(),
        upstreams=[upstream.name for upstream in site.config.upstream],
        fetches_others=bool(site.config.on_demand.projects),
        example=example,
        commands=install_commands(f"{visit.root}simple/", example),
    )
