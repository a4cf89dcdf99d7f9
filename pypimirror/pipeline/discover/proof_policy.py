"""Discover, the part on `[verify] accept`: what was good enough for a page and is not any more.

published, verified → fetched, once after each change of the setting. From there on the stages do
what they do with any file: the verify stage refuses it, its page is rendered without it in the
same sync, and its bytes stay where they are, so that another change brings it back without a
download.
"""

from __future__ import annotations

from pypimirror.catalog.marks import ACCEPT
from pypimirror.catalog.queries import files, marks, projects
from pypimirror.catalog.states import State
from pypimirror.pipeline.run import Run
from pypimirror.verify import proof


def apply(run: Run) -> None:
    """Take back what is less well proven than the configuration asks for, if that has changed."""
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
        text = f"{found} files are less well proven than [verify] accept now asks for"
        run.reporter.note("warning", f"{text}; they leave their pages")
