"""A run and the requests of clients share a mirror, and never work on one project together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.marks import GENERATION, OPEN
from pypimirror.catalog.queries import marks
from pypimirror.domain.model import ProjectName, Stage
from pypimirror.pipeline import ownership, sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from pypimirror.storage.durability import choose
from pypimirror.storage.opening import opener
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from tests.mirror import Mirror, offer
from tests.pipeline.asked.clients import ATTRS, SIX, fetcher, give_back
from tests.simulator import Simulator


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror of two projects, with on demand."""
    for name in ("six", "attrs"):
        offer(simulator, name, "1.0")
    select = {"projects": ["six", "attrs"]}
    return Mirror(tmp_path, simulator, select=select, on_demand={"projects": ["*"]})


def during(stage: Stage, then: Callable[[Run], object], *, whole: bool) -> Callable[[Run], None]:
    """Return the work of a sync that calls `then` once, before a stage."""
    once = [then]

    def call(run: Run, now: Stage, batch: Batch) -> object:
        if now is stage and bool(batch.projects) is not whole and once:
            once.pop()(run)
        return sequence.perform(run, now, batch)

    return lambda run: sequence.sync(run, call)


def test_without_a_run_a_request_claims_what_it_needs(mirror: Mirror) -> None:
    mirror.sync()
    with fetcher(mirror) as worker:
        found = worker.claim_these([SIX, ATTRS], 1)
        assert sorted(found.values()) == ["attrs", "six"]
        assert worker.claim_these([SIX], 2) == {}  # it has it already
        give_back(mirror, worker)
        assert list(worker.claim_these([SIX], 3).values()) == ["six"]
        give_back(mirror, worker)


@pytest.mark.parametrize("stage", [Stage.DISCOVER, Stage.PUBLISH])
def test_while_a_run_is_alone_no_request_claims_anything(mirror: Mirror, stage: Stage) -> None:
    mirror.sync()
    mirror.query("UPDATE projects SET needs_fetch = ?, has_work = ?", True, True)
    with fetcher(mirror) as worker:
        got: list[object] = []
        work = during(stage, lambda _: got.append(worker.claim_these([SIX], 1)), whole=True)
        assert mirror.sync(work=work).state == "completed"
        assert got == [{}]
        assert len(worker.claim_these([SIX], 2)) == 1
        give_back(mirror, worker)


def test_a_request_works_beside_the_batches_of_a_run(mirror: Mirror, simulator: Simulator) -> None:
    """The run waits for it before it works on the mirror as a whole, and leaves its claim alone."""
    offer(simulator, "idna", "1.0")
    with fetcher(mirror_of(mirror)) as worker:
        got: list[object] = []
        done = threading.Event()

        def claim(_: Run) -> None:
            got.extend(worker.claim_these(["idna", "six"], 1).values())  # type: ignore[list-item]
            threading.Thread(target=later).start()

        def later() -> None:
            done.wait()
            while mirror.query("SELECT * FROM marks WHERE name = ?", OPEN.name):
                pass  # until the run wants to be alone again
            give_back(mirror, worker)

        def at_end(_: Run) -> None:
            with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.read() as connection:
                got.append(connection.rows("SELECT * FROM claims WHERE NOT done"))

        def call(run: Run, stage: Stage, batch: Batch) -> object:
            if batch.projects and stage is Stage.DISCOVER and not got:
                claim(run)
            if batch.projects and stage is Stage.PUBLISH:
                done.set()
            if not batch.projects and stage is Stage.PUBLISH:
                at_end(run)
            return sequence.perform(run, stage, batch)

        summary = mirror.sync(work=lambda run: sequence.sync(run, call), sound=False)
    assert got == ["idna", []]  # six is the run's
    assert summary.state == "completed"
    assert mirror.projects == ["attrs", "six"]


def mirror_of(mirror: Mirror) -> Mirror:
    """Let the mirror be made, with work left for the next run."""
    mirror.sync()
    mirror.query("UPDATE projects SET needs_fetch = ?, has_work = ?", True, True)
    return mirror


def test_what_a_request_had_is_done_by_the_run_at_its_end(mirror: Mirror) -> None:
    mirror_of(mirror)
    with fetcher(mirror) as worker:
        found = worker.claim_these([SIX], 1)
        assert len(found) == 1
        began = threading.Event()

        def later() -> None:
            began.wait()
            give_back(mirror, worker)  # it has done nothing for it

        thread = threading.Thread(target=later)
        thread.start()
        began.set()
        summary = mirror.sync()
        thread.join()
    assert summary.state == "completed"
    assert mirror.query("SELECT count(*) AS n FROM projects WHERE has_work")[0]["n"] == 0


def test_a_run_waits_for_no_dead_request(mirror: Mirror) -> None:
    mirror.sync()
    with fetcher(mirror) as worker:
        worker.claim_these([SIX], 1)
        mirror.query("UPDATE workers SET expires_at = 0 WHERE id = ?", worker.id)
        worker._ended.set()  # no heartbeat any more
        assert mirror.sync().state == "completed"
        assert mirror.query("SELECT state FROM workers WHERE id = ?", worker.id)[0][0] == "lost"


def test_a_sync_leaves_a_live_fetcher_its_place_and_its_directory(mirror: Mirror) -> None:
    mirror.sync()
    with fetcher(mirror) as worker:
        own = mirror.root / ".pypimirror" / "staging" / f"worker-{worker.id}"
        made = list((mirror.root / ".pypimirror" / "staging").iterdir())
        assert mirror.sync().state == "completed"
        assert not own.exists() or own in made
        assert len(worker.claim_these([SIX], 1)) == 1
        give_back(mirror, worker)


def test_what_a_request_changes_raises_no_doubt_about_the_mirror(mirror: Mirror) -> None:
    """In doubt, the next run would look for every file of the mirror."""
    mirror.sync()
    storage = storage_of(mirror)
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
        agreed = ownership.agreed(connection, storage, 1)
        change(mirror)
        assert not ownership.agreed(connection, storage, 1)
        ownership.note_changes(connection, storage, agreed, 1)
        assert ownership.agreed(connection, storage, 1) == agreed


def test_requests_that_change_the_same_directories_raise_no_doubt(mirror: Mirror) -> None:
    """The second one begins between a change of the first one and its note."""
    mirror.sync()
    storage = storage_of(mirror)
    with (
        fetcher(mirror) as first,
        fetcher(mirror) as second,
        closing(Catalog.open(mirror.catalog_url)) as catalog,
        catalog.write() as connection,
    ):
        agreed = ownership.agreed(connection, storage, first.id)
        change(mirror)
        assert ownership.agreed(connection, storage, second.id) == agreed
        change(mirror)
        ownership.note_changes(connection, storage, agreed, first.id)
        change(mirror)
        ownership.note_changes(connection, storage, agreed, second.id)
        assert ownership.agreed(connection, storage, first.id) == agreed
        ownership.note_changes(connection, storage, agreed, first.id)
        change(mirror)  # and nobody is at work
        assert not ownership.agreed(connection, storage, second.id)


def test_a_request_that_died_explains_no_change(mirror: Mirror) -> None:
    mirror.sync()
    storage = storage_of(mirror)
    with closing(Catalog.open(mirror.catalog_url)) as catalog:
        with fetcher(mirror) as gone, catalog.write() as connection:
            assert ownership.agreed(connection, storage, gone.id)
        change(mirror)
        with fetcher(mirror) as worker, catalog.write() as connection:
            assert not ownership.agreed(connection, storage, worker.id)


def storage_of(mirror: Mirror) -> Storage:
    config = mirror.config
    return opener(config.bucket)(Workspace(config.directory), choose("file", mirror.root, None))


def change(mirror: Mirror) -> None:
    (mirror.root / "simple" / "new").mkdir()
    (mirror.root / "simple" / "new").rmdir()


def test_a_request_that_ends_beside_a_run_notes_nothing(mirror: Mirror) -> None:
    """Only the run knows at its end whether the mirror root is as it should be."""
    mirror.sync()
    storage = storage_of(mirror)
    with closing(Catalog.open(mirror.catalog_url)) as catalog, catalog.write() as connection:
        before = marks.read(connection, GENERATION)
        (mirror.root / "simple" / "new").mkdir()
        ownership.note_changes(connection, storage, "another-generation", 1)
        assert marks.read(connection, GENERATION) == before
        (mirror.root / "simple" / "new").rmdir()


def test_a_run_does_not_go_on_while_a_request_is_at_work(mirror: Mirror) -> None:
    """It can be cancelled while it waits."""
    mirror_of(mirror)
    with fetcher(mirror) as worker:

        def call(run: Run, stage: Stage, batch: Batch) -> object:
            if batch.projects and stage is Stage.PUBLISH:
                assert worker.claim_these([ProjectName("idna")], 1)

                def cancel() -> None:
                    while mirror.query("SELECT * FROM marks WHERE name = ?", OPEN.name):
                        pass  # until the run wants to be alone again
                    run.cancel()

                threading.Thread(target=cancel).start()
            return sequence.perform(run, stage, batch)

        summary = mirror.sync(work=lambda run: sequence.sync(run, call), sound=False)
    assert summary.state == "cancelled"
