"""What is needed by what is selected, as the last round has found it; and whether that may change.

What a run needs that finds nothing to do. The computing is in `pypimirror.pipeline.closure.rounds`,
which is imported where there is something to compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import CLOSED, CLOSURE
from pypimirror.catalog.queries import marks, projects
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.states import Cause
from pypimirror.config.settings import Config
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline.run import Run
from pypimirror.select.selection import Selection


def key_of(config: Config, selection: Selection) -> str:
    """Return what identifies all of the configuration that decides on what is needed."""
    select = config.select
    told = [selection.digest, select.dependencies, select.build_dependencies]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def remembered(connection: Connection, selection: Selection) -> Selection:
    """Return a selection with what is needed besides, as the last round has found it."""
    if not selection.follows:
        return selection
    return selection.needing(requirements.needed(connection))


def with_needs(run: Run) -> Run:
    """Return a run that knows what is needed now, and is not limited to less."""
    names = run.names
    if names is not None:
        names = tuple(dict.fromkeys((*names, *run.ledger.marked.values())))
    with run.catalog.read() as connection:
        return replace(run, selection=remembered(connection, run.selection), names=names)


def forget(run: Run) -> None:
    """Let go of all that was needed, where the configuration asks for no dependencies any more."""
    if run.selection.follows:
        return
    with run.catalog.read() as connection:
        needed = requirements.needed(connection)
        if not needed and not marks.is_set(connection, CLOSURE):
            return
    with run.catalog.write() as connection:
        let_go(connection, run.selection, needed, guarded=False)
        requirements.set_needed(connection, {}, needed)
        marks.clear(connection, CLOSED)
        marks.clear(connection, CLOSURE)


def is_due(run: Run) -> bool:
    """Whether the closure may be another than the one that was computed last."""
    if not run.selection.follows:
        return False
    with run.catalog.read() as connection:
        return marks.read(connection, CLOSED) != key_of(run.config, run.selection)


def let_go(
    connection: Connection, selection: Selection, names: Iterable[str], *, guarded: bool
) -> None:
    """Mark those of these projects as gone that the selection does not want."""
    unwanted = [name for name in names if not selection.project(ProjectName(name))]
    for chunk in projects.chunks(unwanted):
        ids = [
            row.id
            for row in projects.by_name(connection, chunk)
            if row.removal_cause != Cause.SELECTION
        ]
        projects.set_gone(connection, ids, Cause.CLAIMS if guarded else Cause.SELECTION)
        # The guard looks at files; of the project it is the configuration that wants it no more.
        projects.change(connection, [{"id": i, "removal_cause": Cause.SELECTION} for i in ids])
