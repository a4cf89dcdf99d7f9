"""`verify --quick` goes by looks, `verify` by every byte; both see what was touched by others."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import statistics
from pypimirror.domain.layout import METADATA_SUFFIX
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator

QUICK = ("verify", "--quick", "--json")
HASH = ("verify", "--json")


@pytest.fixture
def seen(run: Command, mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror that was just seen to be right."""
    offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    assert run(*QUICK).code == 0
    return mirror


def test_syncs_in_between_change_nothing(seen: Mirror, run: Command, simulator: Simulator) -> None:
    """What a sync brings is known to be right without a verification."""
    offer(simulator, "six", "3.0")
    assert run("sync", "--inline").code == 0
    found = run(*QUICK).json
    assert (found["counts"]["files_checked"], found["counts"]["bytes_checked"]) == (4, 0)
    simulator.project("six").remove_release("1.0")
    assert run("sync", "--inline").code == 0
    assert run(*QUICK).json["failures"] == []


def page(mirror: Mirror) -> Path:
    return mirror.root / "simple" / "six" / "index.html"


def file(mirror: Mirror) -> Path:
    return min((mirror.root / "packages" / "six").glob("*.whl"))


def rewrite(path: Path) -> None:
    """Write a file anew, with the same bytes: only to read them tells that they are right."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


#: What others do to a mirror, and the exit code that tells it.
TOUCHED: dict[str, tuple[Callable[[Mirror], object], int]] = {
    "a file is written again": (lambda m: rewrite(file(m)), 0),
    "a file is altered": (lambda m: file(m).write_bytes(b"x"), 1),
    "a file is lost": (lambda m: file(m).unlink(), 1),
    "core metadata is lost": (lambda m: Path(f"{file(m)}{METADATA_SUFFIX}").unlink(), 1),
    "a stranger is among the files": (lambda m: (file(m).parent / "stranger").touch(), 1),
    "a directory of strangers": (
        lambda m: (m.root / "packages/z").mkdir() or (m.root / "packages/z/z").touch(),
        1,
    ),
    "a page is altered": (lambda m: page(m).write_bytes(b"x"), 1),
    "a page is lost": (lambda m: page(m).unlink(), 1),
    "a page too many": (lambda m: (page(m).parent / "index.xml").touch(), 1),
    "a root index is altered": (lambda m: (m.root / "simple/index.html").write_bytes(b""), 1),
    "a page is written again": (lambda m: rewrite(page(m)), 0),
}


@pytest.mark.parametrize(
    "how", sample(TOUCHED, "a file is altered", "a page is altered", "a page too many")
)
def test_whatever_was_touched_is_looked_at(seen: Mirror, run: Command, how: str) -> None:
    touch, code = TOUCHED[how]
    touch(seen)
    assert run(*QUICK).code == code


def test_every_byte_is_read_and_every_proof_renewed(seen: Mirror, run: Command) -> None:
    told = run(*HASH)
    assert told.json["counts"]["bytes_checked"] > 0
    proven = seen.query("SELECT DISTINCT proven_at FROM files")
    started = seen.query("SELECT max(started_at) AS at FROM runs")
    assert [row["proven_at"] for row in proven] == [started[0]["at"]]
    with closing(Catalog.open(seen.config.catalog_url)) as catalog, catalog.read() as connection:
        kept = statistics.last(connection)
        assert kept is not None
        counted = statistics.take(connection, kept.at)
    assert kept == msgspec.structs.replace(counted, took=kept.took)
    assert kept.oldest_proof == started[0]["at"]


def flip(path: Path) -> None:
    """Alter a byte and nothing else that can be seen, as a rotten disk does."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["file", "metadata", "page", "json page", "root index"])
def test_a_flipped_bit_is_seen(seen: Mirror, run: Command, what: str) -> None:
    assert run(*HASH).code == 0
    flip(
        {
            "file": file(seen),
            "metadata": Path(f"{file(seen)}{METADATA_SUFFIX}"),
            "page": page(seen),
            "json page": page(seen).with_name("index.v1_json"),
            "root index": seen.root / "simple" / "index.html",
        }[what]
    )
    assert run(*QUICK).code == 0  # by looks, nothing has happened
    assert run(*HASH).code == 1
