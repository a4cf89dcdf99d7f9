"""Removing what is served, where one path that cannot be removed stops no other (promise 7).

Whoever removes hears whether all is gone: what is not must stay in the catalog, and whatever it
names must stay on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from pypimirror.domain.model import Stage
from pypimirror.pipeline.run import Run
from pypimirror.system.disk_errors import StorageError


def remove(run: Run, stage: Stage, paths: Iterable[str], project: str = "", file: str = "") -> bool:
    """Remove files that are of one project or file, and tell what cannot be; whether all is gone.

    Raises `StorageError` where no other could be removed either.
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
    """Tell what goes wrong with one path as the failure of one project or file, and go on."""
    try:
        yield
    except StorageError as error:
        _tell(run, stage, error, project, file)


def _tell(run: Run, stage: Stage, error: StorageError, project: str, file: str) -> None:
    if not error.is_of_path:
        raise error
    problem = msgspec.structs.replace(error.problem, project=project, file=file)
    run.ledger.failed(stage, [problem])
