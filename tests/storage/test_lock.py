"""Promise 6: one run at a time per mirror; the lock dies with its holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.domain.errors import LockedError
from pypimirror.storage.lock import LockError, hold

HOLDER = (
    "import sys; from pathlib import Path; from pypimirror.storage.lock import hold\n"
    "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
)


def start_holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_refused_at_once_and_told_who_holds(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = start_holder(path)
    with pytest.raises(LockedError, match=f"process {process.pid}"), hold(path):
        pytest.fail("held twice")
    process.communicate("")
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_the_lock_dies_with_a_killed_holder(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock")
    process.kill()
    process.wait(30)
    with hold(tmp_path / "lock"):
        pass


def test_children_of_the_holder_do_not_keep_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "lock"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with hold(tmp_path / "lock"):
        pass
    child.communicate(b"\n")


def test_the_lock_is_released_by_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "lock"):
        raise ZeroDivisionError
    with hold(tmp_path / "lock"):
        pass


def test_the_file_stays_so_that_all_lock_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path):
        inode = path.stat().st_ino
    with hold(path):
        assert path.stat().st_ino == inode


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=str(tmp_path)), hold(tmp_path):
        pass


def test_a_run_that_has_a_name_is_told_by_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path) as held:
        held.name("20260101-031700-0a1b2c")
        with pytest.raises(LockedError, match="20260101-031700-0a1b2c") as caught, hold(path):
            pytest.fail("held twice")
    assert caught.value.holder == f"run 20260101-031700-0a1b2c, process {os.getpid()}"
    with hold(path), pytest.raises(LockedError) as caught, hold(path):
        pytest.fail("held twice")
    assert caught.value.holder == f"another run (process {os.getpid()})", "the name was left"
