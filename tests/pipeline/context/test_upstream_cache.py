"""Nothing depends on what a process remembers of upstreams: the catalog has what a run must know.

Here each stage of each batch begins with nothing in memory, as if another process did it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypimirror.catalog.queries import projects
from pypimirror.domain.model import Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.upstream_cache import UpstreamCache
from pypimirror.pipeline.run import Run
from tests.corpus.build import make_wheel
from tests.links import LinkMirror, page, put
from tests.mirror import Mirror, offer
from tests.pools import inline
from tests.simulator import Simulator, Status


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    return Mirror(tmp_path, simulator, delete={"grace": "0s"})


def work(run: Run) -> None:
    """Do what a sync does, one project a batch, each stage with nothing in memory."""

    def call(stage: Stage, batch: Batch) -> None:
        sequence.perform(replace(run, cache=UpstreamCache()), stage, batch)

    call(Stage.DISCOVER, Batch(0))
    with run.catalog.read() as connection:
        ids = projects.next_batch(connection, 0, 100, run.names)
    for batch in (Batch(number, (number,)) for number in ids):
        for stage in Stage:
            call(stage, batch)
    call(Stage.PUBLISH, Batch(0))


def test_pages_are_found_where_the_list_says(tmp_path: Path, simulator: Simulator) -> None:
    made = make_wheel("Foo_Bar", "1.0")
    projects = [{"name": "Foo_Bar", "_last-serial": 3}]
    listing = json.dumps({"meta": {"api-version": "1.0"}, "projects": projects})
    simulator.serve("/static/", listing, "application/vnd.pypi.simple.v1+json")
    page(simulator, "/static/Foo_Bar/", put(simulator, made), title="Index of Foo_Bar")
    mirror = LinkMirror(tmp_path, {"url": f"{simulator.root}/static/"})
    assert mirror.sync(work=work, make_pools=inline).state == "completed"
    assert mirror.has(made)


def test_a_project_is_asked_for_at_the_upstream_whose_list_has_it(
    tmp_path: Path, simulator: Simulator
) -> None:
    with Simulator() as second:
        offer(simulator, "idna", "1.0")
        offer(second, "six", "1.0")
        mirror = Mirror(tmp_path, simulator, second)
        assert mirror.sync(work=work, make_pools=inline).state == "completed"
        assert mirror.projects == ["idna", "six"]
        assert simulator.count("/simple/six/") == 0


def test_a_page_that_is_older_than_its_list_is_asked_for_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    assert mirror.sync(work=work, make_pools=inline).state == "completed"
    simulator.freeze("/simple/six/")
    offer(simulator, "six", "1.1")
    assert mirror.sync(work=work, make_pools=inline).state == "completed"
    simulator.thaw()
    assert mirror.sync(work=work, make_pools=inline).state == "completed"
    assert len(mirror.files("six")) == 2


def test_a_list_whose_pages_are_nowhere_is_told(mirror: Mirror, simulator: Simulator) -> None:
    for name in "abcd":
        offer(simulator, name, "1.0")
    simulator.fault("/simple/*/", Status(404))
    (problem,) = mirror.sync(work=work, make_pools=inline).failures
    assert problem.reason is Reason.BAD_LIST
    assert "4 of the 4 projects" in problem.message
    assert "(a, b, c, …)" in problem.message


def test_files_that_batches_replace_count_together(mirror: Mirror, simulator: Simulator) -> None:
    mirror.configure(verify={"on_changed": "replace"}, delete={"max_count": 2, "max_share": 1.0})
    found = [file for n in range(3) for file in offer(simulator, f"p{n}", "1.0")]
    assert mirror.sync(work=work, make_pools=inline).state == "completed"
    for file in found:
        file.replace(make_wheel(file.project.name, "1.0", padding=99)[1])
    result = mirror.sync(work=work, make_pools=inline)
    assert [problem.reason for problem in result.failures] == [Reason.DELETION_GUARD]
    assert sum(mirror.holds(file) for file in found) == 2
