"""Check that the files that a page will link to exist. Files are not read.

No page is written that links to a missing file, whatever the catalog says. The catalog or the
mirror root may have been restored, or another catalog may have worked on the same directory. The
check runs before a batch is worked on, so that lost files are fetched in the same run. It runs
again when a page is rendered, and the page leaves lost files out. Files that the same batch has
just placed are checked, too: a bad disk may have truncated them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from pypimirror.catalog import damage
from pypimirror.catalog.queries import files
from pypimirror.catalog.records import FileRecord, ProjectFile, ProjectRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import missing
from pypimirror.pipeline.verify.missing import Wrong
from pypimirror.storage import many

F = TypeVar("F", bound=FileRecord)


def take_back(run: Run, rows: Iterable[ProjectFile]) -> bool:
    """Mark the missing ones of these files to be fetched again. Return whether there are some."""
    wrong = absent(run, [(row, row.project) for row in rows if row.state != State.WITHDRAWN])
    if wrong:
        missing.note(run, wrong)
        tell(run, wrong)
    return bool(wrong)


def absent(run: Run, held: Iterable[tuple[F, str]]) -> list[tuple[F, Problem]]:
    """Return the files that are missing though the catalog has them, with their problems.

    Each file comes with the name of its project. The storage is asked for many of them at once.
    Raises `CatalogError` if a row is damaged: then the file must not count as lost.
    """
    held = [(row, project) for row, project in held if _should_be_here(row)]
    asked = {key: None for row, project in held for key in _keys(row, project)}
    sizes = dict(zip(asked, many.ask(run.storage, run.storage.size, list(asked)), strict=True))
    found = ((row, _lacking(row, project, sizes)) for row, project in held)
    wrong = [(row, problem) for row, problem in found if problem is not None]
    damage.check("files", [row for row, _ in wrong], run.catalog.shown)
    return wrong


def _should_be_here(row: FileRecord) -> bool:
    return row.state == State.WITHDRAWN or bool(row.state in PROVEN and not row.linked)


def _keys(row: FileRecord, project: str) -> Iterator[str]:
    """Yield the key of a file, and the keys of its sidecars."""
    key = file_path(project, row.filename, row.location)
    yield key
    if row.metadata_sha256:
        yield key + METADATA_SUFFIX
    if row.provenance_sha256:
        yield key + PROVENANCE_SUFFIX


def _lacking(row: FileRecord, project: str, sizes: Mapping[str, int | None]) -> Problem | None:
    """Return the problem of a file that is missing, in part or whole. `sizes` are by key."""
    relative = file_path(project, row.filename, row.location)
    size = sizes[relative]
    if size is None:
        return _problem(row, project, Reason.LOST, "is missing on disk")
    if size != row.size and row.state != State.WITHDRAWN:
        text = f"has {size} bytes on disk instead of {row.size}"
        return _problem(row, project, Reason.LOST, text)
    if row.metadata_sha256 and sizes[relative + METADATA_SUFFIX] is None:
        return _problem(row, project, Reason.METADATA_MISMATCH, "its core metadata is missing")
    if row.provenance_sha256 and sizes[relative + PROVENANCE_SUFFIX] is None:
        return _problem(row, project, Reason.PROVENANCE_MISMATCH, "its attestations are missing")
    return None


def tell(run: Run, wrong: Iterable[Wrong]) -> None:
    """Warn about lost files. They are fetched again; if that fails, the run reports a failure."""
    for _, problem in wrong:
        run.reporter.note("warning", f"{problem.message}; it is fetched again")


def without_absent(
    run: Run, rows: Sequence[ProjectRecord], held: dict[int, list[FileRecord]]
) -> dict[int, list[FileRecord]]:
    """Return the files for the pages without those that are missing, and note these.

    `rows` are the projects, and `held` has their files by project id.
    """
    wrong = absent(run, [(file, row.name) for row in rows for file in held[row.id]])
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
