"""Single bits flipped at random: what goes unseen must be rare, and must not matter.

`python -m tests.verify.detection` prints the shares.
"""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from tests.verify.builders import samples, zstd
from tests.verify.detection import endings, measure
from tests.verify.helpers import check

FLIPS = 400

#: Least share that must be found. What is missed: times and attributes (zip, gzip), unused bits
#: behind a deflate stream, contents (.tar).
LEAST = {
    ".whl": 0.95,
    ".zip": 0.95,
    ".egg": 0.95,
    ".tar.gz": 0.98,
    ".tar.bz2": 1.0,
    ".tar.xz": 1.0,
    ".tar.zst": 0.99,
    ".tar.lzma": 0.98,
    ".tar": 0.5,
}


def unpacked(ending: str, content: bytes) -> dict[str, bytes]:
    """Names and contents, as Python's own modules read them."""
    if ending in (".whl", ".zip", ".egg"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    if ending == ".tar.zst":
        content = zstd.decompress(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = {}
        for member in tar:
            stream = tar.extractfile(member)
            found[member.name] = stream.read() if stream else b""
        return found


@pytest.mark.parametrize("ending", endings())
def test_share_of_flips_that_are_found(ending: str) -> None:
    share = measure(ending, FLIPS)
    assert share.value >= LEAST[ending], f"{share.value:.2%} found, missed at {share.missed}"


@pytest.mark.parametrize(
    "ending", [".whl", ".zip", ".egg", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"]
)
def test_what_goes_unseen_changes_no_name_and_no_content(ending: str) -> None:
    """What the proof "structure" promises."""
    content = samples()[ending].content
    truth = unpacked(ending, content)
    for at in measure(ending, FLIPS).missed:
        for bit in range(8):
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            if check(bytes(changed), samples()[ending].filename).problem is None:
                assert unpacked(ending, bytes(changed)) == truth, (at, bit)
