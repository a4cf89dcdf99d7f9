"""When a sync leaves an idle snapshot for the next one, and how long the snapshot holds.

All of these rules must be met:

* It was a sync of the whole mirror, and all of its projects come from the upstreams' lists. It
  completed, nothing failed, and quarantine is empty.
* Every list answered "not modified" to the request that the next run will send.
* No project had work left. No page was written, nothing was withdrawn, and no page waits to be
  rendered again.
* The configuration has no file to write in every run (`[publish] changes`, `[metrics] textfile`).
  It is one file that names no others.

The snapshot holds until time alone makes something due: a file's next try, a selection by age, the
end of a grace period, the rolling re-check, the deletion of old runs, the row of a new day. Each of
these rules has its own module, which is asked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import AT_REST
from pypimirror.catalog.queries import deadlines, idle_snapshot, marks
from pypimirror.catalog.queries.idle_snapshot import IdleSnapshot
from pypimirror.pipeline import history
from pypimirror.pipeline.discover.lists import lists
from pypimirror.pipeline.publish import outdated

if TYPE_CHECKING:
    from pypimirror.config.settings import Config
    from pypimirror.pipeline.run import Run


def note(run: Run, connection: Connection) -> None:
    """Write the idle snapshot of a completed run into the catalog, if the rules allow one."""
    if not outdated.are_all_current(connection):
        return
    statement = _statement(run, connection)
    if statement is not None and statement.until > run.now:
        marks.write(connection, AT_REST, idle_snapshot.encode(statement))


def _statement(run: Run, connection: Connection) -> IdleSnapshot | None:
    upstreams = {upstream.name: upstream for upstream in run.config.upstream}
    if not run.ledger.idle or run.command != "sync":
        return None
    if run.names is not None or run.retry is not None:
        return None
    if run.ledger.counts["pages_written"] or run.ledger.counts["files_withdrawn"]:
        return None
    if upstreams.keys() != run.cache.unchanged.keys() or not _is_whole(run.config):
        return None
    if any(run.workspace.quarantine.iterdir()):
        return None
    until = [
        *lists.next_rechecks(run, connection),
        deadlines.next_choice(connection),
        deadlines.next_wake(connection),
        _plus(deadlines.first_withdrawn(connection), run.config.delete.grace.total_seconds()),
        history.next_to_forget(run, connection),
        history.next_day(run),
    ]
    return IdleSnapshot(
        key=run.config.key,
        run=run.id,
        since=run.now,
        until=min((time for time in until if time is not None), default=run.now),
        last_run=run.id + history.spare(run, connection),
        asked=list(run.cache.unchanged.values()),
        timeout=run.config.download.timeout,
    )


def _is_whole(config: Config) -> bool:
    """Whether the key of a configuration covers all of it, and no run has to write a file."""
    select = config.select
    entries = [*select.projects, *select.exclude, *select.metadata_only]
    entries += [entry for rule in select.rules for entry in rule.projects]
    entries += [entry for upstream in config.upstream for entry in upstream.reserved]
    return (
        bool(config.key)
        and config.publish.changes is None
        and config.metrics.textfile is None
        and not any(entry.strip().startswith(("@", "-")) for entry in entries)
        and not (select.locks or select.dependencies == "resolved")
        and not any(upstream.authorization or upstream.login for upstream in config.upstream)
    )


def _plus(time: float | None, seconds: float) -> float | None:
    return None if time is None else time + seconds
