"""Files that an upstream gives another digest: so many as the deletion guard would let go, no more.

Such a file leaves its page before the new bytes are here, and these may never come: that is a loss
by the upstream's doing, and promise 10 holds for it. The rule: what a run has replaced so far and
what a group of pages would replace count together, by the limits of `[delete]`. Where that is too
much, nothing of the group is replaced: the mirror keeps what it verified, and each file is told.
As with deletions, one project alone never trips the share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import totals
from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.model import Claim, ProjectPage
from pypimirror.pipeline.discover.decisions.decide import ConflictError, Terms, pool
from pypimirror.pipeline.discover.decisions.held import contradiction
from pypimirror.pipeline.run import Run


def number(
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    pooled: Mapping[str, Sequence[Claim]],
    terms: Terms,
) -> int:
    """Return how many files on its page a project would lose by digests that are others."""
    found = 0
    for file in page.files:
        old = held.get(file.filename)
        if old is None or old.proof is None or not terms.replaces(old):
            continue
        if State(old.state) not in PROVEN:
            continue
        try:
            digests, _ = pool(file, pooled.get(file.filename, ()), terms)
        except ConflictError:  # refused
            continue
        found += contradiction(digests, old, file.size) is not None
    return found


def is_allowed(run: Run, connection: Connection, losses: Iterable[tuple[str, int]]) -> bool:
    """Whether so many files of these projects may be replaced; then they count from now on.

    Call in the transaction that replaces them: others wait for it with theirs.
    """
    new = {name: lost for name, lost in losses if lost}
    if not new:
        return True
    replaced = run.discovered.replaced
    together = replaced | {name: replaced.get(name, 0) + new[name] for name in new}
    lost, limits, on_pages = sum(together.values()), run.config.delete, totals.held(connection)
    by_share = lost > limits.max_share * (on_pages.files + on_pages.linked) and len(together) > 1
    if lost > limits.max_count or by_share:
        return False
    replaced.update(together)
    return True
