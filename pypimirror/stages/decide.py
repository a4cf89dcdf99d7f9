"""What a page means for the catalog: the decisions of discovery, without I/O.

Rules, in this order, for each file name:

1. Not selected: it is gone ("selection") where the catalog has it, else it is not recorded.
2. Offered, but refused while the page was read: a refusal. Where the catalog already has the
   file, it stays as it is, proof and all.
3. Offered, and the catalog is committed to one digest of it (`states.PINNED`): a claim that
   contradicts that digest is refused (promise 9); all else is taken over without a download.
4. Offered again while withdrawn: the bytes that are still here are verified again, else it is
   wanted.
5. Offered, new or not yet held: wanted, with the newest claims.
6. In the catalog and not offered any more: gone ("quarantine" where the page says that the
   upstream withholds it, else "upstream"). Applied later, after the deletion guard has seen all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pypimirror.catalog.states import PINNED, PROVEN, Cause, State
from pypimirror.filenames import printable
from pypimirror.model import File, Problem, ProjectPage, ProjectStatus, Reason

#: The digest that the catalog has a column of its own for.
MAIN = "sha256"


class HeldFile(msgspec.Struct, frozen=True):
    """A file as the catalog has it. The fields are columns of `files`."""

    id: int
    filename: str
    url: str
    location: str | None
    state: int
    size: int | None
    sha256: bytes | None
    digests: str | None
    metadata_claim: bytes | None
    upload_time: str | None
    requires_python: str | None
    yanked: str | None
    provenance: str | None
    extra: str | None
    gone: str | None
    withdrawn_at: float | None


@dataclass
class Decision:
    """What one page changes."""

    new: list[dict[str, Any]] = field(default_factory=list)  #: rows for `files`
    changed: list[dict[str, Any]] = field(default_factory=list)  #: id and new column values
    moved: dict[State, list[int]] = field(default_factory=dict)  #: ids to move, by target
    gone: dict[Cause, list[int]] = field(default_factory=dict)
    back: list[int] = field(default_factory=list)  #: ids that are offered again
    refused: list[Problem] = field(default_factory=list)
    found: int = 0  #: files that are selected and offered
    reused: int = 0  #: of these, files whose verified bytes are here already


def decide(
    page: ProjectPage,
    held: Mapping[str, HeldFile],
    selected: Sequence[bool],
    locations: Mapping[str, str],
) -> Decision:
    """Hold a page against what the catalog has of its project.

    `selected` goes with `page.files`; `locations` holds a directory for each file that does not
    belong in the project's own.
    """
    decision = Decision()
    offered: set[str] = set()
    for file, is_selected in zip(page.files, selected, strict=True):
        if not is_selected:
            continue
        offered.add(file.filename)
        decision.found += 1
        old = held.get(file.filename)
        if old is None:
            if not file.digests:
                decision.refused.append(_no_digest(page, file))
                continue
            row = columns(file, locations.get(file.filename))
            decision.new.append({"filename": file.filename, **row})
        else:
            _known(decision, page, file, old, locations.get(file.filename))
    decision.refused.extend(page.problems)
    # Problems name files as people read them: cut short, without control characters.
    refused_links = {problem.file for problem in page.problems}
    offered.update(name for name in held if printable(name) in refused_links)
    _missing(decision, page, held, offered)
    return decision


def _known(
    decision: Decision, page: ProjectPage, file: File, old: HeldFile, location: str | None
) -> None:
    """Rules 3 to 5, for a file that the catalog has."""
    state = State(old.state)
    if state in PINNED:
        conflict = contradiction(file, old)
        if conflict:
            decision.refused.append(_changed_digest(page, file, conflict))
            return
        row = columns(file, old.location)
        # The proven digest and size stay; new claims of other algorithms were never checked
        # against these bytes, so they are not taken over.
        for key in ("sha256", "size", "digests"):
            del row[key]
        decision.reused += state in PROVEN
    else:
        if not file.digests:
            decision.refused.append(_no_digest(page, file))
            return
        row = columns(file, location)
    changes = {key: value for key, value in row.items() if value != getattr(old, key)}
    if changes:
        decision.changed.append({"id": old.id, **changes})
    if old.gone is not None:
        decision.back.append(old.id)
    if state is State.WITHDRAWN:
        target = State.WANTED if old.withdrawn_at is None else State.FETCHED
        decision.moved.setdefault(target, []).append(old.id)


def _missing(
    decision: Decision, page: ProjectPage, held: Mapping[str, HeldFile], offered: set[str]
) -> None:
    """Rules 1 and 6, for what the catalog has and the page does not offer to this mirror."""
    listed = {file.filename for file in page.files}
    absent = Cause.QUARANTINE if page.status is ProjectStatus.QUARANTINED else Cause.UPSTREAM
    for filename, old in held.items():
        if filename in offered:
            continue
        cause = Cause.SELECTION if filename in listed else absent
        if old.gone != cause:
            decision.gone.setdefault(cause, []).append(old.id)


def columns(file: File, location: str | None) -> dict[str, Any]:
    """Return a file's claims as columns of `files`."""
    main = file.digests.get(MAIN)
    others = {name: value for name, value in file.digests.items() if name != MAIN}
    claim = None
    if file.core_metadata is not None:
        claim = bytes.fromhex(file.core_metadata.get(MAIN, ""))
    return {
        "url": file.url,
        "location": location,
        "size": file.size,
        "sha256": bytes.fromhex(main) if main else None,
        "digests": to_json(others),
        "metadata_claim": claim,
        "upload_time": file.upload_time,
        "requires_python": file.requires_python,
        "yanked": file.yanked,
        "provenance": file.provenance,
        "extra": to_json(file.extra),
    }


def contradiction(file: File, old: HeldFile) -> tuple[str, str, str] | None:
    """Return algorithm, held and claimed digest where the claims contradict what is held."""
    known = msgspec.json.decode(old.digests, type=dict[str, str]) if old.digests else {}
    if old.sha256 is not None:
        known[MAIN] = old.sha256.hex()
    for algorithm, claimed in file.digests.items():
        if algorithm in known and known[algorithm] != claimed:
            return algorithm, known[algorithm], claimed
    return None


def to_json(value: Iterable[Any] | None) -> str | None:
    """Encode for a column that is null where there is nothing; the same value, the same text."""
    return msgspec.json.encode(value, order="sorted").decode() if value else None


def _no_digest(page: ProjectPage, file: File) -> Problem:
    return Problem(
        Reason.NO_DIGEST,
        f"{file.filename}: the upstream gives no digest for it, so it cannot be verified",
        page.project,
        file.filename,
        file.url,
    )


def _changed_digest(page: ProjectPage, file: File, conflict: tuple[str, str, str]) -> Problem:
    algorithm, before, now = conflict
    return Problem(
        Reason.DIGEST_CHANGED,
        f"{file.filename}: was mirrored with {algorithm} {before}, and the upstream now says "
        f"{now}; the mirror keeps the file it verified",
        page.project,
        file.filename,
        file.url,
    )
