"""Clearing what dead runs left in staging.

Kept is what a run can go on with: bytes that the catalog says were fetched, and the beginning of
a large transfer, which the download worker describes in a note beside it. What another user left,
such as root, and this one may not write, is of no use to anybody.
"""

from __future__ import annotations

import os
import re

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import files
from pypimirror.catalog.queries.projects import chunks
from pypimirror.catalog.states import DUE, State
from pypimirror.storage import links
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import told

_PART, _NOTE = ".part", ".part.json"
_ID = re.compile(r"[1-9][0-9]{0,17}")


def sweep(catalog: Catalog, workspace: Workspace) -> int:
    """Remove from staging what nobody needs; return how many files. Needs the lock."""
    names = set(workspace.staged_names())
    removed = 0
    for chunk in chunks(names):
        ids = [number for name in chunk if (number := _number(name)) is not None]
        with catalog.read() as connection:
            states = files.states_of(connection, ids)
        for name in chunk:
            path = workspace.staging / name
            if not (_is_needed(name, states, names) and os.access(path, os.R_OK | os.W_OK)):
                workspace.unstage(name)
                removed += 1
            elif regular.is_here(str(path)):
                with told(path):
                    links.part([path])  # it is written to, and served one day
    return removed


def _number(name: str) -> int | None:
    """Return the id of the file that this belongs to; anything may have strayed in here."""
    number = name.partition(".")[0]
    return int(number) if _ID.fullmatch(number) else None


def _is_needed(name: str, states: dict[int, int], names: set[str]) -> bool:
    number = _number(name)
    if number is None:
        return False
    state = states.get(number)
    kind = name.removeprefix(str(number))
    if kind == _PART and state == State.FETCHED:
        return True
    whole = {f"{number}{_PART}", f"{number}{_NOTE}"}
    return kind in (_PART, _NOTE) and state in DUE and whole <= names
