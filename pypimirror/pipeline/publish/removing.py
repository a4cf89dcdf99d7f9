"""Remove served files so that one failing path does not stop the others (promise 7).

The caller learns whether everything was removed. What remains must stay in the catalog, and the
files that it links to must stay on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from pypimirror.domain.model import Stage
from pypimirror.pipeline.run import Run
from pypimirror.system.disk_errors import StorageError


def remove(run: Run, stage: Stage, paths: Iterable[str], project: str = "", file: str = "") -> bool:
    """Remove files of one project or file and report failures. Return whether all are removed.

    Raises `StorageError` if the whole disk fails, not only one path.
    """
    done = True
    for path in paths:
        try:
            run.storage.remove(path)
        except StorageError as error:
            done = False
            _tell(run, stage, error, project, file)
    return done


@contextmanager
def going_on(run: Run, stage: Stage, project: str = "", file: str = "") -> Iterator[None]:
    """Report an error of one path as the failure of a project or file, and go on."""
    try:
        yield
    except StorageError as error:
        _tell(run, stage, error, project, file)


def _tell(run: Run, stage: Stage, error: StorageError, project: str, file: str) -> None:
    """Report the failure of one path. Raises the error if it concerns the whole disk."""
    if not error.is_of_path:
        raise error
    problem = msgspec.structs.replace(error.problem, project=project, file=file)
    run.ledger.failed(stage, [problem])
