"""When all work of a run is done: also what workers have in hand, or had when they were lost."""

from __future__ import annotations

from pypimirror.catalog import claims
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import projects, runs
from pypimirror.catalog.queries.work import claims as rows
from pypimirror.domain.model import ProjectName


def is_any_left(catalog: Catalog) -> bool:
    with catalog.read() as connection:
        return rows.is_any_left(connection)


def test_work_is_left_until_every_project_is_done_with(catalog: Catalog) -> None:
    """A project that failed is done with, though it has work for the next run."""
    names = [ProjectName("one"), ProjectName("two")]
    with catalog.write() as connection:
        run_id, _ = runs.start(
            connection, arguments=[], command="sync", trigger="t", config="c", now=1.0
        )
        assert not rows.is_any_left(connection)
        projects.ensure(connection, names)
        projects.to_look(connection, names)
    assert is_any_left(catalog)
    with claims.hold(catalog, run_id, executor="shard", name="1") as lost:
        assert len(lost.claim(2)) == 2
        assert is_any_left(catalog), "they are in hand"
    assert is_any_left(catalog), "they are free again"
    with claims.hold(catalog, run_id, executor="shard", name="2") as worker:
        worker.release(worker.claim(2), {})
        assert not is_any_left(catalog)
