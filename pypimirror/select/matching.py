"""Compares files with entries about some files of a project: by version, name and digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from pypimirror.select.entries import Entry
from pypimirror.select.facts import Facts, Verdict

_SELECTED = Verdict(True)


class Unmet(Struct, frozen=True):
    """A file or release that an entry asks for, but no upstream offers."""

    entry: Entry
    filename: str = ""  #: the file that a lock names; "" for any file of a release
    digest: tuple[str, str] | None = None  #: the digest that no file of the release has


def asked_for(facts: Facts, wanted: Sequence[Entry], refused: Sequence[Entry]) -> Verdict:
    """Compare a file with the entries about some files of its project."""
    if wanted and not any(matches(entry, facts) for entry in wanted):
        return Verdict(False, wanted[0].source, _why_not(wanted, facts))
    for entry in refused:
        if matches(entry, facts):
            return Verdict(False, entry.source, _named(entry, facts))
    return _SELECTED


def _why_not(wanted: Sequence[Entry], facts: Facts) -> str:
    """Say why the entries do not ask for a file."""
    wanted = [entry for entry in wanted if not entry.is_asked]
    if not wanted:
        return "no client has asked for it"
    texts = ", ".join(dict.fromkeys(entry.text for entry in wanted))
    if not any(_is_of_version(entry, facts) for entry in wanted):
        if facts.version is None:
            return f"its name has no version, but the entry asks for {texts}"
        return f"version {facts.version} is none of {texts}"
    locked = [entry for entry in wanted if entry.files and _is_of_version(entry, facts)]
    if locked:
        return f"{locked[0].text} is locked with other files than this"
    asked = {pair for e in wanted if _is_of_version(e, facts) for pair in e.hashes}
    told = ", ".join(
        f"{a} {d}" for a, d in sorted(facts.file.digests.items()) if (a, d) not in asked
    )
    return f"none of the digests that are asked for of {texts} is its own ({told}, by the upstream)"


def _named(entry: Entry, facts: Facts) -> str:
    """Say by which fact an entry is about a file."""
    what = "the project" if entry.is_whole else "its digest"
    return f"{entry.text!r} names {what if entry.versions is None else f'version {facts.version}'}"


def leads_away(facts: Facts, about: Sequence[Entry]) -> Verdict | None:
    """Compare a file with the entries of `metadata_only` about its project."""
    for entry in about:
        if matches(entry, facts):
            return Verdict(True, entry.source, _named(entry, facts))
    return None


def matches(entry: Entry, facts: Facts) -> bool:
    """Whether an entry asks for a file."""
    if entry.files:
        return facts.file.filename in entry.filenames  # its digests are claims, not conditions
    if not _is_of_version(entry, facts):
        return False
    # The bytes can be compared if the upstream gives a digest of the same algorithm.
    algorithms = {algorithm for algorithm, _ in entry.hashes}
    digests = {pair for pair in facts.file.digests.items() if pair[0] in algorithms}
    return not digests or not digests.isdisjoint(entry.hashes)


def unmet_by(entry: Entry, facts: Sequence[Facts]) -> Iterator[Unmet]:
    """Yield the files or releases that an entry asks for and the project does not have.

    For a lock, these are files, and digests if all files of the release have known digests. A
    lock of pipenv for 1.0 also has digests of 1.0.1, since the one text is in the other.
    """
    if entry.files:
        here = {each.file.filename for each in facts}
        yield from (Unmet(entry, filename) for filename in sorted(entry.filenames - here))
        return
    if not any(matches(entry, each) for each in facts):
        yield Unmet(entry)
    elif entry.is_locked:
        digests = [each.file.digests for each in facts if _is_of_version(entry, each)]
        told = {pair for each in facts for pair in each.file.digests.items()}
        for algorithm, value in sorted(entry.hashes):
            if (algorithm, value) not in told and all(algorithm in each for each in digests):
                yield Unmet(entry, digest=(algorithm, value))


def _is_of_version(entry: Entry, facts: Facts) -> bool:
    """Whether an entry asks for a file's version; a file without a version meets no requirement."""
    if entry.versions is None:
        return True
    # A client may ask for any version, so pre-releases fit by their number alone.
    return facts.version is not None and entry.versions.contains(facts.version, prereleases=True)
