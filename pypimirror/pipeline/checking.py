"""At the end of a sync: check that the configured projects can be installed from this mirror.

`[select] check` asks for it. A gap is a failure of the run (`incomplete`): a mirror from which an
application cannot be installed does not serve its purpose.

**The rule.** The check is repeated if its subjects or any page have changed since it last found
everything complete. So a sync without changes checks nothing. A sync after a failed or killed check
checks again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pypimirror.catalog.marks import CHECKED
from pypimirror.catalog.queries import marks, pages
from pypimirror.domain.filenames import printable
from pypimirror.domain.model import Problem, PypimirrorError, Reason, Stage
from pypimirror.pipeline import gate
from pypimirror.pipeline.run import Run

if TYPE_CHECKING:
    from pypimirror.check.outcome import Gap


def check(run: Run) -> None:
    """Check the projects of `[select] check`, if it is set and anything has changed."""
    if not run.config.select.check or run.lease is None or run.command != "sync":
        return
    # Imported only if the check is needed.
    from pypimirror.check import check as checks
    from pypimirror.check.outcome import CheckState

    where: dict[Gap, list[str]] = {}
    failed: PypimirrorError | None = None
    try:
        asked = checks.of_config(run.config)
        key = _key(run, checks.identity(asked))
        with run.catalog.read() as connection:
            if marks.read(connection, CHECKED) == key:
                return
    except PypimirrorError as error:
        _not_checked(run, error)
        return
    with gate.open_to_requests(run):  # it only reads what is served
        try:
            for outcome in checks.check(run.config, asked):
                if outcome.state is CheckState.NOT_CHECKED:
                    run.reporter.note("warning", f"{outcome.subject}: {'; '.join(outcome.notes)}")
                for gap in outcome.gaps:
                    where.setdefault(gap, []).append(
                        f"{printable(outcome.subject)}, {outcome.environment}"
                    )
        except PypimirrorError as error:  # inside, so that the gate is closed in any case
            failed = error
    if failed is not None:
        _not_checked(run, failed)
        return
    run.ledger.failed(Stage.PUBLISH, [_problem(gap, places) for gap, places in where.items()])
    if not where:
        with run.catalog.write() as connection:
            marks.write(connection, CHECKED, key)


def _not_checked(run: Run, error: PypimirrorError) -> None:
    message = f"whether this mirror is complete could not be checked: {error}"
    run.ledger.failed(Stage.PUBLISH, [Problem(Reason.CONFIGURATION, message)])


def _problem(gap: Gap, places: list[str]) -> Problem:
    subject = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
    message = f"{gap}. Not complete: {subject}. 'pypimirror check' says how to get it"
    return Problem(Reason.INCOMPLETE, message, project=gap.project)


def _key(run: Run, identity: str) -> str:
    """Return a digest of the subjects of the check and of the pages."""
    with run.catalog.read() as connection:
        held = pages.fingerprint(connection)
    return hashlib.sha256(json.dumps([identity, held]).encode()).hexdigest()
