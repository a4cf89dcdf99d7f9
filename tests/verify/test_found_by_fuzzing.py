"""What `fuzz_archives` found, by its cause."""

from __future__ import annotations

import struct
import tarfile

from tests.corpus import build
from tests.verify.builders import STEM, samples
from tests.verify.helpers import check, message


def test_first_entry_far_behind_the_end_of_an_egg() -> None:
    """What may stand in front of the zip was looked for there: a `struct.error`."""
    sample = samples()[".egg"]
    content = bytearray(sample.content)
    struct.pack_into("<L", content, content.index(b"PK\1\2") + 42, 0x7FFFFFFF)
    assert "behind the directory" in message(check(bytes(content), sample.filename))


def test_tar_header_with_a_mode_that_is_no_number() -> None:
    """Its checksum was right, and only `tarfile` looked at the mode."""
    info = tarfile.TarInfo(f"{STEM}/a")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[100:116] = b"0000x\0\0\x0000000\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert "without a mode" in message(check(bytes(block) + bytes(1024), f"{STEM}.tar"))


def test_zip_of_an_end_record_alone() -> None:
    """No entry, and so none that could be the first."""
    for ending in (".zip", ".egg", ".whl"):
        end = build.pack_zip({})
        assert "without entries" in message(check(end, f"{STEM}{ending}"))
