"""Compressed streams, as such."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable

import pytest

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, Limits, Meter
from pypimirror.verify.archives.streams import BZIP2, GZIP, XZ, ZSTD, Kind, PieceReader, Unpacked
from tests.verify.builders import STEM, make_sdist, text, zstd
from tests.verify.helpers import check, message

PACK: list[tuple[Kind, Callable[[bytes], bytes]]] = [
    (GZIP, gzip.compress),
    (BZIP2, bz2.compress),
    (XZ, lzma.compress),
    (ZSTD, zstd.compress),
]
KINDS = pytest.mark.parametrize(("kind", "pack"), PACK, ids=[kind.name for kind, _ in PACK])


def unpack(kind: Kind, data: bytes, limits: Limits | None = None) -> tuple[bytes, bool]:
    meter = Meter(limits or Limits(), len(data))
    unpacked = Unpacked(io.BytesIO(data), kind, meter)
    found = b"".join(unpacked)
    assert meter.unpacked == len(found)
    return found, unpacked.checked


@KINDS
@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 3_000_000])
def test_unpacks_what_was_packed(kind: Kind, pack: Callable[[bytes], bytes], size: int) -> None:
    for data in (bytes(size), text(size // 30 + 1)[:size]):
        assert unpack(kind, pack(data))[0] == data


@KINDS
def test_several_streams_are_one(kind: Kind, pack: Callable[[bytes], bytes]) -> None:
    parts = [text(3000), b"", bytes(400_000), b"end"]
    assert unpack(kind, b"".join(map(pack, parts)))[0] == b"".join(parts)


@KINDS
def test_second_stream_truncated_is_refused(kind: Kind, pack: Callable[[bytes], bytes]) -> None:
    second = pack(b"second")
    for cut in (1, 3, len(second) - 1):
        with pytest.raises(ArchiveError, match=r"truncated|something else behind|broken"):
            unpack(kind, pack(b"first") + second[:cut])


@KINDS
def test_too_many_streams_are_refused(kind: Kind, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ArchiveError, match="more than 10 compressed streams"):
        unpack(kind, pack(b"") * 11, Limits(max_entries=10))


@pytest.mark.parametrize(("kind", "pack"), PACK[:2], ids=["gzip", "bzip2"])
@pytest.mark.parametrize("zeros", [1, 511, 10240, 300_000])
def test_zeros_may_fill_up_gzip_and_bzip2_to_the_end(
    kind: Kind, pack: Callable[[bytes], bytes], zeros: int
) -> None:
    """As tar of macOS and FreeBSD does, and as all tools read it."""
    one = pack(b"one")
    assert unpack(kind, one + one + bytes(zeros))[0] == b"oneone"
    for more in (one, b"x", b"\n", b"\x1f", b"\x1f\x8b", b"BZh"):
        with pytest.raises(ArchiveError, match="something else behind"):
            unpack(kind, one + bytes(zeros) + more)


def test_zeros_behind_zstd_are_refused() -> None:
    for length in (1, 4, 512):
        with pytest.raises(ArchiveError, match="behind its zstd stream"):
            unpack(ZSTD, zstd.compress(b"one") + bytes(length))


def test_xz_may_be_padded_in_fours() -> None:
    one = lzma.compress(b"one")
    assert unpack(XZ, one + bytes(8) + one + bytes(4))[0] == b"oneone"
    for length in (1, 2, 3, 5):
        with pytest.raises(ArchiveError, match="behind its xz stream"):
            unpack(XZ, one + bytes(length))


def test_xz_without_a_check_says_so() -> None:
    for form, checked in (
        (lzma.CHECK_NONE, False),
        (lzma.CHECK_CRC32, True),
        (lzma.CHECK_CRC64, True),
        (lzma.CHECK_SHA256, True),
    ):
        assert unpack(XZ, lzma.compress(b"x", check=form))[1] is checked


def test_zstd_without_a_checksum_says_so() -> None:
    checksum = zstd.CompressionParameter.checksum_flag
    plain = zstd.compress(b"x", options={checksum: 0})
    summed = zstd.compress(b"x", options={checksum: 1})
    assert unpack(ZSTD, summed)[1] is True
    assert unpack(ZSTD, plain)[1] is False
    assert unpack(ZSTD, summed + plain + summed)[1] is False


def test_zstd_may_have_frames_to_skip() -> None:
    skipped = b"\x53\x2a\x4d\x18\x03\0\0\0abc"
    assert unpack(ZSTD, skipped + zstd.compress(b"x") + skipped)[0] == b"x"


def test_sdist_without_checksum_is_partial() -> None:
    tar = gzip.decompress(make_sdist(".tar.gz"))
    plain = zstd.compress(tar, options={zstd.CompressionParameter.checksum_flag: 0})
    assert check(plain, f"{STEM}.tar.zst").proof == "partial"
    unsafe = lzma.compress(tar, check=lzma.CHECK_NONE)
    assert check(unsafe, f"{STEM}.tar.xz").proof == "partial"


def xz_with_window(size: int) -> bytes:
    """An xz stream that demands a window of a size, as xz encodes sizes."""
    data = bytearray(lzma.compress(b"x"))
    end = 12 + 4 * (data[12] + 1) - 4  # of the first block's header, where its CRC starts
    assert data[14] == 0x21
    data[16] = size
    data[end : end + 4] = zlib.crc32(data[12:end]).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".tar.xz", xz_with_window(40)),  # of 4 GiB
        (".tar.lzma", b"\x5d" + (1 << 31).to_bytes(4, "little") + b"\xff" * 8 + bytes(20)),
        (".tar.zst", b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(20)),  # a window of 2 GiB
    ],
)
def test_a_window_too_large_is_refused_before_it_is_made(ending: str, content: bytes) -> None:
    verdict = check(content, f"{STEM}{ending}")
    assert "memory" in message(verdict) or "indow" in message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE


def test_gzip_header_crc_and_length_are_checked() -> None:
    good = bytearray(make_sdist(".tar.gz"))
    for at in (-8, -1):
        bad = bytearray(good)
        bad[at] ^= 1
        assert "gzip" in message(check(bytes(bad), f"{STEM}.tar.gz"))
    body = good[10:]
    with_crc = bytes(good[:3] + b"\x02" + good[4:10])
    crc = zlib.crc32(with_crc) & 0xFFFF
    assert check(with_crc + crc.to_bytes(2, "little") + body, f"{STEM}.tar.gz").problem is None
    message(check(with_crc + (crc ^ 1).to_bytes(2, "little") + body, f"{STEM}.tar.gz"))


def test_reader_reads_across_pieces() -> None:
    data = text(200)
    reader = PieceReader(iter([data[:1], data[1:5], data[5:6], data[6:]]))
    assert reader.read(0) == b""
    assert reader.read(3) == data[:3]
    assert b"".join(reader.pieces(4)) == data[3:7]
    assert reader.read(10) == data[7:17]
    assert reader.read(1 << 20) == data[17:]
    assert reader.read(1) == b""
