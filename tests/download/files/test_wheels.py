"""Core metadata of wheels in the download worker: what the verification worker says, or nothing."""

from __future__ import annotations

import io
import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypimirror.download.files import wheels
from pypimirror.download.files.wheels import simple_metadata
from pypimirror.verify.wheels.core_metadata import read_metadata
from tests.corpus.build import make_wheel, pack_zip

METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"
NAME = "six-1.0.dist-info/METADATA"


def simple(path: Path, content: bytes) -> bytes | None:
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return simple_metadata(descriptor, len(content))
    finally:
        os.close(descriptor)


def packed(method: int = zipfile.ZIP_DEFLATED, before: bytes = b"", after: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("six/before.py", before)
        archive.writestr(NAME, METADATA)
        archive.writestr("six/after.py", after)
    return buffer.getvalue()


NOISE = random.Random(1).randbytes(300_000)
CUT_NAME = pack_zip({NAME: METADATA, "six/before.py": b""}).replace(b"before", b"bef\0re")
#: As setuptools does.
VENDORING = pack_zip({f"six/_vendor/{NAME}": b"Name: other\n", NAME: METADATA})


@pytest.mark.parametrize(
    "content",
    [
        make_wheel("six", "1.0")[1],
        packed(zipfile.ZIP_STORED),
        packed(before=NOISE),
        packed(after=NOISE),
        VENDORING,
    ],
    ids=["usual", "stored", "large", "far-from-the-end", "vendoring"],
)
def test_a_usual_wheel_is_simple(tmp_path: Path, content: bytes) -> None:
    found = simple(tmp_path / "1.part", content)
    assert found is not None
    assert found == read_metadata(tmp_path / "1.part")


def with_comment() -> bytes:
    content = bytearray(packed())
    content[-2:] = (5).to_bytes(2, "little")
    return bytes(content) + b"hello"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\5\6" + bytes(18),
        packed()[:-1],
        packed() + b"behind",
        b"before" + packed(),
        with_comment(),
        pack_zip({"six/__init__.py": b""}),
        pack_zip({NAME: METADATA, "a-1.dist-info/METADATA": METADATA}),
        pack_zip({"deep/" + NAME: METADATA}),
        CUT_NAME,
        pack_zip({".dist-info/METADATA": METADATA}),
        pack_zip({NAME: METADATA, "six/ä.py": b""}),
        packed(zipfile.ZIP_STORED).replace(b"Name", b"Nome"),
    ],
    ids=[
        "empty",
        "bare",
        "cut",
        "behind",
        "before",
        "comment",
        "none",
        "two",
        "deep",
        "cut-name",
        "nameless",
        "foreign",
        "checksum",
    ],
)
def test_what_is_unusual_is_left_to_others(tmp_path: Path, content: bytes) -> None:
    assert simple(tmp_path / "1.part", content) is None


def test_a_bomb_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "LARGEST", 1000)
    bomb = pack_zip({NAME: b" " * 100_000})
    assert simple(tmp_path / "1.part", bomb) is None
    # A directory that says less than there is.
    lying = bomb.replace((100_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    assert simple(tmp_path / "1.part", lying) is None


def test_a_directory_that_is_large_is_left_to_others(tmp_path: Path) -> None:
    many = {f"six/{number:0>200}.py": b"" for number in range(400)}
    assert simple(tmp_path / "1.part", pack_zip({**many, NAME: METADATA})) is None


@settings(max_examples=150, deadline=None)
@given(
    content=st.sampled_from(
        [packed(), packed(zipfile.ZIP_STORED), make_wheel("six", "1.0")[1], VENDORING]
    ),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_never_another_answer_than_the_thorough_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for place, value in changes:  # counted from the end, where the directory is
        damaged[-1 - place % len(damaged)] = value
    path = tmp_path_factory.getbasetemp() / f"{os.getpid()}.part"
    found = simple(path, bytes(damaged))
    assert found is None or found == read_metadata(path)
