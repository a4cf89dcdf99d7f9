"""A mirror on a storage that damages what it keeps: what is wrong is found, said and mended.

Wherever the mirror is kept: in memory, in a directory, in a bucket of each server of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.lifecycle import sync
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.storage.durability import Durability
from pypimirror.storage.storage import Seen, Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError
from tests import checker
from tests.corpus.build import make_sdist, make_wheel
from tests.mirror import Mirror
from tests.pools import inline
from tests.sampling import sample
from tests.simulator import IndexFile, Simulator
from tests.storage.places import SERVED, InBucket, InDirectory, InMemory, Place, place
from tests.storages import BitRot, Damaging, FailOnce


class Elsewhere:
    """A mirror that is kept at a place."""

    def __init__(self, base: Path, simulator: Simulator) -> None:
        self.mirror = Mirror(base, simulator, delete={"grace": "0s", "max_share": 1.0})
        self.place: Place = InMemory(self.mirror.root)
        self._exports = base / "exports"
        self._number = 0

    def run(
        self,
        wrap: Callable[[Storage], Storage] = lambda storage: storage,
        *,
        work: Callable[[Run], None] = sequence.sync,
        command: str = "sync",
    ) -> Summary:
        """Do one run; the storage is wrapped for it."""

        def make(workspace: Workspace, _: Durability) -> Storage:
            return wrap(self.place.open(workspace))

        return sync(
            self.mirror.config,
            (),
            work,
            trigger="test",
            command=command,
            make_pools=inline,
            make_storage=make,
        )

    def verify(
        self,
        wrap: Callable[[Storage], Storage] = lambda storage: storage,
        *,
        repair: bool = False,
        quick: bool = False,
    ) -> Summary:
        """Look at everything."""
        options = audit.Options(repair=repair, quick=quick)
        return self.run(
            wrap, work=lambda run: audit.audit(run, options, sequence.repair), command="verify"
        )

    def faults(self, *, ended: bool = True) -> list[str]:
        """What is wrong with what is served, seen from outside, once the run has `ended` well."""
        self._number += 1
        root = self._exports / str(self._number)
        for name in SERVED:
            (root / name).mkdir(parents=True)
        self.place.export(root)
        return checker.check(root, agree=ended)

    def change(self, change: Callable[[Storage], object]) -> None:
        """Change something behind the mirror's back."""
        change(self.place.open(Workspace(self.mirror.root)))

    def read(self, file: IndexFile) -> bytes | None:
        """What is served under a file's name."""
        return self.place.open(Workspace(self.mirror.root)).read(key_of(file))


def key_of(file: IndexFile) -> str:
    return f"packages/{file.project.normalized}/{file.filename}"


@pytest.fixture
def files(simulator: Simulator) -> list[IndexFile]:
    return [
        simulator.add_file("six", *make_sdist("six", "1.0")),
        simulator.add_file("six", *make_wheel("six", "1.0")),
        simulator.add_file("idna", *make_wheel("idna", "2.0")),
    ]


#: All places, and those of `make test`.
KINDS, OFTEN = ("memory", "posix", "seaweed", "moto"), ("memory", "posix")


@pytest.fixture(params=sample(KINDS, *OFTEN))
def elsewhere(
    request: pytest.FixtureRequest, tmp_path: Path, simulator: Simulator, files: list[IndexFile]
) -> Elsewhere:
    made = Elsewhere(tmp_path, simulator)
    made.place = place(request, request.param, made.mirror.root)
    return made


def only(*kinds: str) -> pytest.MarkDecorator:
    """Let a test have some kinds of places, in `make test` one of them."""
    return pytest.mark.parametrize("elsewhere", sample(kinds, kinds[0]), indirect=True)


def test_a_mirror_is_kept_and_changed_wherever_it_is(
    elsewhere: Elsewhere, simulator: Simulator, files: list[IndexFile]
) -> None:
    assert elsewhere.run().state == "completed"
    assert elsewhere.faults() == []
    assert [elsewhere.read(file) for file in files] == [bytes(file.content) for file in files]
    assert elsewhere.verify().state == "completed"
    simulator.forget()
    simulator.project("six").file(files[0].filename).remove()
    simulator.delete_project("idna")
    assert elsewhere.run().state == "completed"
    assert elsewhere.faults() == []
    assert [elsewhere.read(file) is None for file in files] == [True, False, True]
    assert not any(simulator.downloads(file.filename) for file in files)
    if not isinstance(elsewhere.place, InDirectory):
        assert not (elsewhere.mirror.root / "packages").exists()


@pytest.mark.parametrize("truncated", [False, True], ids=["bit flip", "truncated"])
def test_bytes_that_the_storage_has_damaged_are_found_and_fetched_again(
    elsewhere: Elsewhere, files: list[IndexFile], *, truncated: bool
) -> None:
    hits = files[1].filename
    rot = partial(elsewhere.place.rot, truncate=truncated)
    elsewhere.run(lambda storage: BitRot(storage, lambda k: k.endswith(hits), rot))
    # What has another size is on no page. A bucket is not asked again for what was just put there.
    is_noticed = truncated and not isinstance(elsewhere.place, InBucket)
    assert (elsewhere.faults() == []) is is_noticed
    found = elsewhere.verify()
    assert found.failures
    assert all(hits in failure.file for failure in found.failures)
    assert elsewhere.verify(repair=True).counts["files_downloaded"] == 1
    assert elsewhere.faults() == []
    assert elsewhere.read(files[1]) == bytes(files[1].content)
    assert elsewhere.verify().state == "completed"


@pytest.mark.parametrize("method", ["place", "write", "flush", "remove"])
def test_a_storage_that_fails_once_is_told_and_the_next_run_does_the_rest(
    elsewhere: Elsewhere, simulator: Simulator, files: list[IndexFile], method: str
) -> None:
    if method == "remove":
        elsewhere.run()
        simulator.delete_project("idna")
    failed = elsewhere.run(lambda storage: FailOnce(storage, method))
    assert failed.state != "completed"
    assert {failure.reason for failure in failed.failures} == {Reason.DISK}
    assert elsewhere.faults(ended=False) == []
    simulator.forget()
    assert elsewhere.run().state == "completed"
    assert elsewhere.faults() == []
    assert not any(simulator.downloads(file.filename) for file in files)
    assert elsewhere.read(files[1]) == bytes(files[1].content)


@only("memory", "posix")  # a PUT is durable when it is answered: a bucket has nothing to lose
@pytest.mark.parametrize("flushes", [0, 1, 2])
def test_what_was_not_flushed_may_be_lost_and_no_page_is_wrong_for_it(
    elsewhere: Elsewhere, simulator: Simulator, files: list[IndexFile], flushes: int
) -> None:
    class CutAtFlush(FailOnce):
        left_to_do = flushes

        def flush(self) -> None:
            if not self.left_to_do:
                raise KeyboardInterrupt
            self.left_to_do -= 1
            super().flush()
            elsewhere.place.flushed()

    assert elsewhere.run(lambda storage: CutAtFlush(storage)).state == "cancelled"
    elsewhere.place.lose()
    assert elsewhere.faults(ended=False) == []
    assert elsewhere.run().state == "completed"
    assert elsewhere.faults() == []
    assert [elsewhere.read(file) for file in files] == [bytes(file.content) for file in files]


class Counting(Damaging):
    """Counts what is read of the objects."""

    def __init__(self, sound: Storage) -> None:
        super().__init__(sound)
        self.read_keys: list[str] = []

    def opened(self, key: str) -> tuple[Seen, Iterator[bytes]]:
        """Open, and count."""
        self.read_keys.append(key)
        return self.sound.opened(key)


@only("memory", "seaweed", "moto")  # in a directory, stamps decide, and workers read by path
def test_a_quick_verification_proves_files_by_the_digests_that_the_storage_keeps(
    elsewhere: Elsewhere, files: list[IndexFile]
) -> None:
    elsewhere.run()
    seen: list[Counting] = []

    def counted(storage: Storage) -> Storage:
        seen.append(Counting(storage))
        return seen[-1]  # type: ignore[return-value]

    assert elsewhere.verify(counted, quick=True).state == "completed"
    assert seen[-1].read_keys == []
    key = key_of(files[1])
    size = len(bytes(files[1].content))
    elsewhere.change(lambda storage: storage.write([(key, [b"x" * size])]))  # as many, but others
    found = elsewhere.verify(counted, quick=True)
    assert [failure.reason for failure in found.failures] == [Reason.DIGEST_MISMATCH]
    assert seen[-1].read_keys == [key]
    assert elsewhere.verify(repair=True, quick=True).counts["repaired"] == 1
    assert elsewhere.read(files[1]) == bytes(files[1].content)
    assert elsewhere.faults() == []


def test_a_lost_file_and_a_lost_sidecar_are_found_and_mended(
    elsewhere: Elsewhere, files: list[IndexFile]
) -> None:
    elsewhere.run()
    elsewhere.change(lambda storage: storage.remove(f"{key_of(files[1])}.metadata"))
    elsewhere.change(lambda storage: storage.remove(key_of(files[2])))
    for quick in (True, False):
        found = elsewhere.verify(quick=quick)
        reasons = {failure.file: failure.reason for failure in found.failures}
        assert reasons == {
            files[1].filename: Reason.METADATA_MISMATCH,
            files[2].filename: Reason.LOST,
        }
    assert elsewhere.verify(repair=True).counts["repaired"] == 2
    assert elsewhere.faults() == []
    copies = elsewhere.mirror.root / ".pypimirror" / "local"
    assert not copies.exists() or not list(copies.iterdir())


@only("memory", "seaweed", "moto")  # a directory that is away is a fault of each of its paths
@pytest.mark.parametrize("method", ["size", "seen", "opened"])
def test_of_a_storage_that_is_away_no_file_is_said_to_be_lost(
    elsewhere: Elsewhere, method: str
) -> None:
    """What does not answer says nothing about a file: nothing is taken back or fetched again."""
    elsewhere.run()

    def away(*_: object) -> NoReturn:
        raise StorageError("its place", TimeoutError(110, "timed out"))

    def wrap(storage: Storage) -> Storage:
        damaged = Damaging(storage)
        object.__setattr__(damaged, method, away)
        return damaged  # type: ignore[return-value]

    elsewhere.mirror.query("UPDATE projects SET page_stale = true, has_work = true")
    work = elsewhere.run if method == "size" else elsewhere.verify
    ended = work(wrap, **({"quick": True} if method == "seen" else {}))
    assert ended.state == "failed"
    assert "timed out" in ended.message
    assert {row["state"] for row in elsewhere.mirror.query("SELECT state FROM files")} == {3}
