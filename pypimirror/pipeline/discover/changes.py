"""Find the projects that may have changed: the first step of discover, for the whole mirror.

Most runs find none, so this module imports nothing that reads pages. `discover.discover` does.
"""

from __future__ import annotations

from pypimirror.catalog.queries import projects
from pypimirror.domain.model import Stage
from pypimirror.pipeline import backlog, retry
from pypimirror.pipeline.discover import proof_policy
from pypimirror.pipeline.discover.decisions import keep
from pypimirror.pipeline.discover.lists import lists, trust
from pypimirror.pipeline.run import Run


def look_for_changes(run: Run) -> None:
    """Mark the projects whose pages must be fetched.

    The command names them, the upstreams' lists show a change, or they are due by time.
    """
    run.ledger.begin(Stage.DISCOVER, None)
    trust.look_again(run)
    keep.follow(run)
    if run.retry is not None and not run.retry.whole:
        retry.mark(run, run.retry)
        return
    proof_policy.apply(run)
    if run.names is None:
        backlog.wake(run)
        lists.drop_deselected(run)
    if run.names is None and run.selection.needs_list:
        lists.compare(run)
        lists.mark_for_recheck(run)
    names = run.names if run.names is not None else run.selection.named
    if run.names is None and not run.selection.needs_list:
        names = (*names, *run.selection.besides)
    with run.catalog.write() as connection:
        projects.ensure(connection, names)
        projects.to_look(connection, names)
        projects.choose_again(connection, run.now)
        projects.ask_again(connection)
    if run.names is not None or not run.selection.needs_list:
        run.ledger.count(projects_seen=len(names))
