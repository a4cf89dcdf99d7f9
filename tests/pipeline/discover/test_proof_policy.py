"""`[verify] accept` holds for what is published already: a stricter setting takes files off their
pages, a looser one brings them back, and neither costs a download."""

from __future__ import annotations

from typing import Any

import pytest

from pypimirror.catalog.queries import files as queries
from pypimirror.domain.model import Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from pypimirror.verify.proof import Proof
from tests.integrity.watching import Watcher
from tests.mirror import Mirror, offer, offer_sdist, reasons
from tests.pipeline.audit.test_audit import flip, verify
from tests.simulator import IndexFile, Simulator


@pytest.fixture
def proven(simulator: Simulator) -> IndexFile:
    """A file with a digest, so that the project keeps its page."""
    (file,) = offer(simulator, "six", "1.0")
    return file


@pytest.fixture
def weak(mirror: Mirror, simulator: Simulator, proven: IndexFile) -> list[IndexFile]:
    """Files without a digest, of two projects; all mirrored."""
    found = [offer_sdist(simulator, name, "2.0", digests=None, size=None) for name in ("six", "wx")]
    assert mirror.sync().state == "completed"
    return found


def accept(mirror: Mirror, level: str) -> None:
    mirror.configure(verify={"accept": level})


def downloads(simulator: Simulator, found: list[IndexFile]) -> list[int]:
    return [simulator.downloads(file.filename) for file in found]


def test_a_stricter_setting_takes_files_off_their_pages_and_a_looser_one_brings_them_back(
    mirror: Mirror, simulator: Simulator, proven: IndexFile, weak: list[IndexFile]
) -> None:
    watcher = Watcher(mirror.root)
    with watcher.watching():
        accept(mirror, "digest")
        result = mirror.sync()
        assert reasons(result.failures) == {file.filename: Reason.NO_PROOF for file in weak}
        assert (mirror.files("six"), mirror.files("wx")) == ([proven.filename], [])
        again = mirror.sync()
        assert reasons(again.failures) == reasons(result.failures), "and it goes on being said"
        accept(mirror, "structure")
        assert mirror.sync().state == "completed"
    assert watcher.wrong == []
    assert mirror.files("six") == [proven.filename, weak[0].filename]
    assert mirror.files("wx") == [weak[1].filename]
    assert downloads(simulator, weak) == [1, 1]
    assert verify(mirror).state == "completed"


def test_what_is_proven_well_enough_stays_as_it_is(
    mirror: Mirror, proven: IndexFile, weak: list[IndexFile]
) -> None:
    before = mirror.page("six")
    for level in ("partial", "structure"):
        accept(mirror, level)
        result = mirror.sync()
        assert (result.state, result.counts["pages_written"]) == ("completed", 0)
    assert mirror.page("six") == before


def test_pages_are_made_without_them_also_where_nothing_answers_or_only_others_are_named(
    mirror: Mirror, simulator: Simulator, proven: IndexFile, weak: list[IndexFile]
) -> None:
    accept(mirror, "digest")
    with simulator.refusing():
        mirror.sync("six")
    assert (mirror.files("six"), mirror.files("wx")) == ([proven.filename], [])


def test_without_a_change_it_costs_no_look_at_the_files(
    mirror: Mirror, weak: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    weaker = queries.weaker

    def counted(connection: Any, weakest: int, after: int) -> Any:
        looks.append(weakest)
        return weaker(connection, weakest, after)

    monkeypatch.setattr(queries, "weaker", counted)
    mirror.sync()
    assert looks == []
    accept(mirror, "digest")
    mirror.sync()
    assert looks == [Proof.DIGEST, Proof.DIGEST], "one page of rows, and then none"
    mirror.sync()
    assert len(looks) == 2


@pytest.mark.parametrize("moment", list(Stage))
def test_a_run_that_dies_leaves_pages_whose_links_resolve_and_the_next_one_ends_it(
    mirror: Mirror, proven: IndexFile, weak: list[IndexFile], moment: Stage
) -> None:
    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is moment and batch.number:
            raise KeyboardInterrupt
        sequence.perform(run, stage, batch)

    accept(mirror, "digest")
    mirror.sync(work=lambda run: sequence.sync(run, call), sound=False)
    watcher = Watcher(mirror.root)
    watcher.look()
    assert watcher.wrong == []
    mirror.sync()
    assert (mirror.files("six"), mirror.files("wx")) == ([proven.filename], [])


def test_the_bytes_of_one_that_the_upstream_drops_go_after_the_grace_period(
    mirror: Mirror, proven: IndexFile, weak: list[IndexFile]
) -> None:
    mirror.configure(delete={"grace": "1h", "max_share": 1.0})
    accept(mirror, "digest")
    mirror.sync()
    for file in weak:
        file.remove()
    mirror.sync()
    assert all(mirror.path(file).exists() for file in weak)
    assert verify(mirror).failures == [], "they are no strangers"
    mirror.configure(delete={"grace": "0s"})
    assert mirror.sync().state == "completed"
    assert not any(mirror.path(file).exists() for file in weak)


def test_bytes_that_rot_meanwhile_do_not_come_back(
    mirror: Mirror, simulator: Simulator, weak: list[IndexFile]
) -> None:
    accept(mirror, "digest")
    mirror.sync()
    flip(mirror.path(weak[0]))
    accept(mirror, "structure")
    assert mirror.sync().state == "completed"
    assert mirror.holds(weak[0])
    assert downloads(simulator, weak) == [2, 1]


def test_a_plan_says_which_pages_would_change_and_changes_nothing(
    mirror: Mirror, weak: list[IndexFile]
) -> None:
    before = mirror.served()
    accept(mirror, "digest")
    assert list(mirror.plan().publish) == ["six", "wx"]
    assert mirror.served() == before
    assert mirror.state(weak[0].filename) == "published"


# Better proofs that come later


def proof(mirror: Mirror, file: IndexFile) -> tuple[Any, ...]:
    query = "SELECT proof, proof_algorithm, proof_source FROM files WHERE filename = ?"
    return tuple(mirror.query(query, file.filename)[0])


@pytest.mark.parametrize("before", [None, ("md5",)], ids=["structure", "md5"])
def test_a_digest_that_comes_later_and_agrees_is_a_better_proof_without_a_download(
    mirror: Mirror, simulator: Simulator, before: tuple[str, ...] | None
) -> None:
    file = offer_sdist(simulator, "six", "1.0", digests=before, size=None)
    mirror.sync()
    file.set(digests={"sha256": file.sha256})
    assert mirror.sync().state == "completed"
    assert proof(mirror, file) == (Proof.DIGEST, "sha256", "sim0")
    assert simulator.downloads(file.filename) == 1
    accept(mirror, "digest")
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [file.filename]


def test_a_digest_that_comes_later_brings_a_refused_file_to_its_page(
    mirror: Mirror, simulator: Simulator, weak: list[IndexFile]
) -> None:
    accept(mirror, "digest")
    mirror.sync()
    for file in weak:
        file.set(digests={"sha256": file.sha256})
    assert mirror.sync().state == "completed"
    assert mirror.files("wx") == [weak[1].filename]
    assert downloads(simulator, weak) == [1, 1]


def test_a_digest_that_comes_later_and_differs_proves_nothing(
    mirror: Mirror, simulator: Simulator, weak: list[IndexFile]
) -> None:
    """Nobody had claimed one, so the claim is believed and the bytes are fetched for it."""
    weak[0].set(digests={"sha256": "0" * 64})
    result = mirror.sync()
    assert reasons(result.failures) == {weak[0].filename: Reason.DIGEST_MISMATCH}
    assert weak[0].filename not in mirror.files("six")
