"""Which holder is alive and which is dead, as far as another process can tell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pypimirror.catalog.holder import Fate, Holder, Machine, this_machine, this_process

HERE = Machine(host="one", id="m1", boot="b1", namespace="pid:[1]")


@pytest.fixture
def ended() -> Iterator[Holder]:
    """A process of this machine that has ended, and that its parent has not heard of yet."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    status = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield Holder(this_machine(), process.pid, int(status[19]), "t")
    process.communicate()


def test_this_process_is_alive() -> None:
    me = this_process(this_machine())
    assert me.fate(this_machine()) is Fate.ALIVE
    assert me != this_process(this_machine())


def test_a_process_that_has_ended_is_dead_also_before_its_parent_asks(ended: Holder) -> None:
    assert ended.fate(this_machine()) is Fate.DEAD


def test_another_process_with_the_same_number_is_not_taken_for_the_holder() -> None:
    me = this_process(this_machine())
    assert msgspec.structs.replace(me, started=me.started + 1).fate(this_machine()) is Fate.DEAD


@pytest.mark.parametrize(
    ("there", "fate"),
    [
        # Started again since.
        (Machine("one", "m1", "b2", "pid:[1]"), Fate.DEAD),
        # A host name or a machine id alone is shared by containers and copies.
        (Machine("one", "m2", "b2", "pid:[1]"), Fate.UNKNOWN),
        (Machine("one", "", "b2", "pid:[1]"), Fate.UNKNOWN),
        (Machine("two", "m1", "b2", "pid:[1]"), Fate.UNKNOWN),
        # Another container on this machine, whatever it is called.
        (Machine("one", "m1", "b1", "pid:[2]"), Fate.UNKNOWN),
        (Machine("two", "", "b1", "pid:[2]"), Fate.UNKNOWN),
        (Machine("one", "m1", "b1", ""), Fate.UNKNOWN),
        # A system that tells neither boots nor starts.
        (Machine("one", "", "", ""), Fate.UNKNOWN),
    ],
)
def test_what_cannot_be_told_is_not_guessed(there: Machine, fate: Fate) -> None:
    assert Holder(there, os.getpid(), 1, "t").fate(HERE) is fate


def test_without_proc_a_number_that_nobody_has_is_dead(ended: Holder) -> None:
    bare = Machine("one")
    ended_for_good = 2**22 + 1  # above every kernel's highest number
    assert Holder(bare, ended_for_good, 0, "t").fate(bare) is Fate.DEAD
    assert Holder(bare, os.getpid(), 0, "t").fate(bare) is Fate.UNKNOWN
