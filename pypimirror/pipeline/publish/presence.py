"""Is what a page is about to name there now? A look at each file, which reads none.

No page is written that names a file which is not there, whatever the catalog says: it, or the
mirror root, may have been put back, or another catalog may have worked on the same directory. It is
asked where a project is about to be worked on, so that what is lost is fetched in that very run;
and once more where its page is rendered, which goes without what is lost then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from pypimirror.catalog import damage, schema
from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import missing
from pypimirror.pipeline.verify.missing import Wrong

F = TypeVar("F", bound=FileRecord)


def take_back(run: Run, ids: Sequence[int]) -> None:
    """Have fetched again what should be here of these projects and is not."""
    with run.catalog.read() as connection:
        names = {row.id: row.name for row in projects.get(connection, ids)}
        rows = list(files.listed(connection, ids))
    wrong = [each for row in rows for each in absent(run, row, names[row.project_id])]
    if wrong:
        missing.note(run, wrong)
        tell(run, wrong)


def absent(run: Run, row: F, project: str) -> Iterator[tuple[F, Problem]]:
    """Yield what the catalog says is here of a file, and what is not, with what to say of it.

    Raises `CatalogError` where what it says is nonsense: no reason to let go of a file.
    """
    problem = _lacking(run, row, project)
    if problem is not None:
        damage.check(schema.files, [row], run.catalog.shown)
        yield row, problem


def _lacking(run: Run, row: FileRecord, project: str) -> Problem | None:
    is_withdrawn = row.state == State.WITHDRAWN
    if not is_withdrawn and (row.linked or row.state not in PROVEN):
        return None
    relative = file_path(project, row.filename, row.location)
    size = run.storage.size(relative)
    if size is None:
        return _problem(row, project, Reason.LOST, "is not where it was put")
    if size != row.size and not is_withdrawn:
        text = f"has {size} bytes where it was put, of {row.size}"
        return _problem(row, project, Reason.LOST, text)
    if row.metadata_sha256 and run.storage.size(relative + METADATA_SUFFIX) is None:
        return _problem(row, project, Reason.METADATA_MISMATCH, "its core metadata is lost")
    if row.provenance_sha256 and run.storage.size(relative + PROVENANCE_SUFFIX) is None:
        return _problem(row, project, Reason.PROVENANCE_MISMATCH, "its attestations are lost")
    return None


def tell(run: Run, wrong: Iterable[Wrong]) -> None:
    """Say what was lost: a warning, since it is fetched again, and a failure where that fails."""
    for _, problem in wrong:
        run.reporter.note("warning", f"{problem.message}; it is fetched again")


def without_absent(
    run: Run, rows: Sequence[ProjectRecord], held: dict[int, list[FileRecord]]
) -> dict[int, list[FileRecord]]:
    """Return what belongs on pages without what is not there; the catalog hears of that.

    `rows` are the projects, `held` has their files.
    """
    wrong = [each for row in rows for file in held[row.id] for each in absent(run, file, row.name)]
    if not wrong:
        return held
    missing.note(run, wrong)
    run.ledger.failed(Stage.PUBLISH, [problem for _, problem in wrong])
    with run.catalog.read() as connection:
        found = [row.id for row in rows]
        left: dict[int, list[FileRecord]] = {number: [] for number in found}
        for file in files.listed(connection, found):
            left[file.project_id].append(file)
    return left


def _problem(row: FileRecord, project: str, reason: Reason, text: str) -> Problem:
    message = f"{project}/{row.filename}: {text}"
    return Problem(reason, message, project, row.filename, row.url)
