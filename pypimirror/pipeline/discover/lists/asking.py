"""Discover, the part on getting an upstream's project list: asked for conditionally, and parsed.

What it means for the catalog is decided in `pypimirror.pipeline.discover.lists.lists`.
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
    """Ask for an upstream's list; there is none where the answer says why or "not modified".

    Where it fails, the alternates are asked in turn: of a list that one of them gave, the answer
    is still the upstream's, with its problem.
    """
    kind = kind_of(upstream)
    first, found = kind.listing(run, upstream, (upstream.name, upstream.url))
    if first.problem is None:
        return first, found
    for name, url in further_places(upstream):
        _, found = kind.listing(run, upstream, (name, url))
        if found is not None:
            told = f"{upstream.name}: {first.problem.message} Its project list was taken from {url}"
            run.reporter.note("warning", told)
            return first, found
    return first, None


def memory(run: Run, result: ListResult, found: ProjectList, *, done: bool) -> dict[str, Any]:
    """Return what is to be remembered of a list that was read.

    It must be read again, whether it changes or not, unless `done`: where names of it were passed
    over, and where it does not tell by serials which of its projects have changed.
    """
    return {
        "etag": result.etag if done else None,
        "last_modified": result.last_modified if done else None,
        "serial": found.serial,
        "selection": run.selection.digest,
        "read_at": run.now,
    }
