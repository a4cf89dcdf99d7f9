"""Names that are one on some file systems: who of them has the place. Pure.

macOS, SMB and others keep one file for names that differ only by case or Unicode form. So a mirror
holds the bytes of at most one of such names of a project (`filenames.fold`), on every file system,
since a mirror root may move. The rule, held against everything that the catalog has of a project,
what is withdrawn included:

* Whose bytes are here has the place, until they are removed: after the grace period, if the
  upstream offers it no more. Another spelling is refused meanwhile, and never fetched.
* When they are gone, the refusals of that project are looked at again.

What is only linked at the upstream has no place here. Of two spellings on one page the first is
taken (`pypimirror.upstream.checks`), and this rule decides whether it may be.

A mirror that an older version has made may hold two, and may have moved. So whoever removes bytes
under one name asks here for the others that they may belong to:

* What the directory lists apart is apart, on whatever file system; nothing more is to be asked.
* Else the bytes belong to the spelling that is offered; of several that are withdrawn, to the one
  that was withdrawn last. The catalog forgets that it has any of the others, and removes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.filenames import fold, printable

#: A directory below the mirror root, None for the project's own; and a folded name.
Place = tuple[str | None, str]


def places(held: Mapping[str, FileRecord]) -> dict[Place, str]:
    """Return by its place whose bytes may be there."""
    here = ((name, file) for name, file in held.items() if _is_here(file))
    return {(file.location, fold(name)): name for name, file in here}


def taken(
    name: str, location: str | None, old: FileRecord | None, places: Mapping[Place, str]
) -> str | None:
    """Return why a file cannot have its place: a clause on it. None where it can."""
    other = places.get((location, fold(name)), name) if places else name
    if other == name or (old is not None and _is_here(old)):
        return None
    return (
        f"its name differs from {printable(other)} only by case or Unicode form, and the bytes of "
        "that file are here; it is looked at again when they are removed"
    )


def families(rows: Iterable[FileRecord]) -> list[list[FileRecord]]:
    """Return the files that may be here under several spellings of one name, each with the others.

    Whose bytes they are comes first. `rows` are all files of some projects.
    """
    found = defaultdict(list)
    for row in rows:
        if _is_here(row):
            found[row.project_id, row.location, fold(row.filename)].append(row)
    return [sorted(each, key=_claim) for each in found.values() if len(each) > 1]


def _claim(row: FileRecord) -> tuple[bool, float, int]:
    """Order the spellings of one name by who has its bytes."""
    return row.withdrawn_at is not None, -(row.withdrawn_at or 0.0), -row.id


def _is_here(file: FileRecord) -> bool:
    state = State(file.state)
    if state in PROVEN or file.withdrawn_at is not None:
        return True
    return state is State.FETCHED and file.proof is not None
