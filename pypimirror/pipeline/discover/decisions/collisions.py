"""Names that are equal on some file systems: which file gets the place. No I/O.

macOS, SMB and others treat names as equal if they differ only by case or Unicode form. A mirror
root may move to such a file system. So a mirror holds the bytes of at most one of these names in a
project (`filenames.fold`). The rules look at all files of the project in the catalog, also at
withdrawn ones:

* The file whose bytes are here keeps the place until its bytes are removed. If the upstream no
  longer offers it, that is after the grace period. Until then another spelling is refused and never
  fetched.
* When its bytes are removed, the refusals of that project are decided again.

A file that is only linked at the upstream takes no place here. If one page has two spellings, the
first is taken (`upstream.collecting`), and these rules decide whether it may be mirrored.

A mirror made by an older version may hold two spellings, and may have moved. Code that removes
bytes under one name therefore asks here for the other names of the same bytes:

* If the directory lists the spellings separately, they are separate files. Nothing else is checked.
* Otherwise the bytes belong to the spelling that is offered; if all are withdrawn, to the one
  withdrawn last. The catalog forgets the others, and no bytes are removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.filenames import fold, printable

#: A directory below the mirror root, None for the project's own; and a folded name.
FoldedPlace = tuple[str | None, str]


def places(held: Mapping[str, FileRecord]) -> dict[FoldedPlace, str]:
    """Return the name of the file whose bytes may be at each place."""
    here = ((name, file) for name, file in held.items() if _is_here(file))
    return {(file.location, fold(name)): name for name, file in here}


def taken(
    name: str, location: str | None, old: FileRecord | None, places: Mapping[FoldedPlace, str]
) -> str | None:
    """Return why a file cannot have its place, as a clause about the file; None if it can."""
    other = places.get((location, fold(name)), name) if places else name
    if other == name or (old is not None and _is_here(old)):
        return None
    return (
        f"its name differs from {printable(other)} only by case or Unicode form, and the bytes of "
        "that file are here; it is checked again when they are removed"
    )


def families(rows: Iterable[FileRecord]) -> list[list[FileRecord]]:
    """Return groups of files that share a folded name and may all have bytes here.

    The first of each group owns the bytes. `rows` are all files of some projects.
    """
    found = defaultdict(list)
    for row in rows:
        if _is_here(row):
            found[row.project_id, row.location, fold(row.filename)].append(row)
    return [sorted(each, key=_claim) for each in found.values() if len(each) > 1]


def _claim(row: FileRecord) -> tuple[bool, float, int]:
    """Sort key for the spellings of one name: the owner of the bytes comes first."""
    return row.withdrawn_at is not None, -(row.withdrawn_at or 0.0), -row.id


def _is_here(file: FileRecord) -> bool:
    """Whether the bytes of a file may be in place."""
    state = State(file.state)
    if state in PROVEN or file.withdrawn_at is not None:
        return True
    return state is State.FETCHED and file.proof is not None
