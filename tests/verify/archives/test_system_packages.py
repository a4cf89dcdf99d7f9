"""Packages of systems: .exe, .msi, .rpm and .deb."""

from __future__ import annotations

import struct
import tarfile

import pytest

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.cabinets import checksum
from tests.verify import builders
from tests.verify.builders import PROJECT, make_deb, make_exe, make_rpm, samples
from tests.verify.helpers import check, message

EXE, MSI, RPM, DEB = (samples()[ending].filename for ending in (".exe", ".msi", ".rpm", ".deb"))


def reason(content: bytes, filename: str) -> Reason:
    problem = check(content, filename).problem
    assert problem
    return problem.reason


def test_exe_of_another_project_is_refused() -> None:
    assert reason(make_exe(name="other"), EXE) is Reason.WRONG_PROJECT
    assert reason(make_exe(version="9"), EXE) is Reason.WRONG_PROJECT


def test_exe_says_that_its_program_has_no_checksum() -> None:
    assert "no checksum" in check(make_exe(), EXE).unchecked[0]


def test_exe_without_settings_is_partial() -> None:
    content = make_exe().replace(b"name=", b"nick=")
    assert check(content, EXE).proof == "partial"


def test_exe_with_a_bad_zip_is_refused() -> None:
    content = bytearray(make_exe())
    content[content.index(b"PK\3\4") + 60] ^= 1
    message(check(bytes(content), EXE))


def test_exe_with_a_gap_before_its_zip_is_refused() -> None:
    content = make_exe()
    at = content.index(b"[metadata]")
    assert "unaccounted for" in message(check(content[:at] + b"hidden" + content[at:], EXE))


def test_installers_of_other_kinds_are_partial() -> None:
    content = builders.make_program() + b"Nullsoft" * 100
    verdict = check(content, EXE)
    assert (verdict.proof, verdict.problem) == ("partial", None)
    assert "cannot be read" in verdict.unchecked[0]
    assert "truncated" in message(check(content[:900], EXE))


def test_exe_truncated_in_its_zip_is_no_other_kind() -> None:
    content = make_exe()
    assert "no end record" in message(check(content[:-30], EXE))


@pytest.mark.parametrize(
    ("name", "proof"),
    [(PROJECT, 1), (f"python-{PROJECT}", 1), ("python3-demo_pkg", 1), ("other", 0)],
)
def test_rpm_names(name: str, proof: int) -> None:
    content = make_rpm(name=name)
    if proof:
        assert check(content, RPM).proof == "structure"
    else:
        assert reason(content, RPM) is Reason.WRONG_PROJECT


def test_rpm_of_another_version_is_refused() -> None:
    assert reason(make_rpm(version="2"), RPM) is Reason.WRONG_PROJECT


def test_rpm_without_digests_is_partial() -> None:
    verdict = check(make_rpm(digests=False), RPM)
    assert (verdict.proof, verdict.problem) == ("partial", None)


def test_rpm_whose_payload_is_not_packed() -> None:
    """As rpmbuild makes it with "w.ufdio"."""
    content = make_rpm(compressor="", packed=False)
    assert check(content, RPM).proof == "structure"
    assert check(make_rpm(compressor=""), RPM).proof == "structure"
    for cut in (1, 100, len(content) // 2):
        assert check(content[:-cut], RPM).problem
    assert check(content.replace(b"070701", b"070703", 1), RPM).problem
    assert check(make_rpm(packed=False), RPM).problem


def test_rpm_with_every_single_byte_of_its_payload_changed_is_refused() -> None:
    content = make_rpm()
    start = content.index(b"\x1f\x8b")
    for at in range(start, len(content), 97):
        bad = bytearray(content)
        bad[at] ^= 0x10
        message(check(bytes(bad), RPM))


@pytest.mark.parametrize("ending", [".gz", ".xz", ".bz2", ".zst"])
def test_deb_compressions(ending: str) -> None:
    assert check(make_deb(ending), DEB).proof == "structure"


def test_deb_without_compression_is_partial() -> None:
    assert check(make_deb(""), DEB).proof == "partial"


def test_deb_of_another_project_is_refused() -> None:
    assert reason(make_deb(name="python3-other"), DEB) is Reason.WRONG_PROJECT


def test_deb_parts_out_of_order_are_refused() -> None:
    content = make_deb().replace(b"control.tar.gz  ", b"other.tar.gz    ")
    assert "where it should not be" in message(check(content, DEB))


def test_deb_links_may_be_absolute() -> None:
    link = tarfile.TarInfo("./usr/lib/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/usr/lib/target"
    good = builders.pack_tar({"./usr/lib/demo_pkg/__init__.py": builders.text(150)})
    content = make_deb("").replace(good, link.tobuf() + good[: len(good) - 512])
    assert link.tobuf() in content
    assert check(content, DEB).problem is None


def msi(cabinet: bytes) -> bytes:
    return builders.make_compound({"cabinet": cabinet})


CABINET = builders.make_cabinet({"a": builders.text(2000), "b": b"more"})


def test_cabinet_with_any_changed_byte_in_a_block_is_refused() -> None:
    start = CABINET.index(b"CK") - 8
    for at in range(start, len(CABINET), 331):
        bad = bytearray(CABINET)
        bad[at] ^= 1
        assert "cabinet" in message(check(msi(bytes(bad)), MSI))


def test_cabinet_that_cannot_be_unpacked_says_so() -> None:
    packed = bytearray(CABINET)
    struct.pack_into("<H", packed, 36 + 6, 0x1503)  # LZX
    assert any("method" in text for text in check(msi(bytes(packed)), MSI).unchecked)


def test_cabinet_checksum_is_that_of_the_specification() -> None:
    assert checksum(b"") == 0
    assert checksum(b"\1\2\3\4") == 0x04030201
    assert checksum(b"\1\2\3\4\1\2\3\4") == 0
    assert checksum(b"\1\2\3") == 0x010203
    assert checksum(b"\0\0\0\0\1", 7) == 6


@pytest.mark.parametrize(
    ("at", "value"), [(30, 12), (28, 0), (44, 9), (48, 1 << 20), (76, 1 << 20)]
)
def test_compound_file_with_a_broken_header_is_refused(at: int, value: int) -> None:
    content = bytearray(samples()[".msi"].content)
    struct.pack_into("<L" if at >= 44 else "<H", content, at, value)
    message(check(bytes(content), MSI))


def test_compound_file_with_a_loop_is_refused() -> None:
    content = bytearray(samples()[".msi"].content)
    struct.pack_into("<L", content, 512 + 4 * 3, 1)
    assert "in use already" in message(check(bytes(content), MSI))
