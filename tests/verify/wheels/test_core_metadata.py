"""Reading METADATA out of wheels, whatever they are."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from pypimirror.verify.wheels import core_metadata
from pypimirror.verify.wheels.core_metadata import read_metadata
from tests.corpus.build import make_wheel, pack_zip

METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"


def wheel(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "six-1.0-py3-none-any.whl"
    path.write_bytes(content)
    return path


def test_the_metadata_of_a_wheel(tmp_path: Path) -> None:
    _, content = make_wheel("six", "1.0", requires=["idna"])
    found = read_metadata(wheel(tmp_path, content))
    assert found is not None
    assert b"Requires-Dist: idna" in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        make_wheel("six", "1.0")[1][:-30],
        make_wheel("six", "1.0")[1][:200],
        pack_zip({"six/__init__.py": b""}),
        pack_zip({"deep/six-1.0.dist-info/METADATA": METADATA}),
        pack_zip({"six-1.0.dist-info/METADATA": METADATA, "a-1.dist-info/METADATA": METADATA}),
        pack_zip({"six-1.0.dist-info/metadata": METADATA}),
    ],
    ids=["empty", "html", "cut", "cut-short", "none", "deep", "two", "case"],
)
def test_a_strange_wheel_has_none(tmp_path: Path, content: bytes) -> None:
    assert read_metadata(wheel(tmp_path, content)) is None


def test_a_wheel_that_is_not_there_is_no_wheel_without_metadata(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_metadata(tmp_path / "none.whl")


def test_a_wrong_checksum_is_no_metadata(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("six-1.0.dist-info/METADATA", METADATA)
    content = buffer.getvalue().replace(b"Name: six", b"Name: sax")
    assert read_metadata(wheel(tmp_path, content)) is None


def test_a_bomb_costs_no_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_metadata, "_MAX_METADATA", 1000)
    bomb = pack_zip({"six-1.0.dist-info/METADATA": b" " * 100_000})
    assert read_metadata(wheel(tmp_path, bomb)) is None
    # A header that says less than there is.
    lying = bomb.replace((100_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    assert read_metadata(wheel(tmp_path, lying)) is None


def test_an_encrypted_member_is_no_metadata(tmp_path: Path) -> None:
    content = bytearray(pack_zip({"six-1.0.dist-info/METADATA": METADATA}))
    content[6] |= 1  # the flag, in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert read_metadata(wheel(tmp_path, bytes(content))) is None


def packed_by_zstd(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with core_metadata.zipfile.ZipFile(buffer, "w", 93) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_metadata_that_is_packed_by_zstd(tmp_path: Path) -> None:
    """uv installs such wheels, and pip on Python 3.14."""
    content = packed_by_zstd({"six-1.0.dist-info/METADATA": METADATA})
    assert read_metadata(wheel(tmp_path, content)) == METADATA


@pytest.mark.parametrize("method", [8, 12, 14, 93])
def test_damaged_metadata_is_none_and_never_another(tmp_path: Path, method: int) -> None:
    """Zipfile does not look at the end of a stream, and its own CRC-32 guards what it returns."""
    buffer = io.BytesIO()
    with core_metadata.zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("six-1.0.dist-info/METADATA", METADATA * 9)
    content = bytearray(buffer.getvalue())
    start = 30 + len("six-1.0.dist-info/METADATA")
    end = content.index(b"PK\1\2")
    found = []
    for at in range(start, end):
        broken = bytearray(content)
        broken[at] ^= 0xFF
        found.append(read_metadata(wheel(tmp_path, bytes(broken))))
    assert set(found) <= {None, METADATA * 9}
    assert found.count(None) > len(found) // 2
