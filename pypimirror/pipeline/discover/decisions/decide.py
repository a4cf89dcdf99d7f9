"""The decisions of discovery: how a page changes the catalog. No I/O.

The rules for each file name, in this order:

1. Not selected: the file leaves if the catalog has it, else it is not recorded. The cause is
   "claims" if the upstream's earlier claims would select it, else "selection". The deletion guard
   counts every loss that the upstream causes, through whatever rule. A new yank still goes onto the
   page.
2. Refused while the page was read: record a refusal. A file that the catalog has stays as it is,
   with its proof. The same holds for a file that is only to be linked, if no page may link to its
   address, or if no source states a sha256 that installers can check. A file that is on no page yet
   is not fetched either.
3. Claims of all sources are merged. If claims contradict each other, the file is refused and the
   message names both claims. If the configuration calls one source authoritative, only its claims
   count.
4. Offered and proven before, whatever happened to the bytes: the mirror is committed to the digest.
   A claim that contradicts the digest is refused (promise 9), and a file that was withheld stays
   out. There are two exceptions: the configuration says to replace, or nobody ever claimed the
   digest. Then the file is wanted anew, unless too many files would leave their pages at once
   (`replacing`). A size that contradicts the bytes is a contradiction as well, unless a digest
   shows that the same bytes are meant; then only the size is refused (`comparing.believed`). If
   nobody had claimed a sha256, a new one that matches is a better proof. All other claims are taken
   over without a download. The digest of a file that a page has linked at the upstream is a
   commitment too.
5. Offered again after it was withdrawn, or linked before and now to be held: if its bytes are still
   here they are verified again, else the file is wanted.
6. Offered, and new or not yet held: the file is wanted, with the newest claims. If the claims have
   changed, earlier failures no longer count. A file that is only to be linked becomes linked; if a
   page has it with its own bytes, that happens when the page links to the upstream.
7. In the catalog and no longer offered: the file leaves. The cause is "quarantine" if the page says
   that the upstream withholds it, "kept" if it is on a page and the configuration keeps deleted
   files, else "upstream". The loss is applied later, after the deletion guard has counted all
   losses. A kept file stays kept. If a source that may still offer the file could not be read, the
   file stays.
8. Offered under a name that equals the name of a file with bytes here, on some file systems:
   refused (`pypimirror.pipeline.discover.decisions.collisions`), unless it is only to be linked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct, field

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import DUE, PROVEN, Cause, State
from pypimirror.domain.filenames import printable
from pypimirror.domain.model import (
    Claim,
    File,
    Problem,
    ProjectPage,
    ProjectStatus,
    Reason,
    details_of,
)
from pypimirror.pipeline.backoff import MEANINGFUL
from pypimirror.pipeline.discover.decisions import collisions
from pypimirror.pipeline.discover.decisions.comparing import MAIN, contradiction, refusal
from pypimirror.pipeline.discover.decisions.merging import (
    ConflictError,
    Terms,
    further_links,
    merge,
    of_claim,
)
from pypimirror.verify.proof import strongest

#: States of files that no page offers with bytes of this mirror.
_UNSEEN = DUE | {State.FETCHED}
#: States in which a page may link to the upstream because the bytes are not here yet.
_AWAITED = _UNSEEN | {State.LINKED}


_UNCHECKED = "no source states its sha256, so installers could not check what its page links to"
_TOO_MANY = (
    "the upstream changed the digests of more files, this one among them, than [delete] allows to "
    "leave their pages at once; the file stays as it is. If that is right, raise the limits for "
    "one run: PYPIMIRROR_DELETE__MAX_SHARE=1 PYPIMIRROR_DELETE__MAX_COUNT=1000000000"
)
_OTHER_METADATA = (
    "the upstream announces other core metadata than the wheel contains; it is served without any"
)


class UpstreamLink(msgspec.Struct, frozen=True, kw_only=True):
    """How a page may link to a file at the upstream."""

    lasts: bool = False  #: for good, by the configuration; else until the bytes are here
    fault: tuple[Reason, str] | None = None  #: why no page may link there; a clause about the file
    provenance: bool = False  #: whether a page may also link to the attestations there


_HELD_HERE = UpstreamLink()
_NO_LINKS: Mapping[str, UpstreamLink] = MappingProxyType({})
_NOTHING_LOST: Mapping[str, Cause] = MappingProxyType({})


class Decision(Struct):
    """The changes that one page makes in the catalog."""

    new: list[dict[str, Any]] = field(default_factory=list)  #: rows for `files`
    changed: list[dict[str, Any]] = field(default_factory=list)  #: id and new column values
    moved: dict[State, list[int]] = field(default_factory=dict)  #: ids to move, by target
    gone: dict[Cause, list[int]] = field(default_factory=dict)
    back: list[int] = field(default_factory=list)  #: ids that are offered again
    left: list[int] = field(
        default_factory=list
    )  #: ids of linked files whose bytes may be in place
    anew: list[int] = field(default_factory=list)  #: ids whose earlier failures no longer count
    refused: list[Problem] = field(default_factory=list)
    found: int = 0  #: selected files that are offered
    reused: int = 0  #: among them, files whose verified bytes are here already
    linked: int = 0  #: among them, files that pages link to at the upstream


def decide(
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    selected: Sequence[bool],
    locations: Mapping[str, str],
    claims: Mapping[str, Sequence[Claim]],
    terms: Terms,
    links: Mapping[str, UpstreamLink] = _NO_LINKS,
    lost: Mapping[str, Cause] = _NOTHING_LOST,
    unwanted: Collection[str] = (),
) -> Decision:
    """Compare a page with the files of its project in the catalog.

    `selected` has one value for each of `page.files`. `locations` maps a file to its directory if
    that is not the project's own. `claims` are those of other sources. `links` has an entry
    for each file that is not to be held here. `lost` has the cause for files that the upstream's
    claims deselect. `unwanted` names files that are not on the page and would not be selected.
    """
    decision = Decision()
    offered: set[str] = set()
    places = collisions.places(held)
    for file, is_selected in zip(page.files, selected, strict=True):
        if not is_selected:
            continue
        offered.add(file.filename)
        decision.found += 1
        others = claims.get(file.filename, ())
        try:
            digests, source = merge(file, others, terms)
        except ConflictError as conflict:
            decision.refused.append(refusal(Reason.DIGEST_CONFLICT, page, file, str(conflict)))
            continue
        old = held.get(file.filename)
        where = locations.get(file.filename)
        link = links.get(file.filename, _HELD_HERE)
        if fault := _fault(file, old, where, digests, link, places):
            decision.refused.append(refusal(fault[0], page, file, fault[1]))
            if _is_unseen(old, link):
                offered.discard(file.filename)
            continue
        row = columns(file, digests, source, where)
        row["other_urls"] = to_json(further_links(file, others, terms.owner))
        if link.lasts:
            row |= {"linked": True, "provenance": file.provenance if link.provenance else None}
            decision.linked += 1
        if old is None:
            decision.new.append({"filename": file.filename, **row})
        else:
            if old.linked and link.fault is None and State(old.state) in _AWAITED:
                row["linked"] = True  # until the bytes are here
            _known(decision, page, file, old, digests, row, terms, is_linked=link.lasts)
    decision.refused.extend(page.problems)
    # Problems have file names as they are shown: shortened, without control characters.
    refused_links = {problem.file for problem in page.problems}
    offered.update(name for name in held if printable(name) in refused_links)
    _missing(decision, page, held, offered, lost, unwanted if terms.keep else None)
    return decision


def _fault(
    file: File,
    old: FileRecord | None,
    location: str | None,
    digests: Mapping[str, str],
    link: UpstreamLink,
    places: Mapping[collisions.FoldedPlace, str],
) -> tuple[Reason, str] | None:
    """Return why a file can neither be held nor linked to, or None."""
    if link.lasts:
        return no_link(link, digests, old)
    if why := collisions.taken(file.filename, location, old, places):
        return Reason.DUPLICATE_NAME, why
    return None


def _is_unseen(old: FileRecord | None, link: UpstreamLink) -> bool:
    """Whether no page offers a refused file, so that it counts as not offered."""
    return old is None or (State(old.state) in _UNSEEN and not (link.lasts and old.linked))


def _known(
    decision: Decision,
    page: ProjectPage,
    file: File,
    old: FileRecord,
    digests: Mapping[str, str],
    row: dict[str, Any],
    terms: Terms,
    *,
    is_linked: bool,
) -> None:
    """Apply rules 4 to 6 to a file that the catalog has."""
    state = State(old.state)
    target = _target(old, is_linked=is_linked)
    if old.proof is not None or old.linked:
        conflict = contradiction(digests, old, file.size)
        if conflict is None:
            _keep_proof(row, old, digests, terms)
            decision.reused += old.proof is not None and state in PROVEN and not is_linked
        elif not terms.replaces(old) or (not terms.lets_go and state in PROVEN):
            _refuse_change(decision, page, file, old, conflict, terms)
            return
        elif row["sha256"] is None and is_linked:
            decision.refused.append(refusal(Reason.NO_PROOF, page, file, _UNCHECKED))
            return
        else:
            if not is_linked:
                target = None if state in DUE else State.WANTED
            row["linked"] = row["linked"] if row["sha256"] is not None else None
            row["proof"] = None  # the old proof is of the old bytes
    row["kept"] = None
    changes = {key: value for key, value in row.items() if value != getattr(old, key)}
    if changes:
        decision.changed.append({"id": old.id, **changes})
        if (state in DUE and not MEANINGFUL.isdisjoint(changes)) or (
            state in PROVEN and "provenance" in changes
        ):
            decision.anew.append(old.id)
    if target is None and state in PROVEN and not is_linked and _lacks_metadata(row, old):
        if "metadata_claim" in changes:
            target = State.FETCHED  # the new claim may be right: check it against the wheel
        else:
            decision.refused.append(refusal(Reason.METADATA_MISMATCH, page, file, _OTHER_METADATA))
    if old.removal_cause is not None:
        decision.back.append(old.id)
    if target is not None:
        decision.moved.setdefault(target, []).append(old.id)
    if target is State.LINKED and state is State.FETCHED and old.proof is not None:
        decision.left.append(old.id)


def _keep_proof(
    row: dict[str, Any], old: FileRecord, digests: Mapping[str, str], terms: Terms
) -> None:
    """Keep the proven digest and size in the catalog: the new claims do not contradict them."""
    if old.proof is None:
        row["sha256"] = old.sha256  # of a file that a page has only linked
        return
    # New claims of other algorithms are not taken over: only those of locks were compared with
    # these bytes (`discover.further_digests`).
    source = row.pop("proof_source")
    for key in ("location", "sha256", "size", "digests"):
        del row[key]
    if old.proof_algorithm != MAIN and strongest(digests) == MAIN:
        row |= {"proof": of_claim(source, terms), "proof_algorithm": MAIN, "proof_source": source}


def _refuse_change(
    decision: Decision,
    page: ProjectPage,
    file: File,
    old: FileRecord,
    conflict: str,
    terms: Terms,
) -> None:
    """Refuse a claim that contradicts a file that is held."""
    reason, cause = Reason.DIGEST_CHANGED, conflict
    if terms.replaces(old):
        reason, cause = Reason.DELETION_GUARD, _TOO_MANY
    decision.refused.append(refusal(reason, page, file, cause))
    if old.removal_cause in (Cause.QUARANTINE, Cause.DROPPED):  # it is over, and they stay away
        decision.gone.setdefault(Cause.UPSTREAM, []).append(old.id)


def _target(old: FileRecord, *, is_linked: bool) -> State | None:
    """Return the state that an offered file must move to, or None if it stays."""
    state = State(old.state)
    if is_linked:
        # A file that is on a page with its bytes becomes linked when the page changes.
        return None if state in PROVEN or state is State.LINKED else State.LINKED
    if state in (State.WITHDRAWN, State.LINKED):
        return State.WANTED if old.withdrawn_at is None else State.FETCHED
    if state in PROVEN and old.proof is None:  # replaced by a file that was only to be linked
        return State.WANTED
    return None


def no_link(
    link: UpstreamLink, digests: Mapping[str, str], old: FileRecord | None
) -> tuple[Reason, str] | None:
    """Return why a page must not link to a file at the upstream, or None."""
    is_known = old is not None and (old.proof is not None or old.linked)
    if link.fault is None and MAIN not in digests and not is_known:
        return Reason.NO_PROOF, _UNCHECKED
    return link.fault


def _lacks_metadata(row: dict[str, Any], old: FileRecord) -> bool:
    """Whether the upstream announces core metadata that differs from the wheel's own."""
    return bool(row["metadata_claim"]) and row["metadata_claim"] != old.metadata_sha256


def _missing(
    decision: Decision,
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    offered: set[str],
    lost: Mapping[str, Cause],
    unwanted: Collection[str] | None,
) -> None:
    """Apply rules 1 and 7 to files that the catalog has and the page does not offer.

    `unwanted` is None if the configuration keeps no deleted files.
    """
    listed = {file.filename: file for file in page.files}
    absent = Cause.QUARANTINE if page.status is ProjectStatus.QUARANTINED else Cause.UPSTREAM
    for filename, old in held.items():
        if filename in offered or (page.partial and filename not in listed):
            continue
        cause: Cause | None = absent
        if filename in listed:
            cause = lost.get(filename, Cause.SELECTION)
        elif absent is Cause.UPSTREAM and unwanted is not None and State(old.state) in PROVEN:
            cause = Cause.SELECTION if filename in unwanted else _kept(old)
        if cause is Cause.CLAIMS and (yanked := listed[filename].yanked) not in (None, old.yanked):
            decision.changed.append({"id": old.id, "yanked": yanked})
        if cause is None and old.removal_cause is not None:
            decision.back.append(old.id)
        elif cause is not None and old.removal_cause != cause:
            decision.gone.setdefault(cause, []).append(old.id)


def _kept(old: FileRecord) -> Cause | None:
    """Return the cause for a deleted file that stays; None if it is already marked as kept."""
    return Cause.KEPT if old.kept is None else None


def columns(
    file: File, digests: Mapping[str, str], source: str | None, location: str | None
) -> dict[str, Any]:
    """Return the claims about a file as columns of `files`."""
    main = digests.get(MAIN)
    others = {name: value for name, value in digests.items() if name != MAIN}
    claim = None
    if file.core_metadata is not None:
        claim = bytes.fromhex(file.core_metadata.get(MAIN, ""))
    return {
        "url": file.url,
        "location": location,
        "size": file.size,
        "sha256": bytes.fromhex(main) if main else None,
        "digests": to_json(others),
        "proof_source": source,
        "metadata_claim": claim,
        **details_of(file),
        "provenance": file.provenance,
        "extra": to_json(file.extra),
        "linked": None,
    }


def to_json(value: Iterable[Any] | None) -> str | None:
    """Encode a value for a nullable column. Equal values give equal text; empty ones give None."""
    return msgspec.json.encode(value, order="sorted").decode() if value else None
