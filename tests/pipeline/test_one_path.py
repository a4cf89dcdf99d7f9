"""One path that cannot be read, replaced or removed is one project's failure, and stops no other.

Promise 7, for whatever a disk may say of a single path. `verify` goes on behind it, and repairing
mends what a rename over it mends.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pypimirror.domain.model import Reason
from pypimirror.system import regular
from tests.mirror import Mirror, offer
from tests.pipeline.audit.test_audit import verify
from tests.sampling import sample
from tests.simulator import Simulator

PROJECTS = ("aaa", "bbb", "ccc")
PAGES = ("simple/bbb/index.html", "simple/bbb/index.v1_json")
ROOTS = ("simple/index.html", "simple/index.v1_json")


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> None:
    for name in PROJECTS:
        offer(simulator, name, "1.0")
    mirror.configure(delete={"max_share": 1.0, "grace": "0s"})
    assert mirror.sync().state == "completed"


class Disk:
    """Lets the system's calls on one path fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def refuse(self, module: Any, name: str, path: Path, number: int) -> None:
        real = getattr(module, name)

        def refusing(*arguments: Any, **more: Any) -> Any:
            if str(path) in [str(each) for each in arguments]:
                raise OSError(number, os.strerror(number), str(path))
            return real(*arguments, **more)

        self._patch.setattr(module, name, refusing)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def newer(simulator: Simulator) -> None:
    for name in PROJECTS:
        offer(simulator, name, "2.0")


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ELOOP], ids=errno.errorcode.get)
@pytest.mark.parametrize("page", sample([*PAGES, *ROOTS], PAGES[0], ROOTS[0]))
def test_a_page_that_cannot_be_read_is_found_and_replaced(
    mirror: Mirror, simulator: Simulator, disk: Disk, page: str, number: int
) -> None:
    disk.refuse(regular, "open_file", mirror.root / page, number)
    (mirror.root / "simple/ccc/index.html").write_bytes(b"rotten")
    found = verify(mirror)
    assert {(f.project, f.reason) for f in found.failures} == {
        ("bbb" if "bbb" in page else "", Reason.PAGE_DIFFERS),
        ("ccc", Reason.PAGE_DIFFERS),
    }
    assert verify(mirror, repair=True).failures == []
    assert (mirror.root / "simple/ccc/index.html").read_bytes() != b"rotten"
    newer(simulator)
    assert mirror.sync().state == "completed"
    assert [len(mirror.files(name)) for name in PROJECTS] == [2, 2, 2]


@pytest.mark.usefixtures("held")
def test_a_page_that_could_not_be_read_has_another_serial_when_it_is_replaced(
    mirror: Mirror, disk: Disk
) -> None:
    """What it said, nobody knows: whoever follows this mirror must see that it is new."""
    before = mirror.page("bbb")["meta"]["_last-serial"]
    disk.refuse(regular, "open_file", mirror.root / PAGES[1], errno.EIO)
    verify(mirror, repair=True)
    assert mirror.page("bbb")["meta"]["_last-serial"] == before + 1


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
def test_a_page_that_cannot_be_replaced_is_its_projects_failure_in_each_run(
    mirror: Mirror, simulator: Simulator, disk: Disk, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    newer(simulator)
    with monkeypatch.context() as patch:
        Disk(patch).refuse(os, "replace", mirror.root / PAGES[0], number)
        for _ in range(2):
            result = mirror.sync(sound=False)
            assert result.state == "incomplete"
            assert [(f.project, f.reason) for f in result.failures] == [("bbb", Reason.DISK)]
            assert str(mirror.root / PAGES[0]) in result.failures[0].message
            assert [len(mirror.files(name)) for name in ("aaa", "ccc")] == [2, 2]
    assert mirror.sync().state == "completed"
    assert len(mirror.files("bbb")) == 2


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("page", ROOTS)
def test_a_root_index_that_cannot_be_replaced_holds_up_removals_and_no_page(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    newer(simulator)
    simulator.delete_project("ccc")
    with monkeypatch.context() as patch:
        Disk(patch).refuse(os, "replace", mirror.root / page, errno.EPERM)
        for _ in range(2):
            result = mirror.sync(sound=False)
            assert [(f.project, f.reason) for f in result.failures] == [("", Reason.DISK)]
            assert len(mirror.files("aaa")) == 2
            assert mirror.has_page("ccc"), "the root index may list it still"
    assert mirror.sync().state == "completed"
    assert not mirror.has_page("ccc")


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO])
def test_what_cannot_be_removed_stays_known_and_stops_no_other_removal(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for name in ("bbb", "ccc"):
        simulator.delete_project(name)
    kept = mirror.root / "simple/bbb/index.html"
    bytes_of = {p.name: p for p in (mirror.root / "packages").rglob("*.whl")}
    with monkeypatch.context() as patch:
        real = Path.unlink

        def refused(path: Path, *arguments: Any, **more: Any) -> None:
            if path == kept:
                raise OSError(number, os.strerror(number), str(path))
            real(path, *arguments, **more)

        patch.setattr(Path, "unlink", refused)
        for _ in range(2):
            result = mirror.sync(sound=False)
            assert ("bbb", Reason.DISK) in [(f.project, f.reason) for f in result.failures]
            assert not mirror.has_page("ccc")
            assert kept.exists()
            assert bytes_of["bbb-1.0-py3-none-any.whl"].exists(), "its page may name them"
    assert mirror.sync().state == "completed"
    assert mirror.sync().state == "completed"
    assert not mirror.has_page("bbb")
    assert not bytes_of["bbb-1.0-py3-none-any.whl"].exists()


@pytest.mark.usefixtures("held")
def test_a_file_that_cannot_be_put_in_place_is_one_failure(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer(simulator)
    target = mirror.root / "packages/bbb/bbb-2.0-py3-none-any.whl"
    with monkeypatch.context() as patch:
        Disk(patch).refuse(os, "replace", target, errno.EPERM)
        result = mirror.sync()
        assert [(f.file, f.reason) for f in result.failures] == [(target.name, Reason.DISK)]
    assert [len(mirror.files(name)) for name in PROJECTS] == [2, 1, 2]
    assert mirror.sync().state == "completed"
    assert len(mirror.files("bbb")) == 2


@pytest.mark.usefixtures("held")
def test_a_directory_that_cannot_be_looked_into_does_not_end_a_verification(
    mirror: Mirror, disk: Disk
) -> None:
    disk.refuse(os, "scandir", mirror.root / "packages/bbb", errno.EACCES)
    (mirror.root / "simple/ccc/index.html").write_bytes(b"rotten")
    found = verify(mirror)
    assert {f.reason for f in found.failures} == {Reason.DISK, Reason.PAGE_DIFFERS}


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE])
def test_an_error_of_the_whole_disk_is_told_of_a_page_and_condemns_none(
    mirror: Mirror, disk: Disk, number: int
) -> None:
    disk.refuse(regular, "open_file", mirror.root / PAGES[0], number)
    found = verify(mirror)
    assert [(f.project, f.reason) for f in found.failures] == [("bbb", Reason.DISK)]


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ESTALE])
def test_an_error_of_the_whole_disk_ends_the_run(
    mirror: Mirror, simulator: Simulator, disk: Disk, number: int
) -> None:
    newer(simulator)
    disk.refuse(os, "replace", mirror.root / PAGES[0], number)
    assert mirror.sync(sound=False).state == "failed"
