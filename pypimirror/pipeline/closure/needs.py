"""The needed projects of the last round, and whether they may have changed.

Even a run without work needs this module. `pypimirror.pipeline.closure.rounds` computes the closure
and is imported only if there is something to compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from msgspec.structs import replace

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import CLOSED, CLOSURE, RESOLVED
from pypimirror.catalog.queries import marks, projects
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.states import Cause
from pypimirror.config.settings import Config
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline.asked import remembering
from pypimirror.pipeline.run import Run
from pypimirror.select.selection import Selection


def key_of(config: Config, selection: Selection) -> str:
    """Return a digest of all settings that decide which projects are needed."""
    select = config.select
    told = [selection.digest, select.dependencies, select.build_dependencies]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def remembered(connection: Connection, selection: Selection) -> Selection:
    """Return the selection as the catalog has it: as `required`, and with the files that clients
    have asked for.
    """
    return remembering.with_asked(connection, required(connection, selection))


def required(connection: Connection, selection: Selection) -> Selection:
    """Return the selection with the last resolution, which any machine may have made, and the
    needed projects of the last round.
    """
    if selection.config.select.dependencies == "resolved":
        texts = marks.read(connection, RESOLVED)
        if texts is not None and texts != selection.resolved:
            selection = Selection(selection.config, texts)
    if not selection.follows:
        return selection
    return selection.needing(requirements.needed(connection))


def with_needs(run: Run) -> Run:
    """Return a run that knows the currently needed projects and is not limited to fewer."""
    names = run.names
    if names is not None:
        names = tuple(dict.fromkeys((*names, *run.ledger.marked.values())))
    with run.catalog.read() as connection:
        return replace(run, selection=remembered(connection, run.selection), names=names)


def forget(run: Run) -> None:
    """Drop all needed projects, if the configuration no longer asks for dependencies."""
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
    """Whether the closure may differ from the last computed one."""
    if not run.selection.follows:
        return False
    with run.catalog.read() as connection:
        return marks.read(connection, CLOSED) != key_of(run.config, run.selection)


def let_go(
    connection: Connection, selection: Selection, names: Iterable[str], *, guarded: bool
) -> None:
    """Mark the projects in `names` as removed that the selection does not want."""
    selection = remembering.with_asked(connection, selection)  # clients may have asked since
    unwanted = [name for name in names if not selection.project(ProjectName(name))]
    for chunk in projects.chunks(unwanted):
        ids = [
            row.id
            for row in projects.by_name(connection, chunk)
            if row.removal_cause != Cause.SELECTION
        ]
        projects.set_gone(connection, ids, Cause.CLAIMS if guarded else Cause.SELECTION)
        # The guard looks at files. The project itself leaves because of the configuration.
        projects.change(connection, [{"id": i, "removal_cause": Cause.SELECTION} for i in ids])
