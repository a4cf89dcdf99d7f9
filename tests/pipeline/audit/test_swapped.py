"""Whatever a path below the mirror root may be: verification ends, repairing mends what a rename
mends, and no page names what is not a file (promises 1, 2 and 7)."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.system import regular
from pypimirror.verify import hash_worker
from tests.mirror import Mirror, offer, reasons
from tests.pipeline.audit.test_audit import verify
from tests.sampling import sample
from tests.simulator import IndexFile, Simulator
from tests.system.test_regular import THINGS

#: What a rename does not replace: it is in the way until somebody moves it.
STAYS = {"directory"}
MOVED = [thing for thing in THINGS if thing not in STAYS]


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    found = offer(simulator, "six", "1.0", "2.0")
    assert mirror.sync().state == "completed"
    return found


def put(path: Path, thing: str) -> None:
    path.unlink()
    THINGS[thing](path)


@pytest.mark.parametrize("end", ["", ".metadata"])
@pytest.mark.parametrize("thing", sample(THINGS, "fifo", "link to a file"))
def test_whatever_stands_in_a_files_place_is_found_and_mended_by_a_rename(
    mirror: Mirror, held: list[IndexFile], thing: str, end: str
) -> None:
    path = mirror.path(held[0])
    path = path.with_name(path.name + end)
    put(path, thing)
    found = verify(mirror)
    assert reasons(found.failures)[held[0].filename] == (
        Reason.METADATA_MISMATCH if end else Reason.LOST
    )
    mended = verify(mirror, repair=True)
    mirror.check()
    if thing in STAYS:
        # What was lost stays told, and besides what stands in the way of mending it.
        blocking = [f.message for f in mended.failures if f.reason is Reason.FOREIGN]
        assert {f.file for f in mended.failures} == {held[0].filename}
        assert len(blocking) == 1
        assert str(path) in blocking[0]
        assert held[0].filename not in mirror.files("six")
        path.rmdir()
        assert mirror.sync().state == "completed"
    else:
        assert mended.failures == []
    assert mirror.files("six") == [file.filename for file in held]
    assert path.is_file()
    assert not path.is_symlink()
    assert verify(mirror).failures == []


@pytest.mark.parametrize("page", ["simple/six/index.html", "simple/index.v1_json"])
@pytest.mark.parametrize("thing", sample(MOVED, "fifo", "link to a file"))
def test_whatever_stands_in_a_pages_place_is_found_and_mended(
    mirror: Mirror, held: list[IndexFile], thing: str, page: str
) -> None:
    put(mirror.root / page, thing)
    for quick in (False, True):
        assert reasons(verify(mirror, quick=quick).failures).keys() <= {"six", ""}
    assert {f.reason for f in verify(mirror).failures} == {Reason.PAGE_DIFFERS}
    assert verify(mirror, repair=True).failures == []
    mirror.check()
    assert not (mirror.root / page).is_symlink()
    assert verify(mirror).failures == []


@pytest.mark.parametrize("thing", THINGS)
def test_a_sync_that_writes_the_page_fetches_what_is_no_file_any_more(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], thing: str
) -> None:
    put(mirror.path(held[0]), thing)
    offer(simulator, "six", "3.0")
    result = mirror.sync()
    names = mirror.files("six")
    assert (held[0].filename in names) == (thing not in STAYS)
    assert len(names) == (2 if thing in STAYS else 3)
    assert result.state == ("incomplete" if thing in STAYS else "completed")


@pytest.mark.parametrize("where", ["packages/six", "simple/six"])
def test_a_directory_that_became_a_link_leads_nothing_out_of_the_mirror_root(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], where: str
) -> None:
    outside = mirror.base / "outside"
    shutil.move(mirror.root / where, outside)
    (mirror.root / where).symlink_to(outside)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    assert verify(mirror).state == "incomplete"
    offer(simulator, "six", "3.0")
    held[1].remove()
    for work in (lambda: verify(mirror, repair=True), lambda: mirror.sync(sound=False)):
        assert work().state == "incomplete"
        assert {path.name: path.read_bytes() for path in outside.iterdir()} == before
    (mirror.root / where).unlink()
    mirror.sync()
    assert mirror.sync().state == "completed"
    assert len(mirror.files("six")) == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES], ids=["EIO", "EACCES"])
def test_what_cannot_be_read_is_taken_off_its_page_and_fetched_again(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """A bad sector is what repairing is for; a rename over it leads to others."""
    path = mirror.path(held[0])
    sector = path.stat().st_ino
    real: Callable[..., tuple[int, os.stat_result]] = regular.open_file

    def bad(path: str, *more: str, follow: bool = False) -> tuple[int, os.stat_result]:
        descriptor, found = real(path, *more, follow=follow)
        if found.st_ino == sector:
            os.close(descriptor)
            raise OSError(number, os.strerror(number), path)
        return descriptor, found

    monkeypatch.setattr(regular, "open_file", bad)
    kept = os.open(path, os.O_RDONLY)  # its number is not used again meanwhile
    try:
        assert reasons(verify(mirror).failures) == {held[0].filename: Reason.UNREADABLE}
        simulator.forget()
        assert verify(mirror, repair=True).failures == []
        assert simulator.downloads(held[0].filename) == 1
        assert verify(mirror).failures == []
    finally:
        os.close(kept)
    mirror.check()


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.ETIMEDOUT])
def test_an_error_that_is_not_of_the_file_takes_nothing_off_its_page(
    mirror: Mirror, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real: Callable[..., tuple[int, os.stat_result]] = regular.open_file

    def away(path: str, *more: str, follow: bool = False) -> tuple[int, os.stat_result]:
        if path.startswith(f"{mirror.root}/packages/"):
            raise OSError(number, os.strerror(number), path)
        return real(path, *more, follow=follow)

    with monkeypatch.context() as context:
        context.setattr(regular, "open_file", away)
        context.setattr(
            "pypimirror.pipeline.publish.fingerprints.differing", lambda *_, **__: iter(())
        )
        found = verify(mirror, repair=True)
    assert {f.reason for f in found.failures} == {Reason.DISK}
    assert mirror.files("six") == [file.filename for file in held]
    mirror.check()


def test_a_file_that_is_written_while_it_is_read_is_not_noted_as_right(
    mirror: Mirror, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mirror.path(held[0])
    real = os.readv

    def written(descriptor: int, buffers: list[memoryview]) -> int:
        count = real(descriptor, buffers)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            os.utime(path, ns=(1, 1))
        return count

    with monkeypatch.context() as context:
        context.setattr("os.readv", written)
        found = verify(mirror)
    assert reasons(found.failures) == {held[0].filename: Reason.DISK}
    assert "written while it was read" in found.failures[0].message
    assert verify(mirror).failures == []


def test_a_stamp_is_that_of_the_bytes_that_were_read(
    mirror: Mirror, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaced right after it was read: `verify --quick` reads it then."""
    path = mirror.path(held[0])
    rotten = bytearray(path.read_bytes())
    rotten[40] ^= 1
    real = hash_worker.hash_file

    def replaced(name: str, *more: object) -> object:
        found = real(name, *more)  # type: ignore[arg-type]
        if name == str(path):
            path.with_name("new").write_bytes(rotten)
            path.with_name("new").replace(path)
        return found

    with monkeypatch.context() as context:
        context.setattr(hash_worker, "hash_file", replaced)
        assert verify(mirror).failures == []
    found = verify(mirror, quick=True)
    assert reasons(found.failures) == {held[0].filename: Reason.DIGEST_MISMATCH}
