"""How far a run trusts the upstreams' lists: where pages are, and whether they exist.

A list is only a claim. The rules:

1. A page is fetched under its normalised name first, or where it was found the last time. If it is
   not there (404, 410), it is fetched from where the list says: a static index may have its pages
   under names as they were written, or at `six/index.html`. The address that worked is remembered.
2. An upstream that answers, but has no list (403, 404, 405, 410, 501) and never had one, is asked
   by project name: for named projects, and for those that a later upstream lists, because it may
   own them. A warning that globs cannot work there is given once, unless `has_list` is false.
3. Names in a list without a page are normal, because lists lag behind. If they are more than half
   of the names that the list has for this mirror, the list does not belong to this index, and the
   run is incomplete. The run is also incomplete if all lists together are empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from urllib.parse import quote, urljoin

from packaging.utils import canonicalize_name

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import HAS_LIST, LIST_READ, ListRead
from pypimirror.catalog.queries import marks
from pypimirror.catalog.records import ProjectRecord
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import Problem, ProjectList, Reason, Stage
from pypimirror.download.protocol import ListResult, PageResult
from pypimirror.pipeline.run import Run

#: Statuses of upstreams that have no list but may have pages.
NO_LIST = frozenset({403, 404, 405, 410, 501})

#: A larger share of names without a page makes a list doubtful.
_DOUBTED = 0.5
_EXAMPLES = 3


def odd_places(
    upstream: UpstreamSection,
    answer: ListResult,
    found: ProjectList,
    wanted: Collection[str] | None = None,
) -> dict[str, str]:
    """Return the addresses of pages that a list has at other addresses than the usual ones.

    A list may have a million projects. With `wanted`, only these projects are looked up.
    """
    base = answer.url or upstream.url
    places: dict[str, str] = {}
    for entry in found.projects:
        name = canonicalize_name(entry.name) if _is_odd(entry.name) else entry.name
        if wanted is not None and name not in wanted:
            continue
        link = found.links.get(entry.name)
        if link is None and name == entry.name and base == upstream.url:
            continue
        place = link or urljoin(base, f"{quote(entry.name)}/")
        if place != urljoin(upstream.url, f"{name}/"):
            places.setdefault(name, place.removeprefix(upstream.url))
    return places


def _is_odd(name: str) -> bool:
    """Whether a name may not be normalised. Most are, and this test is cheaper than normalising."""
    return not name.islower() or "_" in name or "." in name or "--" in name


def candidates(
    upstream: UpstreamSection, project: str, kept: str | None, listed: str | None
) -> tuple[str, ...]:
    """Return the possible addresses of a page, relative to the upstream's; the best comes first."""
    usual = f"{project}/"
    found = [kept or usual, usual]
    if listed:
        found.append(listed)
        if listed.endswith("/"):  # a redirect may have moved the list
            found.append(urljoin(urljoin(upstream.url, listed), f"../{usual}"))
    return tuple(dict.fromkeys(place.removeprefix(upstream.url) for place in found))


def of_row(run: Run, upstream: UpstreamSection, row: ProjectRecord) -> tuple[str, ...]:
    """Return the possible addresses of a project's page at an upstream; none: the usual one."""
    kept = row.page_at if row.upstream == upstream.name else None
    listed = row.listed_at if row.upstream == upstream.name else None
    place = listed or run.cache.places[upstream.name].get(row.name)
    if kept is None and place is None:  # most pages
        return ()
    return candidates(upstream, row.name, kept, place)


def found_at(upstream: UpstreamSection, row: ProjectRecord, result: PageResult) -> str | None:
    """Return the address of a page to remember; None if it is the usual one."""
    if not result.at:
        return row.page_at if row.upstream == upstream.name else None
    at = result.at.removeprefix(upstream.url)
    return None if at == f"{row.name}/" else at


def without_list(run: Run, connection: Connection) -> set[str]:
    """Return the names of upstreams whose list was never read."""
    return {
        upstream.name
        for upstream in run.config.upstream
        if not upstream.has_list or not marks.is_set(connection, HAS_LIST.of(upstream.name))
    }


def note_without_page(run: Run, connection: Connection, rows: Iterable[ProjectRecord]) -> None:
    """Count projects that are in a list but have no page at any upstream."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.listed and row.upstream is not None:
            names[row.upstream].append(row.name)
    for upstream, found in names.items():
        mark = LIST_READ.of(upstream)
        before = marks.read(connection, mark)
        if before is not None and before.run == run.id:
            examples = tuple(sorted((*before.examples, *found))[:_EXAMPLES])
            number = before.without_page + len(found)
            marks.write(connection, mark, ListRead(run.id, before.selected, number, examples))


def judge(run: Run) -> list[str]:
    """Report lists with too many missing pages. Return their upstreams, whose lists are read
    again.
    """
    with run.catalog.read() as connection:
        read = [
            (upstream, listed)
            for upstream in run.config.upstream
            if (listed := marks.read(connection, LIST_READ.of(upstream.name))) is not None
        ]
    doubted = [
        (upstream, listed)
        for upstream, listed in read
        if listed.run == run.id and listed.without_page > _DOUBTED * listed.selected
    ]
    for upstream, listed in doubted:
        tell(run, Problem(Reason.BAD_LIST, _doubt(upstream, listed), url=upstream.url))
    return [upstream.name for upstream, _ in doubted]


def tell_empty(run: Run) -> None:
    """Report that all lists together have no project."""
    urls = ", ".join(upstream.url for upstream in run.config.upstream)
    message = f"no project list has a single project ({urls}); check the address of the index"
    tell(run, Problem(Reason.BAD_LIST, message))


def tell(run: Run, problem: Problem) -> None:
    """Report a problem with a list. The record keeps one line for all such problems of a run."""
    run.ledger.record_together(Stage.DISCOVER, problem)
    run.reporter.problem(Stage.DISCOVER, problem)


def _doubt(upstream: UpstreamSection, listed: ListRead) -> str:
    """Return the message about a list with too many missing pages."""
    shown = ", ".join(listed.examples)
    more = ", …" if listed.without_page > len(listed.examples) else ""
    return (
        f"upstream {upstream.name}: {listed.without_page} of the {listed.selected} "
        f"projects that its list has for this mirror have no page ({shown}{more}); check the "
        f"address {upstream.url}: the address of an index usually ends in /simple/, and its "
        "pages must be where its list says"
    )
