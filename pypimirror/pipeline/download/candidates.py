"""Download: the places where a file can be fetched, and which of them were tried.

A file may have several links: on its owner's pages, on pages linked from there, and at other
sources that the owner's digests check (`pipeline.discover.cross_checks`). They are tried in turn,
the best proven first and the owner's before all others, each with the settings of the upstream that
it came from. When no link is left, the alternates of the owner are asked
(`pipeline.discover.alternates`). The batch notes the links that were tried, so that its verify
stage continues where its download stage stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from pypimirror.catalog.records import ProjectFile
from pypimirror.domain.model import Reason
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.remotes import place_of, places
from pypimirror.pipeline.discover import alternates
from pypimirror.pipeline.download.claims import claims_of
from pypimirror.pipeline.run import Run
from pypimirror.verify import proof

#: Failures that would be the same at another place.
_HOPELESS = frozenset({Reason.DISK, Reason.WORKER, Reason.CANCELLED})

_decode = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode


def links_of(run: Run, row: ProjectFile) -> Iterator[tuple[str, str]]:
    """Yield the links of a file in the catalog, as pairs of place name and address."""
    yield place_of(run.config, row.upstream, row.url), row.url
    if row.other_urls:
        known = {name for upstream in run.config.upstream for name, _ in places(upstream)}
        yield from (link for link in _decode(row.other_urls) if link[0] in known)


def job(
    run: Run,
    batch: Batch,
    row: ProjectFile,
    remote: str,
    url: str,
    further_claims: Mapping[str, str] | None = None,
) -> FetchFile:
    """Return the job that fetches a file from `url`, and note this link as tried."""
    batch.tried.setdefault(row.id, set()).add((remote, url))
    claims = claims_of(row)
    # With weak digests, nothing is proven before the archive is read: take no metadata before that.
    early = row.filename.endswith(".whl") and not proof.needs_structure(claims.digests)
    return FetchFile(
        id=row.id,
        remote=remote,
        urls=(url,),
        path=run.workspace.staged_text(row.id),
        digests={**(further_claims or {}), **claims.digests},
        size=claims.size,
        metadata_path=run.workspace.staged_metadata(row.id) if early else "",
    )


def first(run: Run, batch: Batch, row: ProjectFile) -> FetchFile:
    """Return the job that tries the best link of a file."""
    return job(run, batch, row, *next(links_of(run, row)))


def further(
    run: Run,
    batch: Batch,
    due: Mapping[int, ProjectFile],
    failed: Mapping[int, FileResult],
) -> Iterator[tuple[str, list[FetchFile]]]:
    """Yield jobs in rounds. Each round tries the next place for the files that are in `failed`
    then.

    Each round comes with a name for its places.
    """
    while found := list(_next_links(run, batch, due, failed)):
        yield "another of their links", found
    for place, offered in alternates.offers(run, partial(_waiting, due, failed)):
        jobs = [
            job(run, batch, due[number], place, file.url, file.digests)
            for number, file in offered
            if (place, file.url) not in batch.tried.get(number, ())
        ]
        if jobs:
            yield place, jobs


def _next_links(
    run: Run,
    batch: Batch,
    due: Mapping[int, ProjectFile],
    failed: Mapping[int, FileResult],
) -> Iterator[FetchFile]:
    """Yield the job for the next untried link of each file."""
    for row in _waiting(due, failed):
        tried = batch.tried.get(row.id, set())
        link = next((link for link in links_of(run, row) if link not in tried), None)
        if link is not None:
            yield job(run, batch, row, *link)


def _waiting(
    due: Mapping[int, ProjectFile], failed: Mapping[int, FileResult]
) -> Iterator[ProjectFile]:
    """Yield the files for which another place may help."""
    for number, result in failed.items():
        if result.problem is not None and result.problem.reason not in _HOPELESS:
            yield due[number]
