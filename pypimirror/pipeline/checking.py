"""At the end of a sync: can what the configuration names be installed from this mirror?

`[select] check` asks for it. What is missing is a failure of the run (`incomplete`): a mirror from
which an application does not install has not done what it is for.

**The rule.** It is checked again when what is checked, or any page, has changed since it was found
complete. So a sync that changes nothing checks nothing, and one after a check that failed, or that
was killed, checks again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pypimirror.catalog.marks import CHECKED
from pypimirror.catalog.queries import marks, pages
from pypimirror.domain.model import Problem, PypimirrorError, Reason, Stage
from pypimirror.pipeline.run import Run

if TYPE_CHECKING:
    from pypimirror.check.outcome import Gap


def check(run: Run) -> None:
    """Check what `[select]` names, where that is asked for and anything has changed."""
    if not run.config.select.check or run.lease is None or run.command != "sync":
        return
    # Imported where somebody asks for it.
    from pypimirror.check import check as checks
    from pypimirror.check.outcome import State

    try:
        asked = checks.of_config(run.config)
        key = _key(run, checks.identity(asked))
        with run.catalog.read() as connection:
            if marks.read(connection, CHECKED) == key:
                return
        where: dict[Gap, list[str]] = {}
        for outcome in checks.check(run.config, asked):
            if outcome.state is State.NOT_CHECKED:
                run.reporter.note("warning", f"{outcome.subject}: {'; '.join(outcome.notes)}")
            for gap in outcome.gaps:
                where.setdefault(gap, []).append(f"{outcome.subject}, {outcome.environment}")
    except PypimirrorError as error:
        message = f"whether this mirror is complete could not be checked: {error}"
        run.ledger.failed(Stage.PUBLISH, [Problem(Reason.CONFIGURATION, message)])
        return
    run.ledger.failed(Stage.PUBLISH, [_problem(gap, places) for gap, places in where.items()])
    if not where:
        with run.catalog.write() as connection:
            marks.write(connection, CHECKED, key)


def _problem(gap: Gap, places: list[str]) -> Problem:
    told = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
    message = f"{gap}. Not complete: {told}. 'pypimirror check' says what would bring it"
    return Problem(Reason.INCOMPLETE, message, project=gap.project)


def _key(run: Run, identity: str) -> str:
    """Return what identifies a check: what is asked, and the pages that it is asked of."""
    with run.catalog.read() as connection:
        held = pages.fingerprint(connection)
    return hashlib.sha256(json.dumps([identity, held]).encode()).hexdigest()
