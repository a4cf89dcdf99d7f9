"""Clearing what dead runs left in staging.

Kept is what a run can go on with: bytes that the catalog says were fetched, and the beginning of
a large transfer, which the download worker describes in a note beside it.
"""

from __future__ import annotations

from pathlib import Path

from pypimirror.catalog import files
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.projects import chunks
from pypimirror.catalog.states import DUE, State
from pypimirror.tree import Tree

_PART, _NOTE = ".part", ".part.json"


def sweep(catalog: Catalog, tree: Tree) -> int:
    """Remove from staging what nobody needs; return how many files. Needs the lock."""
    removed = 0
    for chunk in chunks(tree.staging.iterdir()):
        names = {path.name for path in chunk}
        ids = [int(number) for path in chunk if (number := path.name.split(".")[0]).isdigit()]
        with catalog.read() as connection:
            states = files.states_of(connection, ids)
        for path in chunk:
            if not _is_needed(path, states, names):
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _is_needed(path: Path, states: dict[int, int], names: set[str]) -> bool:
    number, _, kind = path.name.partition(".")
    state = states.get(int(number)) if number.isdigit() else None
    kind = f".{kind}"
    if kind == _PART and state == State.FETCHED:
        return True
    whole = {f"{number}{_PART}", f"{number}{_NOTE}"}
    return kind in (_PART, _NOTE) and state in DUE and whole <= names
