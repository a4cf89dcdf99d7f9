"""The list of changes, which several processes make together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pypimirror.storage.changes import Changes, Journal

_CHILD = """
import sys
from pathlib import Path
from pypimirror.storage.changes import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(200):
    for part in range(50):
        journal.add("added", f"{sys.argv[2]}/{number}/{part}")
    journal.flush()
"""


def test_the_notes_of_two_processes_do_not_mix_and_keep_their_order(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "list", "lines", tmp_path / "journal")
    started = [
        subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path / "journal"), name])
        for name in ("one", "two")
    ]
    assert [each.wait() for each in started] == [0, 0]
    changes.add("changed", "simple/index.html")
    changes.close()
    lines = (tmp_path / "list").read_text().splitlines()
    assert lines.pop() == "simple/index.html"
    for name in ("one", "two"):
        expected = [f"{name}/{number}/{part}" for number in range(200) for part in range(50)]
        assert [line for line in lines if line.startswith(name)] == expected
    assert len(lines) == 20_000


def test_a_line_that_a_dead_process_left_half_written_spoils_no_other(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "list", "lines", tmp_path / "journal")
    with (tmp_path / "journal").open("a") as half:
        half.write('{"change": "add')
    other = Journal(tmp_path / "journal")
    other.add("added", "packages/a/1")
    other.close()
    changes.close()
    assert (tmp_path / "list").read_text() == "packages/a/1\n"
