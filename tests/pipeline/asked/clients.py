"""What clients leave in the catalog: files that they have asked for, and workers that fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pypimirror.catalog import claims
from pypimirror.catalog.claims import Worker
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import projects
from pypimirror.catalog.queries.work import asked, requests
from pypimirror.catalog.states import REQUEST
from pypimirror.domain.model import ProjectName
from pypimirror.system import clock
from tests.mirror import Mirror
from tests.simulator import IndexFile


def ask(mirror: Mirror, *files: IndexFile, at: float | None = None) -> None:
    """Ask for files, at a time. The next run decides on their projects again."""
    (mirror.root / ".pypimirror").mkdir(parents=True, exist_ok=True)
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
        for file in files:
            pair = (file.project.normalized, file.filename)
            asked.ask(connection, pair, 0, clock.now() if at is None else at, len(file.content))
            asked.done(connection, [pair], 0)
        names = {ProjectName(file.project.normalized) for file in files}
        list(projects.decide_again(connection, sorted(names)))


@contextmanager
def fetcher(mirror: Mirror) -> Iterator[Worker]:
    """A worker for requests, beside any run."""
    with closing(Catalog.open(mirror.catalog_url)) as catalog:
        with catalog.write() as connection:
            run, _ = requests.of_day(connection, "c", clock.now())
        with claims.hold(catalog, run, executor=REQUEST, name="1") as worker:
            yield worker


def give_back(mirror: Mirror, worker: Worker) -> None:
    """Give back what a worker has claimed, in a transaction of its own."""
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
        worker.drop(connection, 1, {})


SIX, ATTRS = ProjectName("six"), ProjectName("attrs")
