"""Zip archives, as such: what `zipfile` would pass over."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import Limits
from tests.corpus import build
from tests.verify.builders import PKG_INFO, STEM, sdist_contents, text
from tests.verify.helpers import check, message

NAME = f"{STEM}.zip"
GOOD = build.pack_zip(sdist_contents())
CENTRAL = GOOD.index(b"PK\1\2")
END = GOOD.index(b"PK\5\6")
SECOND = GOOD.index(b"PK\3\4", 4)


def said(content: bytes) -> str:
    return message(check(content, NAME))


def changed(at: int, value: bytes, content: bytes = GOOD) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def written(
    method: int = zipfile.ZIP_DEFLATED, *, seekable: bool = True, wide: bool = False
) -> bytes:
    """A zip as `zipfile` writes it, to a pipe or with fields of 64 bits."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return seekable

        def tell(self) -> int:
            if not seekable:
                raise OSError
            return super().tell()

    buffer = Pipe()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {f"{STEM}/PKG-INFO": PKG_INFO, f"{STEM}/large": text(20000)}.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=wide) as entry:
                entry.write(data)
    return buffer.getvalue()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_reads_what_zipfile_writes(method: int, seekable: bool, wide: bool) -> None:
    content = written(method, seekable=seekable, wide=wide)
    verdict = check(content, NAME)
    assert verdict.problem is None
    assert verdict.unpacked == len(PKG_INFO) + len(text(20000))
    for cut in (30, len(content) // 2, len(content) - 30):
        said(content[:cut] + content[cut + 1 :])


def test_reads_zstd_entries() -> None:
    """As Python 3.14 writes them."""
    from tests.verify.builders import zstd

    stored = zipfile.ZipInfo(f"{STEM}/PKG-INFO")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(stored, packed := zstd.compress(PKG_INFO))
    content = bytearray(buffer.getvalue())
    for at, offset in ((0, 8), (content.index(b"PK\1\2"), 10)):
        struct.pack_into("<H", content, at + offset, 93)
        struct.pack_into(
            "<LLL", content, at + offset + 6, zlib.crc32(PKG_INFO), len(packed), len(PKG_INFO)
        )
    assert check(bytes(content), NAME).problem is None
    content[content.index(packed) + len(packed) - 2] ^= 0xFF
    said(bytes(content))


def test_reads_zip64_end_records() -> None:
    size, offset = END - CENTRAL, CENTRAL
    count = len(sdist_contents())
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, END, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    good = GOOD[:END] + record + locator + end
    assert check(good, NAME).problem is None
    assert check(GOOD[:END] + record + locator + GOOD[END:], NAME).problem is None
    for at in (0, 4, 16, 24, 32, 40, 48, 56, 56 + 8):
        assert "zip" in said(changed(END + at, bytes([good[END + at] ^ 4]), good))
    lying = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count - 1, count - 1, size, offset, 0)
    assert "contradict" in said(GOOD[:END] + record + locator + lying)


def test_comment_counts_as_data() -> None:
    comment = b"made by hand"
    good = GOOD[:-2] + struct.pack("<H", len(comment)) + comment
    assert check(good, NAME).problem is None
    assert "truncated in the end record" in said(good[:-1])
    assert "something behind the end record" in said(good + b"x")
    trap = GOOD[:-2] + struct.pack("<H", len(GOOD) - END) + GOOD[END:]
    said(trap)  # two end records: which one counts depends on the tool


@pytest.mark.parametrize(
    ("offset", "what"),
    [
        (6, "flags"),
        (8, "method"),
        (10, "time"),
        (14, "crc"),
        (18, "packed"),
        (22, "size"),
        (30, "name"),
    ],
)
@pytest.mark.parametrize("central", [False, True])
def test_header_that_contradicts_the_directory_is_refused(
    offset: int, what: str, central: bool
) -> None:
    at = CENTRAL + offset + (16 if what == "name" else 2) if central else offset
    assert "entr" in said(changed(at, bytes([GOOD[at] ^ 2])))


def test_duplicate_entries_are_refused() -> None:
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(f"{STEM}/setup.py", b"evil")
    assert "two entries" in said(buffer.getvalue())


@pytest.mark.parametrize(
    "name", [f"{STEM}/./setup.py", f"./{STEM}/setup.py", f"{STEM}//setup.py", f"{STEM}/setup.py/"]
)
def test_duplicates_under_other_spellings_are_refused(name: str) -> None:
    assert "two entries" in said(build.pack_zip({**sdist_contents(), name: b""}))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../evil", "climbs out"),
        ("a/../../evil", "climbs out"),
        ("/etc/passwd", "absolute"),
        ("C:/evil", "absolute"),
        ("a\\b", "backslash"),
        ("..\\evil", "climbs out"),
        ("x" * 5000, "more than 4096"),
    ],
)
def test_names_that_climb_out_are_refused(name: str, fault: str) -> None:
    assert fault in said(build.pack_zip({**sdist_contents(), name: b"x"}))


def test_name_with_a_nul_is_refused() -> None:
    content = build.pack_zip({**sdist_contents(), "evilXname": b"x"})
    assert "NUL" in said(content.replace(b"evilXname", b"evil\0name"))


def test_name_that_is_not_utf8_is_refused() -> None:
    content = build.pack_zip({**sdist_contents(), "grüße": b"x"})
    assert "not UTF-8" in said(content.replace("ü".encode(), b"\xff\xff"))


def test_second_name_of_infozip_climbs_no_better() -> None:
    info = zipfile.ZipInfo(f"{STEM}/harmless")
    for name, fault in (("../evil", "climbs"), ("a\\b", "backslash"), ("fine", "")):
        field = b"\1" + struct.pack("<L", zlib.crc32(info.filename.encode())) + name.encode()
        info.extra = struct.pack("<HH", 0x7075, len(field)) + field
        buffer = io.BytesIO(GOOD)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(info, b"x")
        if fault:
            assert fault in said(buffer.getvalue())
        else:
            assert check(buffer.getvalue(), NAME).problem is None


@pytest.mark.parametrize("bit", [0x1, 0x20, 0x40, 0x2000])
def test_encrypted_entries_are_refused(bit: int) -> None:
    content = bytearray(GOOD)
    for at in (6, CENTRAL + 8):
        struct.pack_into("<H", content, at, struct.unpack_from("<H", content, at)[0] | bit)
    assert "encrypted" in said(bytes(content))


def test_method_that_python_cannot_unpack_is_refused() -> None:
    content = bytearray(GOOD)
    for at in (8, CENTRAL + 10):
        struct.pack_into("<H", content, at, 9)
    assert "method 9" in said(bytes(content))


def test_version_that_python_cannot_unpack_is_refused() -> None:
    assert "newer zip" in said(changed(CENTRAL + 6, b"\x40"))


def test_wrong_crc_is_refused_where_both_places_agree_on_it() -> None:
    content = bytearray(GOOD)
    for at in (14, CENTRAL + 16):
        content[at] ^= 1
    assert "wrong CRC" in said(bytes(content))


@pytest.mark.parametrize("delta", [-1, 1, 1 << 20])
def test_wrong_size_is_refused_where_both_places_agree_on_it(delta: int) -> None:
    content = bytearray(GOOD)
    for at in (22, CENTRAL + 24):
        struct.pack_into("<L", content, at, len(PKG_INFO) + delta)
    assert "entry" in said(bytes(content))


def test_gap_between_entries_is_refused() -> None:
    gap = b"hidden" * 10
    content = bytearray(GOOD[:SECOND] + gap + GOOD[SECOND:])
    end = END + len(gap)
    at = CENTRAL + len(gap)
    while content[at : at + 4] == b"PK\1\2":
        offset = struct.unpack_from("<L", content, at + 42)[0]
        struct.pack_into("<L", content, at + 42, offset + len(gap) * (offset > 0))
        at += 46 + sum(struct.unpack_from("<HHH", content, at + 28))
    struct.pack_into("<L", content, end + 16, CENTRAL + len(gap))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        assert archive.testzip() is None
    assert "unaccounted for" in said(bytes(content))


def test_gap_before_the_directory_is_refused() -> None:
    content = bytearray(GOOD[:CENTRAL] + b"hidden" + GOOD[CENTRAL:])
    struct.pack_into("<L", content, END + 6 + 16, CENTRAL + 6)
    assert "unaccounted for" in said(bytes(content))


def test_overlapping_entries_are_refused() -> None:
    """The bomb that unpacks one entry's bytes again and again."""
    content = bytearray(GOOD)
    second = GOOD.index(b"PK\1\2", CENTRAL + 4)
    struct.pack_into("<L", content, second + 42, 0)
    assert "reaches into the next one" in said(bytes(content))
    content = bytearray(GOOD)
    struct.pack_into("<L", content, 18, SECOND)
    struct.pack_into("<L", content, CENTRAL + 20, SECOND)
    assert "reaches into the next one" in said(bytes(content))


def test_entry_behind_the_directory_is_refused() -> None:
    assert "behind the directory" in said(changed(CENTRAL + 42, b"\xfe\xff\xff\x7f"))


def test_something_in_front_is_refused() -> None:
    content = bytearray(b"x" * 10 + GOOD)
    said(bytes(content))
    content[:4] = b"PK\3\4"
    assert "in front of its zip" in said(bytes(content))


def test_directory_entry_with_contents_is_refused() -> None:
    assert "yet has contents" in said(build.pack_zip({**sdist_contents(), f"{STEM}/d/": b"x"}))
    assert check(build.pack_zip({**sdist_contents(), f"{STEM}/d/": b""}), NAME).problem is None


@pytest.mark.parametrize("count", [0, 3, 5, 0xFFFF])
def test_wrong_number_of_entries_is_refused(count: int) -> None:
    said(changed(END + 8, struct.pack("<HH", count, count)))


@pytest.mark.parametrize("at", [4, 6])
def test_one_of_several_parts_is_refused(at: int) -> None:
    assert "one part of" in said(changed(END + at, b"\1"))


def test_broken_extra_field_is_refused() -> None:
    info = zipfile.ZipInfo("x")
    info.extra = struct.pack("<HH", 0x5455, 100) + b"short"
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(info, b"x")
    assert "broken extra field" in said(buffer.getvalue())


def test_without_entries_is_refused() -> None:
    assert "without entries" in said(GOOD[END : END + 8] + bytes(14))


def test_large_directory_is_too_large() -> None:
    verdict = check(GOOD, NAME, limits=Limits(max_directory=100))
    assert "zip directory of" in message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("method", [8, 12, 14, 93, 99])
def test_a_directory_without_bytes_may_be_marked_as_packed(method: int) -> None:
    """Its contents are nothing, so that pip, uv and installer unpack no stream."""
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        for name, data in {f"{STEM}/": b"", **sdist_contents()}.items():
            archive.writestr(name, data)
    content = bytearray(plain.getvalue())
    whole = bytes(content)
    assert whole[18:26] == bytes(8), "stored: no bytes"
    for at in (8, whole.index(b"PK\1\2") + 10):
        content[at : at + 2] = struct.pack("<H", method)
    assert check(bytes(content), f"{STEM}.zip").proof == "structure"
