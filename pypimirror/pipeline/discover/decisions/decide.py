"""What a page means for the catalog: the decisions of discovery, without I/O.

Rules, in this order, for each file name:

1. Not selected: it is gone where the catalog has it, else it is not recorded. The cause is
   "claims" where it would be selected by what the upstream said of it before, else "selection": the
   deletion guard looks at what is lost by the upstream's doing, whatever rule that works through. A
   yank goes onto its page meanwhile.
2. Offered, but refused while the page was read: a refusal. Where the catalog already has the
   file, it stays as it is, proof and all. So is one that is only to be linked, where no page may
   lead to its address, or nobody tells a sha256 for installers to check; but what is not on a page
   yet is not fetched either.
3. All sources pool what they claim of a file. Claims that contradict each other are refused, all
   of them named, unless the configuration calls one source authoritative: then only that counts.
4. Offered, and proven before, whatever became of the bytes: this mirror is committed to their
   digest. A claim that contradicts it is refused (promise 9), and what was withheld till now stays
   out; unless the configuration says to replace, or the digest was never claimed by anybody: then
   the file is wanted anew, but not where more are on pages than may leave these at once
   (`replacing`). A size that contradicts the bytes is such a claim, where no digest says that the
   same bytes are meant; where one does, the size is refused alone (`held.believed`). Where nobody
   had claimed a sha256, one that agrees is a better proof.
   All else is taken over without a download. The digest of a file that a page has linked at the
   upstream is such a commitment, too.
5. Offered again while withdrawn, or while linked and now to be held: the bytes that are still here
   are verified again, else it is wanted.
6. Offered, new or not yet held: wanted, with the newest claims; where these are others than
   before, the failures so far mean nothing. Where it is only to be linked, it is linked; what is on
   a page with its own bytes becomes so when that page leads to the upstream.
7. In the catalog and not offered any more: gone ("quarantine" where the page says that the
   upstream withholds it, "kept" where it is on a page and the configuration keeps what is deleted,
   else "upstream"). Applied later, after the deletion guard has seen all. What is kept stays so.
   Where something could not be read that may offer it still, it stays.
8. Offered under a name that is one with another's, on some file systems, whose bytes are here:
   refused (`pypimirror.pipeline.discover.decisions.collisions`), unless it is only to be linked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

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
from pypimirror.pipeline.discover.decisions.held import MAIN, contradiction, refusal
from pypimirror.upstream.checks import rank
from pypimirror.verify.proof import Proof, strongest

#: States of files whose own bytes are on no page.
_UNSEEN = DUE | {State.FETCHED}
#: States in which a page may lead to the upstream for want of bytes.
_AWAITED = _UNSEEN | {State.LINKED}


_UNCHECKED = (
    "nobody tells its sha256, so installers could not check what a page of metadata_only leads to"
)
#: What a digest that an upstream gives later may contradict: nobody gave one before.
_OWN = frozenset({Proof.STRUCTURE, Proof.PARTIAL, Proof.RELEASED})
_TOO_MANY = (
    "the upstream gives other digests than before for more files than [delete] lets leave their "
    "pages at once, this among them; it stays as it is. If that is right, raise the limits for one "
    "run: PYPIMIRROR_DELETE__MAX_SHARE=1 PYPIMIRROR_DELETE__MAX_COUNT=1000000000"
)
_OTHER_METADATA = (
    "the upstream announces other core metadata than the wheel carries; it is served without"
)


@dataclass(frozen=True)
class Terms:
    """What the configuration says on trust."""

    owner: str  #: the name of the upstream whose page is decided on
    authoritative: str | None = None  #: the source whose claims win
    replace_changed: bool = False  #: whether a changed digest replaces the file
    keep: bool = False  #: whether what the upstream deletes stays, with a mark
    lets_go: bool = True  #: whether what is replaced may leave its page

    def replaces(self, old: FileRecord) -> bool:
        """Whether a claim that contradicts a file which was proven replaces it."""
        return self.replace_changed or old.proof in _OWN


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The way to a file at the upstream, for a page."""

    lasts: bool = False  #: whether the configuration asks for it; else a page may until it is here
    fault: tuple[Reason, str] | None = None  #: why no page may lead there; a clause on the file
    provenance: bool = False  #: whether a page may lead to the upstream's attestations, too


_HELD_HERE = Link()
_NO_LINKS: Mapping[str, Link] = MappingProxyType({})
_NOTHING_LOST: Mapping[str, Cause] = MappingProxyType({})


@dataclass
class Decision:
    """What one page changes."""

    new: list[dict[str, Any]] = field(default_factory=list)  #: rows for `files`
    changed: list[dict[str, Any]] = field(default_factory=list)  #: id and new column values
    moved: dict[State, list[int]] = field(default_factory=dict)  #: ids to move, by target
    gone: dict[Cause, list[int]] = field(default_factory=dict)
    back: list[int] = field(default_factory=list)  #: ids that are offered again
    left: list[int] = field(default_factory=list)  #: ids of linked files with bytes in place, maybe
    anew: list[int] = field(default_factory=list)  #: ids whose failures so far mean nothing now
    refused: list[Problem] = field(default_factory=list)
    found: int = 0  #: files that are selected and offered
    reused: int = 0  #: of these, files whose verified bytes are here already
    linked: int = 0  #: of these, files that pages lead to at the upstream


class ConflictError(Exception):
    """Sources contradict each other on a digest; the message names both claims."""


def decide(
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    selected: Sequence[bool],
    locations: Mapping[str, str],
    pooled: Mapping[str, Sequence[Claim]],
    terms: Terms,
    links: Mapping[str, Link] = _NO_LINKS,
    lost: Mapping[str, Cause] = _NOTHING_LOST,
    unwanted: Collection[str] = (),
) -> Decision:
    """Hold a page against what the catalog has of its project.

    `selected` goes with `page.files`; `locations` holds a directory for each file that does not
    belong in the project's own; `pooled` holds what other sources claim; `links` has an entry for
    each file that is not to be held here; `lost` has the cause of those that are deselected for the
    upstream's words, `unwanted` those that are not on the page and would not be selected.
    """
    decision = Decision()
    offered: set[str] = set()
    places = collisions.places(held)
    for file, is_selected in zip(page.files, selected, strict=True):
        if not is_selected:
            continue
        offered.add(file.filename)
        decision.found += 1
        try:
            digests, source = pool(file, pooled.get(file.filename, ()), terms)
        except ConflictError as conflict:
            decision.refused.append(refusal(Reason.DIGEST_CONFLICT, page, file, str(conflict)))
            continue
        others = pooled.get(file.filename, ())
        where = locations.get(file.filename)
        row = columns(file, digests, source, where)
        row["other_urls"] = to_json(further_links(file, others, terms.owner))
        old = held.get(file.filename)
        link = links.get(file.filename, _HELD_HERE)
        if not link.lasts and (why := collisions.taken(file.filename, where, old, places)):
            decision.refused.append(refusal(Reason.DUPLICATE_NAME, page, file, why))
            if old is None or State(old.state) in _UNSEEN:
                offered.discard(file.filename)
            continue
        if link.lasts:
            if fault := no_link(link, digests, old):
                decision.refused.append(refusal(fault[0], page, file, fault[1]))
                if old is None or (State(old.state) in _UNSEEN and not old.linked):
                    offered.discard(file.filename)
                continue
            row |= {"linked": True, "provenance": file.provenance if link.provenance else None}
            decision.linked += 1
        if old is None:
            decision.new.append({"filename": file.filename, **row})
        else:
            if old.linked and link.fault is None and State(old.state) in _AWAITED:
                row["linked"] = True  # until it is here
            _known(decision, page, file, old, digests, row, terms, is_linked=link.lasts)
    decision.refused.extend(page.problems)
    # Problems name files as people read them: cut short, without control characters.
    refused_links = {problem.file for problem in page.problems}
    offered.update(name for name in held if printable(name) in refused_links)
    _missing(decision, page, held, offered, lost, unwanted if terms.keep else None)
    return decision


def pool(file: File, others: Sequence[Claim], terms: Terms) -> tuple[dict[str, str], str | None]:
    """Unite what all sources claim of a file; return it with the source that vouches for it.

    The owner vouches where its own claims are as strong as any. Raises `ConflictError`.
    """
    claims = [Claim(terms.owner, file.digests), *others]
    trusted = [claim for claim in claims if claim.source == terms.authoritative and claim.digests]
    digests: dict[str, tuple[str, str]] = {}
    for claim in trusted or claims:
        for algorithm, value in claim.digests.items():
            before = digests.setdefault(algorithm, (value, claim.source))
            if before[0] != value:
                raise ConflictError(
                    f"{before[1]} says that its {algorithm} is {before[0]}, and {claim.source} "
                    f"says {value}; name the one to believe with 'authoritative = true' in its "
                    "[[upstream]]"
                )
    best = strongest(digests)
    source = digests[best][1] if best else None
    return {algorithm: value for algorithm, (value, _) in digests.items()}, source


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
    """Rules 4 to 6, for a file that the catalog has."""
    state = State(old.state)
    target = _target(old, is_linked=is_linked)
    if old.proof is not None or old.linked:
        conflict = contradiction(digests, old, file.size)
        if conflict is None and old.proof is None:
            row["sha256"] = old.sha256
        elif conflict is None:
            # The proven digest and size stay; new claims of other algorithms were never checked
            # against these bytes, so they are not taken over.
            source = row.pop("proof_source")
            for key in ("location", "sha256", "size", "digests"):
                del row[key]
            if old.proof_algorithm != MAIN and strongest(digests) == MAIN:
                row |= {"proof": of_claim(source, terms), "proof_algorithm": MAIN}
                row["proof_source"] = source
            decision.reused += state in PROVEN and not is_linked
        elif terms.replaces(old) and (terms.lets_go or state not in PROVEN):
            if row["sha256"] is None and is_linked:
                decision.refused.append(refusal(Reason.NO_PROOF, page, file, _UNCHECKED))
                return
            if not is_linked:
                target = None if state in DUE else State.WANTED
            row["linked"] = row["linked"] if row["sha256"] is not None else None
            row["proof"] = None  # it was that of other bytes
        else:
            told = (Reason.DIGEST_CHANGED, conflict)
            if terms.replaces(old):
                told = (Reason.DELETION_GUARD, _TOO_MANY)
            decision.refused.append(refusal(told[0], page, file, told[1]))
            if old.removal_cause in (
                Cause.QUARANTINE,
                Cause.DROPPED,
            ):  # it is over, and they stay away
                decision.gone.setdefault(Cause.UPSTREAM, []).append(old.id)
            return
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
            target = State.FETCHED  # the new claim may be right: prove it with the wheel
        else:
            decision.refused.append(refusal(Reason.METADATA_MISMATCH, page, file, _OTHER_METADATA))
    if old.removal_cause is not None:
        decision.back.append(old.id)
    if target is not None:
        decision.moved.setdefault(target, []).append(old.id)
    if target is State.LINKED and state is State.FETCHED and old.proof is not None:
        decision.left.append(old.id)


def _target(old: FileRecord, *, is_linked: bool) -> State | None:
    """Return the state that a file which is offered has to move to, if to any."""
    state = State(old.state)
    if is_linked:
        # What is on a page with its own bytes is linked once that page says so.
        return None if state in PROVEN or state is State.LINKED else State.LINKED
    if state in (State.WITHDRAWN, State.LINKED):
        return State.WANTED if old.withdrawn_at is None else State.FETCHED
    if state in PROVEN and old.proof is None:  # replaced, by one that was only to be linked
        return State.WANTED
    return None


def no_link(
    link: Link, digests: Mapping[str, str], old: FileRecord | None
) -> tuple[Reason, str] | None:
    """Return why a page must not lead to a file at the upstream, or None."""
    is_known = old is not None and (old.proof is not None or old.linked)
    if link.fault is None and MAIN not in digests and not is_known:
        return Reason.NO_PROOF, _UNCHECKED
    return link.fault


def of_claim(source: str | None, terms: Terms) -> Proof:
    """Return the level of a proof by a claim of this source."""
    return Proof.DIGEST if source == terms.owner else Proof.SHARED


def _lacks_metadata(row: dict[str, Any], old: FileRecord) -> bool:
    """Whether the upstream announces core metadata, and not what the wheel carries."""
    return bool(row["metadata_claim"]) and row["metadata_claim"] != old.metadata_sha256


def _missing(
    decision: Decision,
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    offered: set[str],
    lost: Mapping[str, Cause],
    unwanted: Collection[str] | None,
) -> None:
    """Rules 1 and 7, for what the catalog has and the page does not offer to this mirror.

    `unwanted` is None where nothing that is deleted is kept.
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
    """Return how a file that is deleted stays: None where it is marked so already."""
    return Cause.KEPT if old.kept is None else None


def columns(
    file: File, digests: Mapping[str, str], source: str | None, location: str | None
) -> dict[str, Any]:
    """Return a file's claims as columns of `files`."""
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


def further_links(file: File, others: Sequence[Claim], owner: str) -> list[tuple[str, str]]:
    """Return source and address of a file's links behind the first: the owner's, then others'.

    Each in turn are sorted by how well they are proven. All copies must meet all claims.
    """
    links = [(owner, url) for url in file.other_urls]
    for claim in sorted(others, key=lambda claim: rank(claim.digests)):
        links.extend((claim.source, url) for url in claim.urls)
    return list(dict.fromkeys(links))


def to_json(value: Iterable[Any] | None) -> str | None:
    """Encode for a column that is null where there is nothing; the same value, the same text."""
    return msgspec.json.encode(value, order="sorted").decode() if value else None
