"""Room on disk: what is free, and what of it is spoken for."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pypimirror.domain.model import Reason
from pypimirror.system import space
from pypimirror.system.space import Room, free, readable, remedy


def test_free_is_what_this_user_may_write(tmp_path: Path) -> None:
    found = free(tmp_path)
    assert found is not None
    assert abs(found - shutil.disk_usage(tmp_path).free) < 1 << 30  # others write meanwhile


def test_a_system_that_does_not_say_is_not_taken_for_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = SimpleNamespace(f_blocks=0, f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: unknown)
    assert free(tmp_path) is None
    assert Room(tmp_path, 1 << 60).claim({1: 1 << 60}) == ({1}, None)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable(size) == text


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """1000 bytes, of which 100 are kept."""
    monkeypatch.setattr(space, "free", lambda path: 1000)
    return Room(tmp_path, 100)


def test_what_fits_is_claimed_and_what_does_not_is_explained(room: Room, tmp_path: Path) -> None:
    assert room.claim({1: 900})[1] is None
    room.settle([1])
    taken, problem = room.claim({1: 500, 2: 401})
    assert taken == {2}, "the smallest that fit together"
    assert problem is not None and problem.reason is Reason.DISK
    for said in (str(tmp_path), "901 bytes are needed", "1000 bytes are free", "keeps 100 bytes"):
        assert said in problem.message


def test_what_one_has_claimed_is_not_there_for_another_until_it_has_come(room: Room) -> None:
    assert room.claim({1: 600})[1] is None
    assert room.claim({2: 400})[1] is not None
    room.received(1, 200)
    assert room.claim({2: 400})[1] is None
    room.received(2, 10**9)  # more than announced: never less than nothing
    room.settle([2])
    assert room.claim({3: 500})[1] is None


def test_what_was_refused_is_not_spoken_for(room: Room) -> None:
    assert room.claim({1: 5000})[1] is not None
    assert room.claim({2: 900})[1] is None


def test_less_than_the_reserve_is_a_shortage(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert room.shortage() is None
    monkeypatch.setattr(space, "free", lambda path: 99)
    assert room.shortage() is not None
    assert room.claim({})[1] is not None


def test_where_there_are_no_inodes_it_is_not_space_that_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "not" / "there"))
    assert "Free some space" in remedy(error)
    status = os.statvfs(tmp_path)
    gone = os.statvfs_result((*status[:6], 0, 0, *status[8:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: gone)
    assert "df -i" in remedy(error) and "Free some space" not in remedy(error)
    none = os.statvfs_result((*status[:5], 0, 0, 0, *status[8:]))  # btrfs counts none
    monkeypatch.setattr(os, "statvfs", lambda _path: none)
    assert "Free some space" in remedy(error)


@pytest.mark.parametrize("below", ["", "mirror", "mirror/.pypimirror"])
def test_a_file_where_a_directory_must_be_is_named(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError) as caught:
        (file / below).mkdir(parents=True, exist_ok=True)
    assert remedy(caught.value).startswith(f"{file} is in the way, and no directory: move it away")
