"""RSS feeds of new releases on this mirror, and of one project."""

from __future__ import annotations

from email.utils import formatdate

from packaging.utils import InvalidName, canonicalize_name

from pypimirror.catalog.queries.browsing import news, shown
from pypimirror.domain import moments
from pypimirror.serve.pages import releases
from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import RSS, Made, Visit, document

_MOST = 50


def page(site: Site, visit: Visit) -> Made:
    """Make `/feed/updates.xml` or `/feed/project/<name>.xml`."""
    match visit.parts[1:]:
        case ["updates.xml"]:
            return _updates(site, visit)
        case ["project", file] if file.endswith(".xml"):
            return _project(site, visit, file.removesuffix(".xml"))
    return site.missing(visit)


def _updates(site: Site, visit: Visit) -> Made:
    with site.reader.read() as connection:
        found = news.newest(connection, _MOST)
    items = [
        _item(visit, each.project, each.version, each.proven_at, each.filename) for each in found
    ]
    return _feed(site, visit, "New on this Python package mirror", visit.root, items)


def _project(site: Site, visit: Visit, name: str) -> Made:
    try:
        project = canonicalize_name(name, validate=True)
    except InvalidName:
        return site.missing(visit)
    with site.reader.read() as connection:
        row = shown.project(connection, project)
        if row is None or not row.page_on_disk or project != name:
            return site.missing(visit)
        known = filter(releases.is_here, shown.of_project(connection, row.id))
    grouped = releases.grouped(project, known, (), details=False)
    items = [
        _item(visit, project, each.version, moments.seconds(each.uploaded), each.files[0].filename)
        for each in grouped[:_MOST]
    ]
    address = f"{visit.root}project/{project}/"
    return _feed(site, visit, f"{project} on this Python package mirror", address, items)


def _item(
    visit: Visit, project: str, version: str, at: float | None, filename: str
) -> dict[str, str]:
    return {
        "title": f"{project} {version}".strip(),
        "link": f"{visit.root}project/{project}/",
        "guid": filename,
        "date": "" if at is None else formatdate(at, usegmt=True),
    }


def _feed(site: Site, visit: Visit, title: str, link: str, items: list[dict[str, str]]) -> Made:
    text = site.text(visit, "feed.xml", title=title, link=link, items=items)
    return document(text.encode(errors="xmlcharrefreplace"), RSS)
