"""A sync keeps the files that clients have asked for as it keeps all others, and no more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, offer, offer_sdist
from tests.pipeline.asked.clients import ask
from tests.simulator import Simulator


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror for what clients ask for."""
    return Mirror(tmp_path, simulator, on_demand={"projects": ["*"]}, delete={"grace": "0s"})


def test_nothing_is_mirrored_before_somebody_asks(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    assert mirror.sync().state == "completed"
    assert mirror.projects == []
    assert simulator.count("/simple/") == 0  # nobody needs the list


def test_a_sync_fetches_and_keeps_what_was_asked_for(mirror: Mirror, simulator: Simulator) -> None:
    first, _ = offer(simulator, "six", "1.0", "2.0")
    offer_sdist(simulator, "six", "1.0")
    ask(mirror, first)
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [first.filename]
    first.set(yanked="broken")
    mirror.sync()
    assert mirror.page("six")["files"][0]["yanked"] == "broken"


def test_a_project_without_asked_files_goes_if_on_demand_is_switched_on(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Nobody has to confirm that with the deletion guard: the configuration says so."""
    mirror.configure(on_demand={"projects": []})
    kept, *_ = [offer(simulator, name, "1.0")[0] for name in ("six", "attrs", "idna")]
    mirror.sync()
    mirror.configure(on_demand={"projects": ["*"]})
    ask(mirror, kept)
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["six"]


def test_a_file_that_the_upstream_deletes_goes_and_nobody_complains(
    mirror: Mirror, simulator: Simulator
) -> None:
    found = [offer(simulator, name, "1.0", "2.0")[0] for name in ("six", "attrs")]
    ask(mirror, *found)
    mirror.sync()
    simulator.delete_project("attrs")
    mirror.configure(delete={"max_share": 1.0})
    assert mirror.sync().failures == []
    assert mirror.projects == ["six"]


@pytest.mark.parametrize("when", ["before", "selection changed"])
def test_a_file_that_was_asked_for_since_the_run_began_is_not_dropped(
    mirror: Mirror, simulator: Simulator, when: str
) -> None:
    """The selection of a run is older than what clients ask for while it works."""
    first, second = offer(simulator, "six", "1.0", "2.0")
    ask(mirror, first, second)
    mirror.sync()
    if when == "selection changed":
        mirror.configure(select={"exclude": ["idna"]})

    def asked_meanwhile(run: Run) -> None:
        stale = run.selection.with_asked({})
        msgspec.structs.force_setattr(run, "selection", stale)  # as if the run had begun before
        sequence.sync(run)

    mirror.sync(work=asked_meanwhile)
    assert mirror.files("six") == [first.filename, second.filename]


def test_a_batch_reads_what_was_asked_for_itself(mirror: Mirror, simulator: Simulator) -> None:
    first, second = offer(simulator, "six", "1.0", "2.0")
    ask(mirror, first)

    def call(run: Run, stage: Stage, batch: Batch) -> object:
        if stage is Stage.DISCOVER and batch.projects:
            ask(mirror, second)
        return sequence.perform(run, stage, batch)

    mirror.sync(work=lambda run: sequence.sync(run, call))
    assert mirror.files("six") == [first.filename, second.filename]
