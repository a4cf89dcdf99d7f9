"""Parts: each worker stages alone, and what it leaves goes to one other worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypimirror.storage import parts
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace


@pytest.fixture
def common(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "mirror")
    made.create()
    return made


def worker(common: Workspace, number: int, **files: bytes) -> Workspace:
    """Return a worker's workspace with files in staging; `_` in their names is a dot."""
    made = common.of_worker(number)
    made.create()
    for name, content in files.items():
        (made.staging / name.removeprefix("f").replace("_", ".")).write_bytes(content)
    return made


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_two_workers_stage_the_same_file_apart(common: Workspace) -> None:
    one, two = worker(common, 1, f7_part=b"one"), worker(common, 2, f7_part=b"two")
    assert one.staged(7).read_bytes() == b"one"
    assert two.staged(7).read_bytes() == b"two"


def test_what_a_worker_gives_back_goes_to_one_other(common: Workspace) -> None:
    one = worker(common, 1, f7_part=b"whole", f8_part=b"hal", f8_part_json=b"{}", f9_metadata=b"x")
    one.give_back()
    assert names(common.staging) == ["7.part", "8.part", "8.part.json"]
    two, three = worker(common, 2), worker(common, 3)
    for each in (two, three):
        each.take_parts([7, 70], [8, 80])
    assert names(two.staging) == ["7.part", "8.part", "8.part.json"]
    assert names(three.staging) == []


def test_a_part_without_a_note_is_not_continued(common: Workspace) -> None:
    worker(common, 1, f8_part=b"hal").give_back()
    two = worker(common, 2)
    two.take_parts([], [8])
    assert names(two.staging) == []


def test_only_a_worker_takes_parts(common: Workspace, tmp_path: Path) -> None:
    """A dry run that took some would keep them from the next run."""
    common.staged(7).write_bytes(b"whole")
    (tmp_path / "scratch").mkdir()
    dry_run = Workspace(common.directory, tmp_path / "scratch")
    dry_run.take_parts([7])
    dry_run.give_back()
    assert names(common.staging) == ["7.part"] and names(dry_run.staging) == []


def test_a_process_that_outlives_its_worker_changes_no_part_that_is_shared(
    common: Workspace,
) -> None:
    one = worker(common, 1, f8_part=b"hal", f8_part_json=b"{}")
    with one.staged(8).open("ab") as orphan:
        parts.collect(common.staging, one.staging)
        two = worker(common, 2)
        two.take_parts([], [8])
        orphan.write(b"f, and more")
    assert two.staged(8).read_bytes() == b"hal"
    assert not one.staging.exists()


def test_a_part_that_finds_no_room_is_fetched_anew(
    common: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = worker(common, 1, f7_part=b"whole", f8_part=b"hal", f8_part_json=b"{}")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    parts.collect(common.staging, one.staging)
    assert names(common.staging) == ["7.part", "8.part.json"]  # a note alone is swept


def test_nothing_of_a_worker_that_may_wake_up_is_shared(common: Workspace) -> None:
    one = worker(common, 1, f7_part=b"whole", f8_part=b"hal", f8_part_json=b"{}")
    parts.drop(one.staging)
    assert names(common.staging) == []


def test_what_nobody_here_has_made_stays(common: Workspace) -> None:
    one = worker(common, 1, f7_part=b"whole")
    (one.staging / "8.part").mkdir()
    one.give_back()
    assert names(common.staging) == ["1", "7.part"]


def test_a_link_is_no_part(common: Workspace, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    one = worker(common, 1)
    (one.staging / "7.part").symlink_to(tmp_path / "secret")
    parts.collect(common.staging, one.staging)
    assert names(common.staging) == []
    (common.staging / "9").symlink_to(tmp_path)
    assert list(parts.directories(common.staging)) == []


def test_a_stopped_process_that_wakes_up_shows_only_its_own_page(
    common: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has written its page and not yet shown it, while another writes another page."""
    stopped, other = PosixStorage(common), PosixStorage(common)
    stopped.create()
    replace = os.replace

    def late(source: str, target: str) -> None:
        monkeypatch.setattr(os, "replace", replace)
        other.write([("simple/b/index.html", [b"of b"])])
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    stopped.write([("simple/a/index.html", [b"of a"])])
    pages = {name: (common.directory / f"simple/{name}/index.html").read_bytes() for name in "ab"}
    assert pages == {"a": b"of a", "b": b"of b"}
