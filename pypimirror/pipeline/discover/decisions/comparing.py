"""Compare the claims of an upstream with the files in the catalog. No I/O.

This module answers whether claims can be about the bytes that are held. It corrects and completes a
page before decisions are made. It does not make the decisions
(`pypimirror.pipeline.discover.decisions.decide`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import Cause
from pypimirror.domain.model import File, Problem, ProjectPage, Reason, details_of

#: The digest algorithm that has its own column in the catalog.
MAIN = "sha256"


def as_file(old: FileRecord) -> File:
    """Return the last claims of the upstream about a file, for the selection to decide on."""
    return File(
        old.filename,
        old.url,
        digests_of(old),
        old.size,
        **details_of(old),
    )


def _dated(page: ProjectPage, held: Mapping[str, FileRecord]) -> ProjectPage:
    """Return the page with missing upload times filled in from the catalog.

    HTML pages, such as an alternate's, have no upload times. Without this, rules on age would drop
    all files at once.
    """

    def told(file: File) -> File:
        old = held.get(file.filename)
        if file.upload_time is not None or old is None or old.upload_time is None:
            return file
        if contradiction(file.digests, old) is not None:
            return file
        return msgspec.structs.replace(file, upload_time=old.upload_time)

    if all(file.upload_time is not None for file in page.files):
        return page
    return msgspec.structs.replace(page, files=tuple(map(told, page.files)))


def believed(
    page: ProjectPage, held: Mapping[str, FileRecord]
) -> tuple[ProjectPage, list[Problem]]:
    """Return the page to decide on, and problems for the claims on it that are not believed.

    Missing upload times are filled in from the catalog. A size is replaced if it contradicts proven
    bytes while a digest shows that the same bytes are meant.
    """
    refused: list[Problem] = []

    def sized(file: File) -> File:
        old = held.get(file.filename)
        if file.size is None or old is None or old.size is None or old.proof is None:
            return file
        if file.size == old.size or not agrees(file.digests, old):
            return file
        cause = (
            f"the upstream says that it has {file.size} bytes, but the bytes with its digest, "
            f"which this mirror holds or held, are {old.size}"
        )
        refused.append(refusal(Reason.SIZE_MISMATCH, page, file, cause))
        return msgspec.structs.replace(file, size=old.size)

    page = _dated(page, held)
    files = tuple(map(sized, page.files))
    return (msgspec.structs.replace(page, files=files), refused) if refused else (page, refused)


def as_before(page: ProjectPage, held: Mapping[str, FileRecord]) -> ProjectPage:
    """Return the page with the earlier claims of the upstream about each file that is offered here.

    If the selection takes a file by the earlier claims and not by the new ones, the upstream's new
    claims are the cause of the loss.
    """

    def told(file: File) -> File:
        old = held.get(file.filename)
        if old is None or old.removal_cause not in (None, Cause.CLAIMS, Cause.REPLACED):
            return file
        return msgspec.structs.replace(
            file,
            digests=digests_of(old),
            size=old.size,
            # A new yank goes onto the page while the guard keeps the file there.
            **details_of(old)
            | {"yanked": None if old.removal_cause == Cause.CLAIMS else old.yanked},
        )

    return msgspec.structs.replace(page, files=tuple(map(told, page.files)))


def contradiction(
    digests: Mapping[str, str], old: FileRecord, size: int | None = None
) -> str | None:
    """Return how claims contradict the file that is held, or None."""
    known = digests_of(old)
    keeps = 'the mirror keeps the file it verified, unless [verify] on_changed is "replace"'
    for algorithm, claimed in digests.items():
        if algorithm in known and known[algorithm] != claimed:
            return (
                f"was mirrored with {algorithm} {known[algorithm]}, and the upstream now says "
                f"{claimed}; {keeps}"
            )
    if old.proof is None or size in (None, old.size) or old.size is None:
        return None
    if agrees(digests, old):
        return None  # the size alone is wrong
    return f"was mirrored with {old.size} bytes, and the upstream now says {size}; {keeps}"


def agrees(digests: Mapping[str, str], old: FileRecord) -> bool:
    """Whether the claims share a digest with the held file and no shared digest differs."""
    known = digests_of(old)
    common = digests.keys() & known.keys()
    return bool(common) and all(digests[name] == known[name] for name in common)


def digests_of(old: FileRecord) -> dict[str, str]:
    """Return all digests of a file in the catalog, by algorithm."""
    known = msgspec.json.decode(old.digests, type=dict[str, str]) if old.digests else {}
    if old.sha256 is not None:
        known[MAIN] = old.sha256.hex()
    return known


def refusal(reason: Reason, page: ProjectPage, file: File, cause: str) -> Problem:
    """Return the refusal of one file of a page. `cause` is a clause about the file."""
    return Problem(reason, f"{file.filename}: {cause}", page.project, file.filename, file.url)
