"""No unchecked byte is ever served: corruption at each point, on the wire, in staging and on disk,
while a reader looks at all pages and files and says so."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.verify import worker
from tests.corpus.build import make_sdist, make_wheel
from tests.integrity.watching import Watcher
from tests.mirror import Mirror
from tests.pipeline.conftest import warm_workers as warm_workers
from tests.sampling import sample
from tests.simulator import (
    Chunked,
    Corrupt,
    Drip,
    Encoded,
    Fault,
    GzipBomb,
    Hangup,
    HtmlError,
    IgnoreRange,
    IndexFile,
    Longer,
    LyingLength,
    MissingLength,
    NotModified,
    OtherFile,
    Reset,
    Simulator,
    Stall,
    Status,
    Truncate,
    WrongRange,
)

SIZE = 40_000  #: of the noise in each file
PROOFS = {"sha256": ("sha256",), "md5": ("md5",), "none": None}
OTHER = make_sdist("six", "0.0.1", padding=SIZE)[1]

WIRE: dict[str, Fault] = {
    "corrupt-head": Corrupt(at=0),
    "corrupt-middle": Corrupt(at=SIZE // 2),
    "corrupt-end": Corrupt(at=-1),
    "truncated": Truncate(at=SIZE // 2),
    "longer": Longer(),
    "lying-length": LyingLength(-100),
    "reset": Reset(after=SIZE // 2),
    "hangup": Hangup(),
    "stall": Stall(after=SIZE // 2),
    "html": HtmlError(),
    "other-file": OtherFile(OTHER),
    "nothing": OtherFile(b""),
    "404": Status(404),
    "503": Status(503),
    "304": NotModified(),
    "wrong-range": WrongRange(),
    "ignored-range": IgnoreRange(),
    "gzipped": Encoded(),
    "broken-gzip": Encoded(broken=True),
    "bomb": GzipBomb(1 << 24),
    "chunked": Chunked(),
    "no-length": MissingLength(),
    "slow": Drip(size=8192, interval=0.002),
}


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    patience = {"timeout": 1, "tries": 2, "processes": 2}
    return Mirror(tmp_path, simulator, download=patience, delete={"grace": "0s", "max_share": 1.0})


def verify(mirror: Mirror, **options: Any) -> Summary:
    def work(run: Run) -> None:
        audit(run, Options(**options), sequence.repair)

    return run_sync(mirror.config, (), work, trigger="test", command="verify")


def offer_all(simulator: Simulator, names: Iterator[str] | list[str]) -> list[IndexFile]:
    """A wheel and an sdist for each name, in each kind of proof."""
    found = []
    for project, digests in PROOFS.items():
        said: dict[str, Any] = {"digests": digests} | ({} if digests else {"size": None})
        for number, name in enumerate(names):
            version = f"{number}.0+{name.replace('-', '.')}"
            for make in (make_wheel, make_sdist):
                made = make(f"of-{project}", version, padding=SIZE)
                found.append(simulator.add_file(f"of-{project}", *made, **said))
    return found


def fault_of(file: IndexFile) -> Fault:
    """The fault that a file's version names."""
    return WIRE[
        file.filename.split("+")[1].partition("-")[0].removesuffix(".tar.gz").replace(".", "-")
    ]


def good_digests(files: list[IndexFile]) -> set[tuple[str, str]]:
    return {(file.filename, file.sha256) for file in files}


# On the wire


@pytest.mark.timeout(240)
@pytest.mark.parametrize("times", sample([1, None], 1))
def test_on_the_wire(mirror: Mirror, simulator: Simulator, times: int | None) -> None:
    """Every fault on every kind of file at once, then the upstream heals."""
    files = offer_all(simulator, list(WIRE))
    rules = [
        simulator.fault(f"/packages/*{file.filename}", fault_of(file), times=times)
        for file in files
    ]
    watcher = Watcher(mirror.root)
    with watcher.watching():
        mirror.sync(sound=False)
        assert all(rule.hits for rule in rules)
        simulator.heal()
        assert mirror.sync(sound=False).state == "completed"
    assert watcher.wrong == []
    # Not only does each page agree with its files: they are what the publisher has.
    assert watcher.seen == good_digests(files)
    assert watcher.looks > 3
    assert all(mirror.holds(file) for file in files)
    mirror.check()


@pytest.mark.thorough
@pytest.mark.timeout(240)
def test_an_index_that_changes_its_mind_while_everything_fails(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Replaced, withdrawn and new files, over a line that corrupts at random."""
    mirror.configure(verify={"on_changed": "replace"})
    dice = random.Random(1)
    names = [f"n{number}" for number in range(5)]
    files = offer_all(simulator, names)
    ever = good_digests(files)
    watcher = Watcher(mirror.root)
    with watcher.watching():
        for turn in range(6):
            simulator.heal()
            for file in dice.sample(files, 12):
                fault = dice.choice([Corrupt(at=dice.randrange(SIZE)), Truncate(at=999), Hangup()])
                simulator.fault(f"/packages/*{file.filename}", fault)
            mirror.sync(sound=False)
            for file in dice.sample(files, 4):
                make = make_wheel if file.filename.endswith(".whl") else make_sdist
                version = file.filename.split("-")[1].removesuffix(".tar.gz")
                file.replace(make(file.project.name, version, padding=SIZE + turn)[1])
            for file in dice.sample(files, 2):
                file.remove()
                files.remove(file)
            ever |= good_digests(files)
        simulator.heal()
        # What is named waits for no next try.
        assert (
            mirror.sync(*sorted({file.project.name for file in files}), sound=False).state
            == "completed"
        )
    assert watcher.wrong == []
    assert watcher.seen <= ever
    assert all(mirror.holds(file) for file in files)
    mirror.check()


# In staging, before the move


@pytest.mark.parametrize("moment", [Stage.VERIFY, Stage.PUBLISH])
def test_in_staging_after_a_run_has_died(
    mirror: Mirror, simulator: Simulator, moment: Stage
) -> None:
    files = offer_all(simulator, ["a", "b"])
    dice = random.Random(2)

    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is moment:
            raise KeyboardInterrupt
        sequence.perform(run, stage, batch)

    watcher = Watcher(mirror.root)
    with watcher.watching():
        mirror.sync(work=lambda run: sequence.sync(run, call), sound=False)
        for path in (mirror.root / ".pypimirror" / "staging").glob("*.part"):
            data = bytearray(path.read_bytes())
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            path.write_bytes(data)
        for _ in range(2):  # without a digest, the copy counts as bad and is fetched by the next
            result = mirror.sync(sound=False)
    assert watcher.wrong == []
    assert result.state == "completed"
    assert watcher.seen == good_digests(files)
    mirror.check()


# On disk, after publishing


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_on_disk_what_is_damaged_leaves_or_is_mended_and_never_comes_back(
    mirror: Mirror, simulator: Simulator, share: float
) -> None:
    """A reader sees bad bytes until `verify` finds them, and not once it has ended."""
    files = offer_all(simulator, ["a", "b", "c"])
    mirror.sync()
    dice = random.Random(3)
    damaged = dice.sample(files, int(len(files) * share))
    for file in damaged:
        path = mirror.path(file)
        data = bytearray(path.read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
    lost = damaged[::3]
    for file in lost:
        simulator.fault(f"/packages/*{file.filename}", Corrupt(at=77))
    result = verify(mirror, repair=True)
    assert {problem.file for problem in result.failures} == {file.filename for file in lost}
    watcher = Watcher(mirror.root)
    watcher.look()
    assert watcher.wrong == []
    assert watcher.seen == good_digests([file for file in files if file not in lost])
    mirror.check()
    simulator.heal()
    with watcher.watching():
        assert mirror.sync(sound=False).state == "completed"
    assert watcher.wrong == []
    assert watcher.seen == good_digests(files)


def test_verify_while_readers_read_never_breaks_a_sound_mirror(
    mirror: Mirror, simulator: Simulator
) -> None:
    files = offer_all(simulator, ["a", "b"])
    mirror.sync()
    watcher = Watcher(mirror.root)
    with watcher.watching():
        for _ in range(3):
            assert verify(mirror, repair=True).state == "completed"
    assert watcher.wrong == []
    assert watcher.seen == good_digests(files)


# The watcher itself


def test_the_watcher_sees_a_bad_file(mirror: Mirror, simulator: Simulator) -> None:
    """Else everything above would prove nothing."""
    (wheel, *_) = offer_all(simulator, ["a"])
    mirror.sync()
    path = mirror.path(wheel)
    good = path.read_bytes()
    for content in (good[:-1], good + b"x", None):
        watcher = Watcher(mirror.root)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        watcher.look()
        assert len(watcher.wrong) == 2, "in both forms of the page"
        path.write_bytes(good)
    path.with_name(path.name + ".metadata").write_bytes(b"")
    watcher = Watcher(mirror.root)
    watcher.look()
    assert len(watcher.wrong) == 2


def test_the_watcher_sees_what_happens_between_two_steps(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that places replaced bytes under a page that still names the old ones."""
    from pypimirror.pipeline.verify import verify as stage

    mirror.configure(verify={"on_changed": "replace"})
    (wheel, *_) = offer_all(simulator, ["a"])
    mirror.sync()
    reached = threading.Event()
    monkeypatch.setattr(stage, "_retract", lambda *_: reached.set())
    wheel.replace(make_wheel("of-sha256", "0.0+a", padding=SIZE + 1)[1])
    watcher = Watcher(mirror.root)
    place = stage._place

    def slowly(*arguments: Any) -> None:
        place(*arguments)
        watcher.look()

    monkeypatch.setattr(stage, "_place", slowly)
    mirror.sync(sound=False)
    assert reached.is_set()
    assert watcher.wrong != []


def test_the_program_and_the_watcher_agree_on_what_a_digest_is(tmp_path: Path) -> None:
    path = tmp_path / "1.part"
    path.write_bytes(OTHER)
    answer = worker.check(worker.Check(1, str(path), "six", "six-0.0.1.tar.gz", digests=("md5",)))
    assert answer.digests["sha256"] == hashlib.sha256(OTHER).hexdigest()
