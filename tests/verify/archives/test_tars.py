"""Tar archives, as such."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import ArchiveError, Limits, Meter
from pypimirror.verify.archives.tars import Member, walk_tar
from tests.verify.builders import PKG_INFO, STEM, pack_tar, sdist_contents, text
from tests.verify.helpers import check, message

Edit = Callable[[tarfile.TarInfo], None]


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> bytes:
    """A tar of one entry, without its end."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info.tobuf(tarfile.GNU_FORMAT)


def sdist_with(more: bytes) -> bytes:
    """A tar of a PKG-INFO and something else."""
    start = tarfile.TarInfo(f"{STEM}/PKG-INFO")
    start.size = len(PKG_INFO)
    return start.tobuf() + PKG_INFO.ljust(512, b"\0") + more + bytes(1024)


def said(content: bytes) -> str:
    return message(check(content, f"{STEM}.tar"))


def walk(data: bytes, piece: int = 1 << 20) -> list[tuple[str, bytes]]:
    """Names and contents of the entries of a tar that comes in pieces."""
    found: list[tuple[str, list[bytes]]] = []

    def visit(member: Member) -> Callable[[bytes], object]:
        found.append((member.name, []))
        return found[-1][1].append

    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    walk_tar(pieces, Meter(Limits(), len(data)), visit)
    return [(name, b"".join(parts)) for name, parts in found]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("piece", [1, 511, 512, 700, 1 << 20])
def test_reads_what_tarfile_writes(form: int, piece: int) -> None:
    deep = "/".join(["directory"] * 12)
    contents = {**sdist_contents(), f"{deep}/file": text(40), "empty": b""}
    if form != tarfile.USTAR_FORMAT:
        contents |= {"x" * 300: b"long", "grüße/日本": b"names"}
    assert walk(pack_tar(contents, form), piece) == list(contents.items())


def test_pax_global_headers_and_sizes() -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "abc"}
    ) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"size": "3", "mtime": "1.5"}
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    assert walk(buffer.getvalue()) == [("a", b"abc")]


def test_v7_directories_end_with_a_slash() -> None:
    block = bytearray(entry("directory", tarfile.AREGTYPE))
    block[:100] = b"directory/".ljust(100, b"\0")
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert walk(bytes(block) + bytes(1024)) == [("directory", b"")]


def test_signed_checksums_of_old_systems() -> None:
    block = bytearray(entry("naïve"))
    block[148:156] = b" " * 8
    signed = sum(byte - 256 * (byte > 127) for byte in block)
    block[148:156] = b"%06o\0 " % signed
    assert walk(bytes(block) + bytes(1024)) == [("naïve", b"")]


def test_gnu_sparse_files() -> None:
    block = bytearray(entry("sparse", tarfile.GNUTYPE_SPARSE, size=5))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    content = bytes(block) + bytes(512) + b"hello".ljust(512, b"\0") + bytes(1024)
    assert walk(content) == [("sparse", b"hello")]


def test_names_may_repeat_and_the_last_counts() -> None:
    wrong = tarfile.TarInfo(f"{STEM}/PKG-INFO")
    wrong.size = 3
    content = wrong.tobuf() + b"old".ljust(512, b"\0") + sdist_with(b"")
    assert check(content, f"{STEM}.tar").problem is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../evil", "climbs out"),
        (f"{STEM}/../../evil", "climbs out"),
        (f"{STEM}/..", "climbs out"),
        ("..\\evil", "climbs out"),
        ("/etc/passwd", "absolute"),
        ("\\evil", "absolute"),
        ("C:evil", "absolute"),
        ("C:\\evil", "absolute"),
        ("", "no name"),
        ("x" * 5000, "more than 4096"),
    ],
)
def test_names_that_climb_out_are_refused(name: str, fault: str) -> None:
    assert fault in said(sdist_with(entry(name)))


def test_names_in_pax_headers_climb_no_better() -> None:
    info = tarfile.TarInfo("harmless")
    for key in ("path", "GNU.sparse.name"):
        info.pax_headers = {key: "../../evil"}
        assert "climbs out" in said(sdist_with(info.tobuf(tarfile.PAX_FORMAT)))


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("../../evil", "climbs out"),
        ("a/../../../evil", "climbs out"),
        ("/etc/passwd", "absolute"),
        ("C:/evil", "absolute"),
        ("..\\..\\evil", "climbs out"),
        ("", "nothing"),
    ],
)
def test_symbolic_links_that_climb_out_are_refused(target: str, fault: str) -> None:
    assert fault in said(sdist_with(entry(f"{STEM}/link", tarfile.SYMTYPE, target)))


@pytest.mark.parametrize("target", ["../evil", "/etc/passwd", ""])
def test_hard_links_that_climb_out_are_refused(target: str) -> None:
    assert "link whose target" in said(sdist_with(entry(f"{STEM}/a", tarfile.LNKTYPE, target)))


@pytest.mark.parametrize(
    "target", ["PKG-INFO", "./PKG-INFO", "b/../PKG-INFO", f"../{STEM}/PKG-INFO"]
)
def test_links_that_stay_are_accepted(target: str) -> None:
    content = sdist_with(entry(f"{STEM}/link", tarfile.SYMTYPE, target))
    assert check(content, f"{STEM}.tar").problem is None


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(kind: bytes) -> None:
    assert "device" in (text := said(sdist_with(entry(f"{STEM}/null", kind)))) or "pipe" in text


@pytest.mark.parametrize("at", [0, 100, 124, 130, 150, 257, 345, 511])
def test_header_with_a_changed_byte_is_refused(at: int) -> None:
    good = sdist_with(entry(f"{STEM}/second"))
    bad = bytearray(good)
    bad[1024 + at] ^= 1
    assert "wrong checksum" in said(bytes(bad))


@pytest.mark.parametrize("size", [b"12x4567 \0\0\0\0", b"\xff" * 12])
def test_header_without_a_size_is_refused(size: bytes) -> None:
    block = bytearray(entry(f"{STEM}/a"))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert "without a size" in said(sdist_with(bytes(block)))


@pytest.mark.parametrize("at", [100, 108, 116, 136, 329, 337])
def test_header_that_tarfile_does_not_read_is_refused(at: int) -> None:
    for value, good in (
        (b"12x4", False),
        (b"1 2", False),
        (b"89", False),
        (b"\xff", True),
        (b"\x80", True),
    ):
        block = bytearray(entry(f"{STEM}/a"))
        block[at : at + 8] = value.ljust(8, b"\0")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        content = sdist_with(bytes(block))
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert (len(archive.getnames()) == 2) is good
        assert (check(content, f"{STEM}.tar").problem is None) is good, value


@pytest.mark.parametrize(
    "record",
    [
        b"11 path=abc",
        b"99 path=abc\n",
        b"path=abc\n",
        b"x path=abc\n",
        b"5 ab\n",
        b"0 a=b\n",
        b"-3 a=b\n",
    ],
)
def test_broken_pax_headers_are_refused(record: bytes) -> None:
    header = entry("pax", tarfile.XHDTYPE, size=len(record)) + record.ljust(512, b"\0")
    assert "broken pax header" in said(sdist_with(header + entry(f"{STEM}/a")))


@pytest.mark.parametrize("size", ["-1", "1e3", "", "9" * 30, "٣"])
def test_pax_size_that_is_no_number_is_refused(size: str) -> None:
    body = f" size={size}\n".encode()
    record = str(len(body) + (1 if len(body) < 9 else 2)).encode() + body
    header = entry("pax", tarfile.XHDTYPE, size=len(record)) + record.ljust(512, b"\0")
    assert "no number" in said(sdist_with(header + entry(f"{STEM}/a")))


def test_pax_header_that_nothing_follows_is_refused() -> None:
    record = b"12 path=abc\n"
    header = entry("pax", tarfile.XHDTYPE, size=len(record)) + record.ljust(512, b"\0")
    assert "belongs to a next entry" in said(sdist_with(header))


def test_endless_names_are_too_large() -> None:
    content = sdist_with(entry("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1 << 40))
    verdict = check(content, f"{STEM}.tar")
    assert "tar header of" in message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE


def test_without_the_mark_of_the_end_is_refused() -> None:
    content = sdist_with(entry(f"{STEM}/a"))
    assert "without the mark" in said(content[:-1024])
    assert check(content[:-512], f"{STEM}.tar").problem is None  # one block of zeros will do


def test_entry_behind_the_end_is_refused() -> None:
    assert "behind the end of its tar" in said(sdist_with(b"") + entry("hidden") + bytes(1024))


def test_without_entries_is_refused() -> None:
    assert "without entries" in said(bytes(10240))


def test_base_256_sizes_are_read() -> None:
    block = bytearray(entry(f"{STEM}/a"))
    block[124:136] = b"\x80" + (3).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert walk(bytes(block) + b"abc".ljust(512, b"\0") + bytes(1024)) == [(f"{STEM}/a", b"abc")]


def test_size_beyond_the_file_is_truncation() -> None:
    with pytest.raises(ArchiveError, match="bytes are missing"):
        walk(entry("a", size=1 << 40) + bytes(1024))


def long_name(name: str, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> bytes:
    """A header that GNU tar writes in front of an entry with a long name."""
    body = name.encode() + b"\0"
    return entry("././@LongLink", kind, size=len(body)) + body.ljust(512, b"\0")


def pax(**said: str) -> bytes:
    """A pax header in front of an entry."""
    info = tarfile.TarInfo("x")
    info.pax_headers = dict(said)
    return info.create_pax_header(info.get_info(), "utf-8")[:-512]


A, B = "a" * 120, "b" * 120


@pytest.mark.parametrize(
    "headers",
    [
        long_name(A) + long_name(B),
        long_name(A) + long_name(A),
        long_name(A) + long_name("x", tarfile.GNUTYPE_LONGLINK) + long_name(B),
        long_name(A, tarfile.GNUTYPE_LONGLINK) + long_name(B, tarfile.GNUTYPE_LONGLINK),
        long_name(A) + pax(path=B),
        pax(path=A) + long_name(B),
        pax(path=A) + pax(path=B),
        pax(path=A) + pax(comment="x"),
        long_name(A, tarfile.GNUTYPE_LONGLINK) + pax(linkpath=B),
    ],
)
def test_headers_that_tar_programs_read_differently_are_refused(headers: bytes) -> None:
    assert "read differently" in said(sdist_with(headers + entry("short")))


@pytest.mark.parametrize(
    "headers",
    [
        long_name(B, tarfile.GNUTYPE_LONGLINK) + long_name(A),
        pax(mtime="1.5") + long_name(A),
        long_name(A) + pax(mtime="1.5"),
        long_name(A) + pax(path=A),
    ],
)
def test_headers_that_tar_programs_read_alike_are_accepted(headers: bytes) -> None:
    content = headers + entry("short") + bytes(1024)
    assert walk(content) == [(A, b"")]
    assert tarfile.open(fileobj=io.BytesIO(content)).getnames() == [A]  # noqa: SIM115


@pytest.mark.parametrize("zeros", [0, 512, 513, 612, 1024 + 100, 10240])
def test_zeros_behind_the_end_may_have_any_length(zeros: int) -> None:
    assert walk(entry("a") + bytes(512) + bytes(zeros)) == [("a", b"")]


@pytest.mark.parametrize("zeros", [1, 100, 511])
def test_half_an_end_mark_is_refused(zeros: int) -> None:
    with pytest.raises(ArchiveError, match="truncated in the mark"):
        walk(entry("a") + bytes(512) + bytes(zeros))
