"""Share what workers left in staging, and remove what dead runs left there.

The parts of a worker that is known to be dead go to the common directory, from where other workers
take them (`storage.parts`). Those of other workers of earlier runs are removed: such a worker may
be stopped and wake up, but it has lost its claims.

Two kinds of files are kept, because a run can continue with them: bytes that the catalog calls
fetched, and the beginning of a large transfer, which a note beside it describes. Files that this
user may not write, for example those of root, are useless and removed.
"""

from __future__ import annotations

import os
import re

from pypimirror.catalog import holder
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import Fate
from pypimirror.catalog.queries import files
from pypimirror.catalog.queries.projects import chunks
from pypimirror.catalog.queries.work import requests, workers
from pypimirror.catalog.states import DUE, State
from pypimirror.storage import hard_links, parts
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import storage_errors

_PART, _NOTE = ".part", ".part.json"
_ID = re.compile(r"[1-9][0-9]{0,17}")


def sweep(catalog: Catalog, workspace: Workspace) -> int:
    """Remove unneeded files from staging and return their number.

    Call it with the lock held, while the run has no workers.
    """
    workspace.drop_old_pages()
    collect_dead(catalog, workspace)
    with catalog.read() as connection:
        alive = requests.alive(connection)
    for worker, own in parts.directories(workspace.staging):
        if worker not in alive:  # a request worker goes on beside this run
            with storage_errors(own):
                parts.drop(own)
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
                with storage_errors(path):
                    hard_links.part([path])  # a run writes to it, and it is served later
    return removed


def collect_dead(catalog: Catalog, workspace: Workspace) -> None:
    """Share the parts of workers that are known to be dead. Raises `StorageError`."""
    with storage_errors(workspace.staging):
        found = dict(parts.directories(workspace.staging))
        if not found:
            return
        with catalog.read() as connection:
            holders = workers.holders(connection, found)
        here = holder.this_machine()
        for worker, process in holders.items():
            if process.fate(here) is Fate.DEAD:
                parts.collect(workspace.staging, found[worker])


def _number(name: str) -> int | None:
    """Return the id of the file in the catalog; None if the name has none."""
    number = name.partition(".")[0]
    return int(number) if _ID.fullmatch(number) else None


def _is_needed(name: str, states: dict[int, int], names: set[str]) -> bool:
    """Whether a run can continue with a file in staging."""
    number = _number(name)
    if number is None:
        return False
    state = states.get(number)
    kind = name.removeprefix(str(number))
    if kind == _PART and state == State.FETCHED:
        return True
    whole = {f"{number}{_PART}", f"{number}{_NOTE}"}
    return kind in (_PART, _NOTE) and state in DUE and whole <= names
