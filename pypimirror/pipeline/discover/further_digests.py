"""Discover: compare files that are here with the digests of further algorithms in locks.

A held file was compared with the claims that were known when it was verified. Later, a lock may
bring a digest of another algorithm. Then the bytes are read again, and no upstream can overrule
their digest. A lock that contradicts it is a conflict like any other (`decisions.decide`,
rule 3): it is reported, and the file stays as it is.

If no lock brings a new algorithm, nothing is read. The digest is not stored, because pages would
change. So the bytes are read again whenever the page is decided again. Bytes that are missing or
damaged are not compared: the audit finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.layout import file_path
from pypimirror.domain.model import Claim, File, ProjectPage
from pypimirror.pipeline.discover.cross_checks import OtherClaims
from pypimirror.pipeline.discover.decisions.comparing import MAIN, contradiction, digests_of
from pypimirror.pipeline.discover.decisions.merging import ConflictError, Terms, merge
from pypimirror.pipeline.run import Run
from pypimirror.verify.protocol import Check

_SOURCE = "the verified file here"


def add(
    run: Run,
    pages: Mapping[int, ProjectPage],
    held: Mapping[int, Mapping[str, FileRecord]],
    others: OtherClaims,
    terms: Mapping[int, Terms],
) -> None:
    """Add the digests of held files whose locks bring further algorithms. Keys are project ids."""
    asked: dict[int, tuple[str, FileRecord, tuple[str, ...]]] = {}
    for i, page in pages.items():
        for file in _locked(page, others.claims.get(i, {})):
            old = held[i].get(file.filename)
            if old is None or old.proof is None or not _is_here(old):
                continue
            if new := _new(file, others.claims[i][file.filename], old, terms[i]):
                asked[old.id] = page.project, old, new
    jobs = (_job(*each) for each in asked.values())
    for result in run.hashed(jobs) if asked else ():
        _, old, new = asked[result.id]
        if result.problem is not None or result.digests[MAIN] != digests_of(old).get(MAIN):
            continue
        digests = {algorithm: result.digests[algorithm] for algorithm in new}
        claims = others.claims[old.project_id][old.filename]
        claims.insert(0, Claim(_SOURCE, digests, is_lock=True))


def _locked(page: ProjectPage, claims: Mapping[str, Sequence[Claim]]) -> Iterator[File]:
    """Yield the files of a page that locks make claims about."""
    names = {name for name, each in claims.items() if any(claim.is_lock for claim in each)}
    return (file for file in page.files if file.filename in names) if names else iter(())


def _is_here(old: FileRecord) -> bool:
    """Whether bytes of a proven file may be in place."""
    state = State(old.state)
    return state in PROVEN or state is State.FETCHED or old.withdrawn_at is not None


def _new(file: File, claims: Sequence[Claim], old: FileRecord, terms: Terms) -> tuple[str, ...]:
    """Return the algorithms of locks that a held file was never compared with.

    There are none if claims contradict each other or the file: then they are refused anyway, or are
    about other bytes.
    """
    try:
        digests, _ = merge(file, claims, terms)
    except ConflictError:
        return ()
    if contradiction(digests, old, file.size) is not None:
        return ()
    locked = {name for claim in claims if claim.is_lock for name in claim.digests}
    return tuple(sorted(locked - digests_of(old).keys()))


def _job(project: str, old: FileRecord, algorithms: tuple[str, ...]) -> Check:
    key = file_path(project, old.filename, old.location)
    return Check(old.id, key, project, old.filename, old.size, digests=algorithms)
