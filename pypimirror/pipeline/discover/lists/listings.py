"""What upstreams' lists are worth in a run: where they say that pages are, and whether it is so.

A list is a claim as any other. The rules:

1. A page is looked for under its normalised name first, or where it was found last. Where that is
   not there (404, 410), where the list says it is: a static index has its pages under names as
   they were written, or as `six/index.html`. What worked is remembered.
2. An upstream that answers, and has no list (403, 404, 405, 410, 501) nor ever had one, is asked
   by name: for projects that are named, and for those that a later upstream lists, since it may
   own them. That globs cannot be met there is told once, unless `has_list` is false.
3. Names of a list whose pages are nowhere are daily life: lists lag behind. Where they are more
   than half of what a list has for this mirror, it is no list of this index, and the run is
   incomplete. So is one where the lists together have no project at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from urllib.parse import quote, urljoin

import msgspec
from packaging.utils import canonicalize_name

from pypimirror.catalog.records import ProjectRecord
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import Problem, ProjectList, Reason, Stage
from pypimirror.download.protocol import ListResult, PageResult
from pypimirror.pipeline.run import Run

#: Answers of upstreams that have no list, and may have pages.
NO_LIST = frozenset({403, 404, 405, 410, 501})

#: The share of a list that may be nowhere before the list is doubted.
_DOUBTED = 0.5
_EXAMPLES = 3


def odd_places(
    upstream: UpstreamSection,
    answer: ListResult,
    found: ProjectList,
    wanted: Collection[str] | None = None,
) -> dict[str, str]:
    """Return where a list says that pages are which are not where one looks.

    Of the `wanted` projects, since a list may have a million, or of all.
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
    """Whether a name may not be normalised: most are, and asking costs more than this."""
    return not name.islower() or "_" in name or "." in name or "--" in name


def candidates(
    upstream: UpstreamSection, project: str, kept: str | None, listed: str | None
) -> tuple[str, ...]:
    """Return where a page may be, relative to the upstream's address: the first one first."""
    usual = f"{project}/"
    found = [kept or usual, usual]
    if listed:
        found.append(listed)
        if listed.endswith("/"):  # the list itself may be somewhere else, by a redirect
            found.append(urljoin(urljoin(upstream.url, listed), f"../{usual}"))
    return tuple(dict.fromkeys(place.removeprefix(upstream.url) for place in found))


def of_row(run: Run, upstream: UpstreamSection, row: ProjectRecord) -> tuple[str, ...]:
    """Return where a project's page may be at an upstream."""
    kept = row.page_at if row.upstream == upstream.name else None
    return candidates(upstream, row.name, kept, run.discovered.places[upstream.name].get(row.name))


def found_at(upstream: UpstreamSection, row: ProjectRecord, result: PageResult) -> str | None:
    """Return what to remember of where a page was found; None: where one looks."""
    if not result.at:
        return row.page_at if row.upstream == upstream.name else None
    at = result.at.removeprefix(upstream.url)
    return None if at == f"{row.name}/" else at


def note_nowhere(run: Run, rows: Iterable[ProjectRecord]) -> None:
    """Note projects that lists have and no upstream has a page of."""
    for row in rows:
        if row.name in run.discovered.listed and row.upstream is not None:
            run.discovered.nowhere[row.upstream].append(row.name)


def judge(run: Run) -> list[str]:
    """Report lists that their own pages do not bear out; return whose, to be read again."""
    doubted = [
        (upstream, names)
        for upstream in run.config.upstream
        if (names := run.discovered.nowhere.get(upstream.name, ()))
        and len(names) > _DOUBTED * run.discovered.sizes[upstream.name]
    ]
    for upstream, names in doubted:
        tell(run, Problem(Reason.BAD_LIST, _doubt(run, upstream, names), url=upstream.url))
    return [upstream.name for upstream, _ in doubted]


def tell_empty(run: Run) -> None:
    """Report that no list has a single project."""
    urls = ", ".join(upstream.url for upstream in run.config.upstream)
    message = f"no project list has a single project ({urls}); check the address of the index"
    tell(run, Problem(Reason.BAD_LIST, message))


def tell(run: Run, problem: Problem) -> None:
    """Report what is wrong with a list, in one line of the record with what was told before."""
    run.discovered.told.append(problem.message)
    message = "; ".join(run.discovered.told)
    run.ledger.record(Stage.DISCOVER, [msgspec.structs.replace(problem, message=message)])
    run.reporter.problem(Stage.DISCOVER, problem)


def _doubt(run: Run, upstream: UpstreamSection, names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:_EXAMPLES])
    more = ", …" if len(names) > _EXAMPLES else ""
    return (
        f"upstream {upstream.name}: {len(names)} of the {run.discovered.sizes[upstream.name]} "
        f"projects that its list has for this mirror have no page ({shown}{more}); check the "
        f"address {upstream.url}: it is that of an index, mostly ends in /simple/, and its "
        "pages are where its list says"
    )
