"""Discover: apply a changed `[verify] accept` to files that are on pages.

Files whose proof is now too weak move from published or verified to fetched, once after each change
of the setting. After that they are like any other fetched file: the verify stage refuses them, and
the same sync renders their pages without them. Their bytes stay in place, so another change of the
setting brings them back without a download.
"""

from __future__ import annotations

from pypimirror.catalog.marks import ACCEPT
from pypimirror.catalog.queries import files, marks, projects
from pypimirror.catalog.states import State
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.run import Run
from pypimirror.verify import proof


def apply(run: Run) -> None:
    """Take back the files whose proof is weaker than required, if the setting has changed."""
    accept = run.config.verify.accept
    with run.catalog.read() as connection:
        if marks.read(connection, ACCEPT) == accept:
            return
    last, found = 0, 0
    while True:
        with run.catalog.write() as connection:
            rows = files.weaker(connection, proof.weakest(accept), last)
            if not rows:
                marks.write(connection, ACCEPT, accept)
                break
            files.move(connection, State.FETCHED, [{"id": file_id} for file_id, _ in rows], run.id)
            projects.touch(connection, {project_id for _, project_id in rows})
        last, _ = rows[-1]
        found += len(rows)
    if found:
        text = f"{number_of(found, 'file')} with a weaker proof than [verify] accept now requires"
        run.reporter.note("warning", f"{text}: gone from the pages")
