"""The end of a run: its state, its failures, and its record in the history.

`pypimirror.pipeline.lifecycle` calls this when the work of a run is done, or an error ended it.
"""

from __future__ import annotations

from pypimirror.catalog.database import Catalog, CatalogError, catalog_errors
from pypimirror.catalog.engines import errors
from pypimirror.catalog.lease import LeaseLostError
from pypimirror.catalog.marks import UNMERGED
from pypimirror.catalog.queries import marks, runs, statistics, totals
from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.pipeline import backlog, history
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import COUNTS, Summary
from pypimirror.system import clock, interrupts
from pypimirror.system.space import remedy
from pypimirror.system.workers import Cancelled, WorkersError

#: If one of these counts of a run is not 0, the statistics of all files have changed.
_MOVING = ("files_verified", "files_withdrawn", "files_found", "files_checked", "files_quarantined")

#: Written pages of runs after which searches become faster by some seconds of work. Smaller runs do
#: not count: SQLite merges what they add by itself.
MANY_PAGES, FEW_PAGES = 50_000, 1_000
#: Most steps of that work: three times as many as an index of a million projects needs.
_MOST_STEPS = 100

#: The reason for each kind of error that ends a run and carries no `Problem`.
_REASONS: dict[type[PypimirrorError], Reason] = {
    ConfigError: Reason.CONFIGURATION,
    CatalogError: Reason.CATALOG,
    WorkersError: Reason.WORKER,
}


def as_problem(
    error: PypimirrorError | errors.SQLAlchemyError | OSError, catalog: Catalog
) -> Problem:
    """Return the problem that describes an error."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Problem(Reason.DISK, f"{where}{error.strerror or error}. {remedy(error)}")
    if not isinstance(error, PypimirrorError):
        return Problem(Reason.CATALOG, f"catalog {catalog.shown}: {errors.message(error)}")
    if (problem := getattr(error, "problem", None)) is not None:
        return problem  # type: ignore[no-any-return]
    causes = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return Problem(next(causes, Reason.INTERNAL), str(error))


def ended_by(run: Run, error: BaseException) -> tuple[str, str]:
    """Record the error that ended a run. Return the state and the message of the run."""
    lost = run.lease.lost if run.lease is not None else None
    if lost is not None:
        # The run lost its lease. It may only write its own record, which no other run touches.
        run.catalog.guard = lambda: None
        run.catalog.give_up()
        error = lost
    if isinstance(error, KeyboardInterrupt | Cancelled):
        return runs.CANCELLED, "cancelled"
    assert isinstance(error, PypimirrorError | OSError | errors.SQLAlchemyError)
    problem = as_problem(error, run.catalog)
    with catalog_errors(run.catalog):  # the catalog may be on the same full disk
        run.ledger.failed(run.ledger.stage, [problem])
    return runs.FAILED, problem.message


def close(run: Run, state: str, message: str) -> Summary:
    """Close the record of a run, and do what follows. Return its summary.

    The record is closed even if the lease is lost meanwhile.
    """
    try:
        summary = _close_record(run, state, message)
    except LeaseLostError as error:
        summary = _close_record(run, *ended_by(run, error))
    _forget_old_runs(run, summary.state)
    _merge_words(run, summary.state)
    _write_metrics(run)
    return summary


def _close_record(run: Run, state: str, message: str) -> Summary:
    """Close the record of a run and return its summary."""
    with catalog_errors(run.catalog), run.catalog.write() as connection:
        backlog.record(run, connection)
        rows = runs.failures_of(connection, run.id)
        failed = [
            (Problem(Reason(r.reason), r.message, r.project, r.file, r.url, r.attempts), r.stage)
            for r in rows
        ]
        denied = backlog.denied(run, connection, [problem for problem, _ in failed])
        apart = set(denied)
        failures = [(problem, stage) for problem, stage in failed if problem not in apart]
        if state == runs.COMPLETED and failures:
            state = runs.INCOMPLETE
        counts = {key: run.ledger.counts[key] for key in COUNTS[run.command]}
        counts["files_failed"] = len({(p.project, p.file) for p, _ in failures if p.file})
        counts["files_denied"] = len({(p.project, p.file) for p in denied})
        last = statistics.last(connection)
        moved = any(run.ledger.counts[name] for name in _MOVING)
        # With millions of files, counting takes seconds. Do it only where nobody waits for it.
        if state in (runs.COMPLETED, runs.INCOMPLETE) and (
            last is None or (moved and (run.command == "verify" or last.is_old(run.now)))
        ):
            statistics.keep(connection, statistics.take(connection, run.now))
        age = history.age(connection)
        runs.end(connection, run.id, state, message, counts, had_work=not run.ledger.idle)
        history.note_day(run, connection, age, (problem for problem, _ in failures))
        held = totals.held(connection)
    seconds = clock.steady() - run.began
    problems, stages = [problem for problem, _ in failures], [stage for _, stage in failures]
    return Summary(run.name, state, counts, seconds, problems, stages, message, denied, held)


def _forget_old_runs(run: Run, state: str) -> None:
    """Delete old runs from the history. A failure is only a warning."""
    if state in (runs.COMPLETED, runs.INCOMPLETE):
        try:
            history.prune(run)
        except (errors.SQLAlchemyError, LeaseLostError) as error:
            run.reporter.note("warning", f"old runs stay in the history: {error}")


def _merge_words(run: Run, state: str) -> None:
    """Make searches faster after runs that wrote very many pages. A failure is only a warning."""
    written = run.ledger.counts["pages_written"]
    if state not in (runs.COMPLETED, runs.INCOMPLETE) or written < FEW_PAGES:
        return
    from pypimirror.catalog.queries.browsing import search

    try:
        with run.catalog.write() as connection:
            written += marks.read(connection, UNMERGED) or 0
            marks.write(connection, UNMERGED, written)
        if written < MANY_PAGES:
            return
        for step in range(_MOST_STEPS):  # others that write come in between
            with run.catalog.write() as connection:
                more = search.merge(connection, first=step == 0)
            if not more:
                break
            if interrupts.is_heard():
                return
        with run.catalog.write() as connection:
            marks.write(connection, UNMERGED, 0)
    except (errors.SQLAlchemyError, LeaseLostError) as error:
        run.reporter.note("warning", f"searches stay slower than they could be: {error}")


def _write_metrics(run: Run) -> None:
    """Write the metrics file if one is configured. A failure is only a warning."""
    if run.config.metrics.textfile is not None:
        from pypimirror.metrics.exposition import write_textfile

        try:
            write_textfile(run.config, run.config.metrics.textfile)
        except (PypimirrorError, OSError) as error:
            run.reporter.note("warning", f"no metrics were written: {error}")
