"""A catalog that can be read and not written: by another user, or on a disk that takes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pypimirror.catalog.database import SCHEMA_REVISION, Catalog, CatalogError
from pypimirror.catalog.engines.sqlite import SqliteReader
from tests.environment import isolated
from tests.mirror import Mirror, offer
from tests.powerless import powerless
from tests.simulator import Simulator

pytestmark = pytest.mark.sqlite  # PostgreSQL has users of its own

READING = (
    ("status",),
    ("status", "six"),
    ("runs",),
    ("runs", "show", "last"),
    ("explain", "six"),
    ("metrics",),
    ("quarantine",),
)


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    offer(simulator, "six", "1.0")
    made = Mirror(tmp_path, simulator)
    made.sync()
    return made


@contextmanager
def unwritable(directory: Path) -> Iterator[None]:
    """Let nobody write a directory, nor the files in it."""
    files = [path for path in directory.iterdir() if path.is_file()]
    for path in files:
        path.chmod(0o444)
    directory.chmod(0o555)
    try:
        yield
    finally:
        directory.chmod(0o755)
        for path in files:
            path.chmod(0o644)


def assert_all_answer(mirror: Mirror) -> None:
    for arguments in READING:
        outcome = powerless(*arguments, at=mirror.base)
        assert outcome.returncode == 0, (arguments, outcome.stderr)
        if arguments == ("metrics",):
            assert "pypimirror_catalog_up 1" in outcome.stdout


@pytest.mark.thorough
def test_who_can_read_it_and_not_write_it_gets_every_answer(mirror: Mirror) -> None:
    private = mirror.root / ".pypimirror"
    before = sorted(private.iterdir())
    with unwritable(private):
        assert_all_answer(mirror)
    assert sorted(private.iterdir()) == before


@pytest.mark.thorough
def test_also_while_somebody_writes_it_and_what_was_committed_is_seen(mirror: Mirror) -> None:
    private = mirror.root / ".pypimirror"
    with closing(sqlite3.connect(private / "catalog.sqlite")) as writer:
        writer.execute("UPDATE runs SET name = 'renamed'")
        writer.commit()
        assert (private / "catalog.sqlite-wal").stat().st_size
        with unwritable(private):
            assert_all_answer(mirror)
            assert "renamed" in powerless("runs", at=mirror.base).stdout


def test_a_log_that_cannot_be_read_is_not_passed_over(mirror: Mirror) -> None:
    """Without it, the database is what it was some time ago, or nothing sound at all."""
    private = mirror.root / ".pypimirror"
    with closing(sqlite3.connect(private / "catalog.sqlite")) as writer:
        writer.execute("UPDATE runs SET name = 'renamed'")
        writer.commit()
        shutil.copytree(private, copy := mirror.base / "copy")
    for name in ("catalog.sqlite", "catalog.sqlite-wal"):
        shutil.copy(copy / name, private / name)
    with unwritable(private):
        outcome = powerless("runs", at=mirror.base)
    assert (outcome.returncode, outcome.stdout) == (3, "")
    assert "cannot be read" in outcome.stderr


def test_what_changes_something_says_that_it_cannot(mirror: Mirror) -> None:
    with unwritable(mirror.root / ".pypimirror"):
        outcome = powerless("sync", "--inline", at=mirror.base)
    assert outcome.returncode == 3
    assert "Traceback" not in outcome.stderr


@pytest.mark.thorough
def test_who_may_not_even_read_it_is_told_so(mirror: Mirror) -> None:
    private = mirror.root / ".pypimirror"
    if os.geteuid() == 0:
        os.chown(private, 1234, 1234)
    else:
        private.chmod(0o000)
    try:
        for arguments in (("status",), ("metrics",), ("explain", "six"), ("sync", "--inline")):
            outcome = powerless(*arguments, at=mirror.base)
            assert "Traceback" not in outcome.stderr, outcome.stderr
            assert "fault of pypimirror" not in outcome.stderr
            if arguments == ("metrics",):
                assert "pypimirror_catalog_up 0" in outcome.stdout
            else:
                assert outcome.returncode == 3, outcome.stdout
                assert ".pypimirror" in outcome.stderr + outcome.stdout
    finally:
        private.chmod(0o700)


def test_an_older_schema_is_not_read_as_if_it_were_this_one(mirror: Mirror) -> None:
    private = mirror.root / ".pypimirror"
    with closing(sqlite3.connect(private / "catalog.sqlite")) as writer:
        writer.execute("UPDATE alembic_version SET version_num = '0001'")
        writer.commit()
    with unwritable(private):
        outcome = powerless("status", at=mirror.base)
    assert outcome.returncode == 3
    assert f"has schema 0001, but this version needs {SCHEMA_REVISION}" in " ".join(
        outcome.stderr.split()
    )


def test_nothing_is_written_through_it(mirror: Mirror) -> None:
    file = mirror.root / ".pypimirror/catalog.sqlite"
    catalog = Catalog(SqliteReader(file))
    with (
        closing(catalog),
        pytest.raises(Exception, match="readonly"),
        catalog.write() as connection,
    ):
        connection.run("DELETE FROM runs")


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_on_a_disk_that_is_full_or_read_only(mirror: Mirror, kind: str) -> None:
    """In a namespace of its own, so that the mount goes with the program."""
    place = mirror.base / "mirror"
    script = {
        "read-only": f"mount --bind {place} {place} && mount -o remount,ro,bind {place}",
        "full": f"mkdir {mirror.base}/m && mount -t tmpfs -o size=2m none {mirror.base}/m && "
        f"cp -a {place}/. {mirror.base}/m/ && "
        f"(head -c 4m /dev/zero > {mirror.base}/m/filler 2>/dev/null; true) && "
        f"mount --bind {mirror.base}/m {place}",
    }[kind]
    program = f"{sys.executable} -m pypimirror"
    commands = " && ".join(f"{program} {' '.join(a)}" for a in READING)
    outcome = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"({script}) || exit 77; {commands}"],
        cwd=mirror.base,
        env=isolated(),
        capture_output=True,
        text=True,
    )
    if outcome.returncode == 77 or outcome.stderr.startswith("unshare: "):
        pytest.skip("this machine lets nobody mount")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "pypimirror_catalog_up 1" in outcome.stdout


def test_a_catalog_that_is_damaged_is_not_taken_for_one_that_is_only_read(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(CatalogError, match="cannot be"):
        Catalog.open(f"sqlite:///{file}", reading=True)
