"""Bombs: by size, by ratio, by count, by time. They cost seconds, and no memory."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, Limits, Meter
from pypimirror.verify.structure import check_structure
from tests.corpus import build
from tests.verify.builders import (
    PKG_INFO,
    PROJECT,
    STEM,
    make_wheel,
    pack_tar,
    sdist_contents,
    zstd,
)
from tests.verify.helpers import check, message

SECONDS = 20.0  #: what a bomb may cost on a slow and busy machine


def too_large(content: bytes, filename: str, limits: Limits | None = None) -> str:
    started = time.thread_time()
    verdict = check(content, filename, limits=limits)
    assert time.thread_time() - started < SECONDS
    said = message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE, said
    return said


def zeros(size: int) -> bytes:
    """The header of a tar entry of zeros."""
    info = tarfile.TarInfo(f"{STEM}/zeros")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


BLOCK = bytes(1 << 24)


@pytest.mark.parametrize(
    ("ending", "one"),
    [
        (".tar.gz", lambda data: gzip.compress(data, 9)),
        (".tar.bz2", bz2.compress),
        (".tar.xz", lzma.compress),
        (".tar.zst", zstd.compress),
    ],
)
def test_bomb_by_ratio(ending: str, one: object) -> None:
    """100 GB of zeros: streams may follow each other, so that a bomb is quickly built."""
    assert callable(one)
    content = one(zeros(100 << 30)) + one(BLOCK) * 6000
    assert len(content) < 101 << 20
    said = too_large(content, f"{STEM}{ending}", Limits(ratio_floor=64 << 20, max_unpacked=1 << 28))
    assert "unpacks to" in said


def zip_bomb(entries: int, size: int) -> bytes:
    """A zip of entries of zeros, all of them packed alike."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(size)) + packer.flush()
    crc = zlib.crc32(bytes(size))
    body, directory = io.BytesIO(), io.BytesIO()
    for number in range(entries):
        name = b"%s/%08d" % (STEM.encode(), number)
        common = struct.pack("<5H3L2H", 20, 0, 8, 0, 33, crc, len(packed), size, len(name), 0)
        offset = body.tell()
        body.write(b"PK\3\4" + common + name + packed)
        directory.write(b"PK\1\2\x14\0" + common + struct.pack("<3H2L", 0, 0, 0, 0, offset) + name)
    rows = directory.getvalue()
    counts = (min(entries, 0xFFFF),) * 2
    end64 = b""
    if entries > 0xFFFF:
        record = (44, 45, 45, 0, 0, entries, entries, len(rows), body.tell())
        end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *record)
        end64 += struct.pack("<4sLQL", b"PK\6\7", 0, body.tell() + len(rows), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, len(rows), body.tell(), 0)
    return body.getvalue() + rows + end64 + end


def test_zip_bomb_by_ratio_is_refused_unread() -> None:
    assert "unpacks to" in too_large(zip_bomb(200, 16 << 20), f"{STEM}.zip")


def test_zip_bomb_that_lies_about_its_size_is_cut_short() -> None:
    content = bytearray(zip_bomb(1, 1 << 28))
    for at in (22, content.index(b"PK\1\2") + 24):
        struct.pack_into("<L", content, at, 1000)
    assert "more than it says" in message(check(bytes(content), f"{STEM}.zip"))


def test_bomb_by_count_in_a_zip() -> None:
    content = zip_bomb(100_000, 0)
    assert "more than 99999 entries" in too_large(
        content, f"{STEM}.zip", Limits(max_entries=99_999)
    )
    assert check(content, f"{STEM}.zip").entries == 100_000


@pytest.mark.thorough
def test_bomb_by_count_in_a_tar() -> None:
    one = tarfile.TarInfo(f"{STEM}/x").tobuf()
    content = gzip.compress(one * 300_000, 1)
    assert "more than 250000 entries" in too_large(content, f"{STEM}.tar.gz")


def test_bomb_by_count_of_streams() -> None:
    content = gzip.compress(b"", 1) * 100_000
    assert "compressed streams" in too_large(content, f"{STEM}.tar.gz", Limits(max_entries=50_000))


def test_time_is_bounded(tmp_path: Path) -> None:
    """By the clock that is handed in, so that this takes no time."""
    path = tmp_path / "file"
    for content, name in (
        (make_wheel(), f"{STEM}-py3-none-any.whl"),
        (gzip.compress(pack_tar(sdist_contents())), f"{STEM}.tar.gz"),
    ):
        path.write_bytes(content)
        ticks: Iterator[float] = itertools.count(0.0, 30.0)
        clock = ticks.__next__
        verdict = check_structure(path, name, PROJECT, clock=clock)
        assert "longer than 60 seconds" in message(verdict)


def test_clock_may_stop_the_work(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(make_wheel())
    calls = itertools.count()

    def clock() -> float:
        if next(calls) > 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        check_structure(path, f"{STEM}-py3-none-any.whl", PROJECT, clock=clock)


MEASURE = """
import resource, sys
from pathlib import Path
from pypimirror.verify.structure import check_structure
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
verdict = check_structure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
assert verdict.problem is None, verdict
print(peak() - before)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    """100 MB in one entry, which cost a few."""
    noise = os.urandom(1 << 20) * 100
    path = tmp_path / "file"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(f"{STEM}/noise", noise)
    else:
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(f"{STEM}/noise")
            info.size = len(noise)
            tar.addfile(info, io.BytesIO(noise))
        if ending == ".tar.gz":
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
    command = [sys.executable, "-c", MEASURE, str(path), f"{STEM}{ending}", PROJECT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 24, f"{done.stdout} MB"


@pytest.mark.thorough
def test_record_of_a_hundred_million_lines() -> None:
    """What is packed in a few kilobytes must not become a list."""
    files = {
        f"{STEM}.dist-info/METADATA": PKG_INFO,
        f"{STEM}.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
        f"{STEM}.dist-info/RECORD": b"a,,\n" * (25 << 20),
    }
    started = time.thread_time()
    said = message(check(build.pack_zip(files), f"{STEM}-py3-none-any.whl"))
    assert "too many lines" in said
    assert time.thread_time() - started < SECONDS


def test_record_with_too_many_rows_is_too_large() -> None:
    rows = b"".join(b"%d,sha256=x,1\n" % number for number in range(50))
    files = {
        f"{STEM}.dist-info/METADATA": PKG_INFO,
        f"{STEM}.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
        f"{STEM}.dist-info/RECORD": rows,
    }
    limits = Limits(max_entries=20)
    said = too_large(build.pack_zip(files), f"{STEM}-py3-none-any.whl", limits)
    assert "lines in its RECORD" in said


def test_small_archives_get_less_time_than_large_ones() -> None:
    limits = Limits(min_seconds=10.0, seconds_per_megabyte=1.0, max_seconds=100.0)
    for packed, seconds in ((0, 10.0), (50_000_000, 60.0), (1 << 40, 100.0)):
        times = iter([0.0, seconds, seconds + 1])
        meter = Meter(limits, packed, times.__next__)
        meter.tick()
        with pytest.raises(ArchiveError, match="takes longer"):
            meter.tick()
