"""Promise 3, on disk: bytes are durable before the rename that shows them, names after it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pypimirror.storage import durability
from pypimirror.storage.durability import FileByFile, WholeFileSystem, choose
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError

Log = list[tuple[str, str]]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """What is flushed and renamed, in order, below the test's directory."""
    seen: Log = []
    replace = os.replace

    def relative(path: object) -> str:
        found = Path(str(path)).relative_to(tmp_path)
        return str(found.with_name("page") if found.name.startswith("page.") else found)

    def fsync(descriptor: int) -> None:
        seen.append(("fsync", relative(os.readlink(f"/proc/self/fd/{descriptor}"))))

    def renamed(source: object, target: object) -> None:
        seen.append(("rename", relative(target)))
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(durability.os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr(
        durability, "sync_file_system", lambda path: seen.append(("syncfs", relative(path)))
    )
    return seen


def storage_of(base: Path, how: durability.Durability) -> PosixStorage:
    workspace = Workspace(base / "m")
    storage = PosixStorage(workspace, durability=how)
    workspace.create()
    storage.create()
    for number in (1, 2):
        workspace.staged(number).write_bytes(b"bytes")
    return storage


def moves(storage: PosixStorage) -> list[tuple[Path, str]]:
    staging = storage.directory / ".pypimirror" / "staging"
    return [(staging / "1.part", "packages/a/1"), (staging / "2.part", "packages/b/2")]


def test_a_batch_is_flushed_once_before_its_renames_and_once_after(
    tmp_path: Path, log: Log
) -> None:
    storage = storage_of(tmp_path, WholeFileSystem(tmp_path / "m"))
    storage.place(moves(storage))
    storage.flush()
    assert log == [
        ("syncfs", "m"),
        ("rename", "m/packages/a/1"),
        ("rename", "m/packages/b/2"),
        ("syncfs", "m"),
    ]


def test_each_file_is_flushed_before_its_rename_and_each_directory_after_it(
    tmp_path: Path, log: Log
) -> None:
    storage = storage_of(tmp_path, FileByFile())
    storage.place(moves(storage))
    storage.write([("simple/a/index.html", [b"page"])])
    before = list(log)
    storage.flush()
    after = {path for _, path in log[len(before) :]}
    assert before == [
        ("fsync", "m/.pypimirror/staging/1.part"),
        ("fsync", "m/.pypimirror/staging/2.part"),
        ("rename", "m/packages/a/1"),
        ("rename", "m/packages/b/2"),
        ("fsync", "m/.pypimirror/staging/page"),
        ("rename", "m/simple/a/index.html"),
    ]
    # The directories that were made, and those that name them.
    assert after >= {"m/packages/a", "m/packages/b", "m/packages", "m/simple/a", "m/simple", "m"}
    log.clear()
    storage.remove("packages/a/1")
    storage.flush()
    assert log == [("fsync", "m/packages")]  # packages/a went with its last file
    log.clear()
    storage.flush()
    assert log == []


def test_nothing_to_place_is_nothing_to_flush(tmp_path: Path, log: Log) -> None:
    storage = storage_of(tmp_path, WholeFileSystem(tmp_path / "m"))
    storage.place([])
    storage.write([])
    assert log == []


def test_a_catalog_on_another_file_system_is_flushed_along(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = tmp_path / "elsewhere" / "catalog.sqlite"
    how = WholeFileSystem(tmp_path / "m", catalog)
    monkeypatch.setattr(durability, "_device", lambda path: 1)
    how.flush()
    assert log == [("syncfs", "m")]
    log.clear()
    monkeypatch.setattr(durability, "_device", lambda path: path.name)
    how.flush()
    assert log == [("syncfs", "m"), ("syncfs", "elsewhere")]


def test_file_by_file_the_catalogs_log_is_flushed_along(tmp_path: Path, log: Log) -> None:
    how = FileByFile(tmp_path / "catalog.sqlite")
    how.flush()  # there is none yet
    (tmp_path / "catalog.sqlite-wal").write_bytes(b"commits")
    how.flush()
    assert log == [("fsync", "catalog.sqlite-wal")]


def test_a_system_without_syncfs_is_flushed_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(choose("batch", tmp_path), WholeFileSystem)
    assert isinstance(choose("file", tmp_path), FileByFile)
    monkeypatch.setattr(durability, "_HAS_SYNCFS", False)
    assert isinstance(choose("batch", tmp_path), FileByFile)


def test_a_system_whose_fsync_stops_at_the_disks_cache_is_asked_for_more(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(durability.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(durability.fcntl, "fcntl", lambda fd, command: asked.append(command))
    durability.sync_file(tmp_path)
    assert (asked, log) == ([51], [])

    def refused(descriptor: int, command: int) -> None:
        raise OSError(errno.ENOTSUP, "not here")

    monkeypatch.setattr(durability.fcntl, "fcntl", refused)
    durability.sync_file(tmp_path)
    assert log == [("fsync", ".")]


@pytest.mark.parametrize("mode", ["batch", "file"])
def test_both_ways_work_on_this_system(tmp_path: Path, mode: str) -> None:
    how = choose(mode, tmp_path / "m", tmp_path / "catalog.sqlite")  # type: ignore[arg-type]
    storage = storage_of(tmp_path, how)
    storage.place(moves(storage))
    assert storage.write([("simple/a/index.html", [b"page"])]) == 1
    storage.flush()
    storage.remove("packages/a/1")
    storage.flush()
    assert storage.read("simple/a/index.html") == b"page"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_flush_that_fails_is_told_and_nothing_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    storage = storage_of(tmp_path, FileByFile())
    monkeypatch.setattr(durability.os, "fsync", fails)
    with pytest.raises(StorageError, match=os.strerror(number)):
        storage.place(moves(storage))
    assert not storage.has("packages/a/1") and moves(storage)[0][0].exists()


def test_a_directory_that_cannot_be_flushed_on_its_file_system_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(durability.os, "fsync", refuses)
    durability.sync_directory(str(tmp_path))
    durability.sync_directory(str(tmp_path / "gone"))
    with pytest.raises(OSError, match="Invalid argument"):
        durability.sync_file(tmp_path)
