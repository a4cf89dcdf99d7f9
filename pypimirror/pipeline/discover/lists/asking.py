"""Discover: fetch an upstream's project list, conditionally, and parse it.

`pypimirror.pipeline.discover.lists.lists` decides what the list means for the catalog.
"""

from __future__ import annotations

from typing import Any

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectList
from pypimirror.download.protocol import ListResult
from pypimirror.pipeline.context.remotes import further_places
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.run import Run


def fetch(run: Run, upstream: UpstreamSection) -> tuple[ListResult, ProjectList | None]:
    """Fetch an upstream's list. It is None if the answer has a problem or says "not modified".

    If the upstream fails, its alternates are asked in turn. The answer is still the upstream's,
    with its problem, also if an alternate delivered the list.
    """
    kind = kind_of(upstream)
    first, found = kind.listing(run, upstream, (upstream.name, upstream.url))
    if first.problem is None:
        return first, found
    for name, url in further_places(upstream):
        _, found = kind.listing(run, upstream, (name, url))
        if found is not None:
            warning = (
                f"{upstream.name}: {first.problem.message} Its project list was taken from {url}"
            )
            run.reporter.note("warning", warning)
            return first, found
    return first, None


def memory(run: Run, result: ListResult, found: ProjectList, *, done: bool) -> dict[str, Any]:
    """Return the columns to remember of a list that was read.

    Only with `done` are its validators kept. Otherwise the next run reads the list in full: if
    names of it were skipped, or if it has no serials that show which projects have changed.
    """
    return {
        "etag": result.etag if done else None,
        "last_modified": result.last_modified if done else None,
        "serial": found.serial,
        "selection": run.selection.digest,
        "read_at": run.now,
    }
