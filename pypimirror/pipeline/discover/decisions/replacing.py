"""Files whose digest the upstream changed: how many may be replaced at once.

Such a file leaves its page before the new bytes are here, and these may never come. That is a loss
by the upstream's doing, so promise 10 holds for it. The rule: the files that a run has replaced and
those that a group of pages would replace are counted together, against the limits of `[delete]`. If
they are too many, nothing of the group is replaced: the mirror keeps the files that it verified and
reports each one. As with deletions, one project alone never exceeds the share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import REPLACED, Replaced
from pypimirror.catalog.queries import marks, totals
from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.model import Claim, ProjectPage
from pypimirror.pipeline.discover.decisions.comparing import contradiction
from pypimirror.pipeline.discover.decisions.merging import ConflictError, Terms, merge
from pypimirror.pipeline.run import Run


def number(
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    claims: Mapping[str, Sequence[Claim]],
    terms: Terms,
) -> int:
    """Return how many files on its page the project would lose because of changed digests."""
    found = 0
    for file in page.files:
        old = held.get(file.filename)
        if old is None or old.proof is None or not terms.replaces(old):
            continue
        if State(old.state) not in PROVEN:
            continue
        try:
            digests, _ = merge(file, claims.get(file.filename, ()), terms)
        except ConflictError:  # refused
            continue
        found += contradiction(digests, old, file.size) is not None
    return found


def is_allowed(run: Run, connection: Connection, losses: Iterable[tuple[str, int]]) -> bool:
    """Whether these losses, by project, may happen. If so, count them in the run.

    Call it in the transaction that replaces the files, so that parallel batches wait for each
    other.
    """
    new = [lost for _, lost in losses if lost]
    if not new:
        return True
    before = marks.read(connection, REPLACED)
    if before is None or before.run != run.id:
        before = Replaced(run.id)
    together = Replaced(run.id, before.projects + len(new), before.files + sum(new))
    limits, on_pages = run.config.delete, totals.held(connection)
    share = limits.max_share * (on_pages.files + on_pages.linked)
    by_share = together.files > share and together.projects > 1
    if together.files > limits.max_count or by_share:
        return False
    marks.write(connection, REPLACED, together)
    return True
