"""Download, the part on alternates: where else a file can be had that its upstream failed on.

The alternate's own page of the project says where; nothing is guessed from the upstream's
addresses. Pages are asked for only now, since in most runs nothing fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Row

from pypimirror.download.protocol import FetchPage
from pypimirror.model import File
from pypimirror.stages import pages
from pypimirror.stages.run import Run


def offers(
    run: Run, waiting: Callable[[], Iterable[Row[Any]]]
) -> Iterator[tuple[str, list[tuple[int, File]]]]:
    """Yield each alternate with what it offers, by id, of the files that wait by then."""
    for upstream in run.config.upstream:
        for url in upstream.alternates:
            rows: dict[str, list[Row[Any]]] = defaultdict(list)
            for row in waiting():
                if row.upstream == upstream.name:
                    rows[row.project].append(row)
            if rows:
                jobs = (
                    pages.page_job(n, upstream, (url, url), name) for n, name in enumerate(rows)
                )
                yield url, list(_offered(run, jobs, list(rows.values())))


def _offered(
    run: Run, jobs: Iterable[FetchPage], rows: list[list[Row[Any]]]
) -> Iterator[tuple[int, File]]:
    for result in pages.ask(run, jobs):
        if result.page is not None:
            offered = {file.filename: file for file in result.page.files}
            for row in rows[result.id]:
                if row.filename in offered:
                    yield row.id, offered[row.filename]
