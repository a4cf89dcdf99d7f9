"""Download, the part on alternates: where else a file can be had that its upstream failed on.

The alternate's own page of the project says where; nothing is guessed from the upstream's
addresses. Pages are asked for only now, since in most runs nothing fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Row

from pypimirror.download.protocol import FetchFile, FileResult, PageResult
from pypimirror.model import Reason
from pypimirror.stages import sources
from pypimirror.stages.claims import claims_of
from pypimirror.stages.run import Run

#: Failures that another place would share.
_HOPELESS = frozenset({Reason.DISK, Reason.WORKER, Reason.CANCELLED})


def jobs(
    run: Run, due: Mapping[int, Row[Any]], failed: Mapping[int, FileResult]
) -> Iterator[tuple[str, list[FetchFile]]]:
    """Yield each alternate with the jobs that try it for what is still in `failed` by then."""
    for upstream in run.config.upstream:
        for url in upstream.alternates:
            waiting: dict[str, list[Row[Any]]] = defaultdict(list)
            for number, result in failed.items():
                row = due[number]
                hopeless = result.problem is None or result.problem.reason in _HOPELESS
                if row.upstream == upstream.name and not hopeless:
                    waiting[row.project].append(row)
            found = list(_jobs_at(run, url, waiting)) if waiting else []
            if found:
                yield url, found


def _jobs_at(run: Run, place: str, waiting: Mapping[str, list[Row[Any]]]) -> Iterator[FetchFile]:
    projects = list(waiting)
    asked = (sources.page_job(n, (place, place), name) for n, name in enumerate(projects))
    for result in run.fetch(asked):
        assert isinstance(result, PageResult)
        if result.page is None:
            continue
        offered = {file.filename: file for file in result.page.files}
        for row in waiting[projects[result.id]]:
            file = offered.get(row.filename)
            if file is not None:
                claims = claims_of(row)
                yield FetchFile(
                    id=row.id,
                    remote=place,
                    urls=(file.url,),
                    path=str(run.tree.staged(row.id)),
                    digests={**file.digests, **claims.digests},
                    size=claims.size,
                )
