"""What the catalog has of files, and how an upstream's claims go with it. No I/O.

Lives here: whether claims can be about the bytes that are held, and what of a page is not believed
or is filled in before anybody decides on it. Does not live here: the decisions
(`pypimirror.pipeline.discover.decisions.decide`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import Cause
from pypimirror.domain.model import File, Problem, ProjectPage, Reason, details_of

#: The digest that the catalog has a column of its own for.
MAIN = "sha256"


def as_file(old: FileRecord) -> File:
    """Return what its upstream said of a file last, as far as that decides on its selection."""
    return File(
        old.filename,
        old.url,
        _digests_of(old),
        old.size,
        **details_of(old),
    )


def _dated(page: ProjectPage, held: Mapping[str, FileRecord]) -> ProjectPage:
    """Return a page with the times of uploads that it does not tell and are known from before.

    A page in HTML, such as an alternate's, has none: rules on age would drop all files at once.
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
    """Return a page as it is to be decided on, and what to tell of claims that are not believed.

    Times of uploads that are known from before are filled in. Sizes that bytes proven here belie
    are replaced: where a digest says that the same bytes are meant, they are no reason for
    anything.
    """
    refused: list[Problem] = []

    def sized(file: File) -> File:
        old = held.get(file.filename)
        if file.size is None or old is None or old.size is None or old.proof is None:
            return file
        if file.size == old.size or not agrees(file.digests, old):
            return file
        cause = (
            f"the upstream says that it has {file.size} bytes; those with its digest, which this "
            f"mirror holds or held, are {old.size}"
        )
        refused.append(refusal(Reason.SIZE_MISMATCH, page, file, cause))
        return msgspec.structs.replace(file, size=old.size)

    page = _dated(page, held)
    files = tuple(map(sized, page.files))
    return (msgspec.structs.replace(page, files=files), refused) if refused else (page, refused)


def as_before(page: ProjectPage, held: Mapping[str, FileRecord]) -> ProjectPage:
    """Return a page that says of each file on offer here what its upstream said before.

    A selection that takes a file by that, and leaves it out now, does so for the upstream's words.
    """

    def told(file: File) -> File:
        old = held.get(file.filename)
        if old is None or old.removal_cause not in (None, Cause.CLAIMS, Cause.REPLACED):
            return file
        return msgspec.structs.replace(
            file,
            digests=_digests_of(old),
            size=old.size,
            # That it is yanked goes onto its page while the guard keeps it there.
            **details_of(old)
            | {"yanked": None if old.removal_cause == Cause.CLAIMS else old.yanked},
        )

    return msgspec.structs.replace(page, files=tuple(map(told, page.files)))


def contradiction(
    digests: Mapping[str, str], old: FileRecord, size: int | None = None
) -> str | None:
    """Return how claims contradict what is held, or None."""
    known = _digests_of(old)
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
    """Whether a digest says that the bytes which are held are meant, and none that others are."""
    known = _digests_of(old)
    common = digests.keys() & known.keys()
    return bool(common) and all(digests[name] == known[name] for name in common)


def _digests_of(old: FileRecord) -> dict[str, str]:
    known = msgspec.json.decode(old.digests, type=dict[str, str]) if old.digests else {}
    if old.sha256 is not None:
        known[MAIN] = old.sha256.hex()
    return known


def refusal(reason: Reason, page: ProjectPage, file: File, cause: str) -> Problem:
    """Return the refusal of one file of a page; `cause` is a clause on the file."""
    return Problem(reason, f"{file.filename}: {cause}", page.project, file.filename, file.url)
