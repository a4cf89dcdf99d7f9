"""A worker in a process of its own, which obeys the lines that it reads and answers each.

python -m tests.catalog.claimant CATALOG DIRECTORY RUN
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from pypimirror.catalog import claims
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import projects
from pypimirror.domain.model import ProjectName, PypimirrorError
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace


def main(url: str, directory: str, run_id: str) -> None:
    """Claim, write a project into the catalog, or write a page."""
    storage = PosixStorage(Workspace(Path(directory)))
    with (
        closing(Catalog.open(url)) as catalog,
        claims.hold(catalog, int(run_id), executor="child", name="far") as worker,
    ):
        storage.guard = worker.check
        print("ready", flush=True)
        for line in sys.stdin:
            action, _, value = line.strip().partition(" ")
            try:
                print(obey(worker, catalog, storage, action, value), flush=True)
            except PypimirrorError as error:
                print(type(error).__name__, flush=True)


def obey(
    worker: claims.Worker, catalog: Catalog, storage: PosixStorage, action: str, value: str
) -> str:
    """Do what a line says."""
    match action:
        case "claim":
            return " ".join(map(str, worker.claim(int(value))))
        case "write":
            with catalog.write() as connection:
                projects.ensure(connection, [ProjectName(value)])
        case "page":
            storage.write([(value, [b"page"])])
    return "done"


if __name__ == "__main__":
    main(*sys.argv[1:])
