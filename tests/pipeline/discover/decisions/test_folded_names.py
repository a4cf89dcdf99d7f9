"""Names that are one on some file systems: a fake of one that ignores case.

Promises 1, 2 and 9: whatever the upstream renames, a page names bytes with the digest that it says,
and nothing of what is live is removed with what is not.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypimirror.catalog.schema import files
from pypimirror.catalog.states import State
from pypimirror.domain.model import Reason
from tests.corpus.build import make_sdist
from tests.mirror import Mirror, reasons
from tests.pipeline.audit.test_audit import verify
from tests.simulator import IndexFile, Simulator


@pytest.fixture
def folding(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system keep one file for all spellings of a name below `packages/`.

    `--basetemp` on a file system that does so by itself tries that one.
    """
    (mirror.base / "a").touch()
    if (mirror.base / "A").exists():
        return
    packages = f"{mirror.root}/packages/"

    def folded(path: Any) -> Any:
        text = os.fspath(path) if isinstance(path, str | Path) else path
        if isinstance(text, str) and text.startswith(packages):
            return packages + text.removeprefix(packages).lower()
        return path

    for name in ("replace", "lstat", "stat", "open", "unlink", "scandir", "listdir"):
        real = getattr(os, name)

        def call(*arguments: Any, _real: Any = real, **more: Any) -> Any:
            return _real(*(folded(each) for each in arguments), **more)

        monkeypatch.setattr(os, name, call)


def dead_or_wrong(mirror: Mirror) -> list[str]:
    """What the page names and is not there with that digest, on such a file system."""
    found = []
    for file in mirror.page("foo")["files"]:
        path = mirror.root / "packages" / "foo" / file["filename"].lower()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
        if sha256 != file["hashes"]["sha256"]:
            found.append(file["filename"])
    return found


def rename(simulator: Simulator, old: str, new: str, content: bytes) -> None:
    """Offer a file under another spelling, with other bytes."""
    simulator.file(old).remove()
    simulator.add_file("foo", new, content)


@pytest.mark.usefixtures("folding")
def test_a_renamed_file_waits_until_the_bytes_of_the_old_name_are_gone(
    mirror: Mirror, simulator: Simulator
) -> None:
    old, new = "Foo-1.0.tar.gz", "foo-1.0.tar.gz"
    mirror.configure(delete={"grace": "0s", "max_share": 1.0})
    simulator.add_file("foo", old, make_sdist("foo", "1.0")[1])
    simulator.add_file("foo", *make_sdist("foo", "2.0"))
    mirror.sync(sound=False)
    rename(simulator, old, new, make_sdist("foo", "3.0")[1])
    mirror.configure(delete={"grace": "1h"})
    result = mirror.sync(sound=False)
    assert reasons(result.failures) == {new: Reason.DUPLICATE_NAME}
    assert "only by case" in result.failures[0].message
    assert mirror.files("foo") == ["foo-2.0.tar.gz"]
    assert dead_or_wrong(mirror) == []
    mirror.configure(delete={"grace": "0s"})
    mirror.sync(sound=False)  # removes the old bytes
    assert mirror.sync(sound=False).state == "completed"
    assert mirror.files("foo") == [new, "foo-2.0.tar.gz"]
    assert dead_or_wrong(mirror) == []
    mirror.sync(sound=False)
    assert dead_or_wrong(mirror) == []


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize("grace", ["0s", "1h"])
def test_a_name_that_goes_back_and_forth_never_leads_to_other_bytes(
    mirror: Mirror, simulator: Simulator, grace: str
) -> None:
    spellings = ("Foo-1.0.tar.gz", "foo-1.0.tar.gz", "FOO-1.0.tar.gz")
    mirror.configure(delete={"grace": grace, "max_share": 1.0})
    simulator.add_file("foo", *make_sdist("foo", "9.0"))
    simulator.add_file("foo", spellings[0], make_sdist("foo", "1.0")[1])
    mirror.sync(sound=False)
    for turn in range(1, 7):
        before, after = spellings[(turn - 1) % 3], spellings[turn % 3]
        rename(simulator, before, after, make_sdist("foo", f"1.{turn}")[1])
        for _ in range(2):
            mirror.sync(sound=False)
            assert dead_or_wrong(mirror) == []
            assert "foo-9.0.tar.gz" in mirror.files("foo")


OLD, NEW = "Foo-1.0.tar.gz", "foo-1.0.tar.gz"


def remember(mirror: Mirror, days: float) -> None:
    """Have the catalog say, as older versions let it, that another spelling was withdrawn."""
    columns = {column.name for column in files.columns} - {"id", "filename"}
    others = ", ".join(f'"{name}"' for name in sorted(columns))
    copied = f"SELECT ?, {others} FROM files WHERE filename = ?"
    mirror.query(f"INSERT INTO files (filename, {others}) {copied}", OLD, NEW)
    since = time.time() - days * 86_400
    withdrawn = "UPDATE files SET state = ?, withdrawn_at = ?, sha256 = ? WHERE filename = ?"
    mirror.query(withdrawn, int(State.WITHDRAWN), since, b"\1" * 32, OLD)


@pytest.fixture
def both(mirror: Mirror, simulator: Simulator) -> IndexFile:
    """A mirror of an older version, whose catalog has two spellings of a live file."""
    mirror.configure(delete={"grace": "1d"})
    file = simulator.add_file("foo", NEW, make_sdist("foo", "1.0")[1])
    mirror.sync(sound=False)
    remember(mirror, 2)
    return file


@pytest.mark.usefixtures("folding")
def test_what_expires_under_another_spelling_takes_no_bytes_of_what_is_live(
    mirror: Mirror, both: IndexFile
) -> None:
    assert mirror.sync(sound=False).state == "completed"
    assert dead_or_wrong(mirror) == []
    assert mirror.query("SELECT * FROM files WHERE withdrawn_at IS NOT NULL") == []
    assert verify(mirror).failures == []


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize("repair", [False, True])
def test_no_verification_calls_live_bytes_wrong_for_what_another_spelling_had(
    mirror: Mirror, both: IndexFile, repair: bool
) -> None:
    mirror.query("UPDATE files SET withdrawn_at = ? WHERE filename = ?", time.time(), OLD)
    assert verify(mirror, repair=repair).failures == []
    assert dead_or_wrong(mirror) == []


@pytest.mark.usefixtures("folding")
def test_bytes_of_another_spelling_in_a_live_place_are_mended(
    mirror: Mirror, both: IndexFile
) -> None:
    """As an older version left them: the page names one digest, the bytes have another."""
    other = make_sdist("foo", "9.0")[1]
    mirror.query("UPDATE files SET withdrawn_at = ? WHERE filename = ?", time.time(), OLD)
    of_old = "UPDATE files SET sha256 = ?, size = ? WHERE filename = ?"
    mirror.query(of_old, hashlib.sha256(other).digest(), len(other), OLD)
    mirror.path(both).write_bytes(other)
    assert reasons(verify(mirror).failures) == {NEW: Reason.DIGEST_MISMATCH}
    assert verify(mirror, repair=True).failures == []
    assert dead_or_wrong(mirror) == []
    assert mirror.files("foo") == [NEW]


@pytest.mark.usefixtures("folding")
def test_a_directory_that_lists_a_held_file_otherwise_holds_no_stranger(
    mirror: Mirror, both: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that replaces one of another spelling keeps the name that the directory had."""
    mirror.sync(sound=False)
    real = os.scandir

    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[Any]]:
        with real(path) as entries:
            yield (SimpleNamespace(name=e.name.replace(NEW, OLD), is_dir=e.is_dir) for e in entries)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "listdir", lambda path: [OLD])
    assert verify(mirror).failures == []


def test_two_spellings_that_the_directory_keeps_apart_are_two_files(
    mirror: Mirror, both: IndexFile
) -> None:
    if (mirror.path(both).parent / OLD).exists():
        pytest.skip("this file system keeps none apart")
    (mirror.path(both).parent / OLD).write_bytes(b"of old")
    mirror.sync(sound=False)
    assert not (mirror.path(both).parent / OLD).exists()
    assert mirror.holds(both)


def test_on_every_file_system_one_spelling_is_held_at_a_time(
    mirror: Mirror, simulator: Simulator
) -> None:
    """A mirror root may move to one that folds names."""
    simulator.add_file("foo", "Foo-1.0.tar.gz", make_sdist("foo", "1.0")[1])
    simulator.add_file("foo", *make_sdist("foo", "2.0"))
    mirror.configure(delete={"max_share": 1.0})
    mirror.sync()
    rename(simulator, "Foo-1.0.tar.gz", "foo-1.0.tar.gz", make_sdist("foo", "3.0")[1])
    assert reasons(mirror.sync().failures) == {"foo-1.0.tar.gz": Reason.DUPLICATE_NAME}
    rename(simulator, "foo-1.0.tar.gz", "Foo-1.0.tar.gz", make_sdist("foo", "1.0")[1])
    assert mirror.sync().failures == []
    assert mirror.files("foo") == ["Foo-1.0.tar.gz", "foo-2.0.tar.gz"]
