"""Write decisions on pages into the catalog. They are made in `discover.decisions`."""

from __future__ import annotations

from collections.abc import Mapping

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import doubts, files, withdrawals
from pypimirror.catalog.states import Cause
from pypimirror.pipeline import backoff
from pypimirror.pipeline.discover.decisions.decide import Decision
from pypimirror.pipeline.run import Run


def store(run: Run, connection: Connection, decisions: Mapping[int, Decision]) -> None:
    """Write the decisions, by project id, in a few statements."""
    new = [
        {"project_id": project_id, **row}
        for project_id, decision in decisions.items()
        for row in decision.new
    ]
    files.add(connection, new, run.id)
    files.change(connection, (row for d in decisions.values() for row in d.changed))
    anew = (i for d in decisions.values() for i in d.anew)
    files.change(connection, ({"id": i, **backoff.CLEAN} for i in anew))
    withdrawals.set_gone(connection, [i for d in decisions.values() for i in d.back], None)
    for cause in Cause:
        ids = [i for d in decisions.values() for i in d.gone.get(cause, ())]
        withdrawals.set_gone(connection, ids, cause)
    targets = {target for d in decisions.values() for target in d.moved}
    for target in targets:
        moved = [{"id": i} for d in decisions.values() for i in d.moved.get(target, ())]
        files.move(connection, target, moved, run.id)
    left = (i for d in decisions.values() for i in d.left)
    files.change(connection, ({"id": i, "withdrawn_at": run.now} for i in left))
    doubts.set_refusals(connection, {i: d.refused for i, d in decisions.items()})
    run.ledger.count(
        projects_changed=sum(
            1 for d in decisions.values() if d.new or d.changed or d.moved or d.gone or d.back
        ),
        files_found=sum(d.found for d in decisions.values()),
        files_linked=sum(d.linked for d in decisions.values()),
        files_reused=sum(d.reused for d in decisions.values()),
    )
