"""Fuzz the archive readers: any bytes lead to a verdict, and other tools agree with it.

    python -m tests.verify.fuzz_archives [DIRECTORY] [options of libFuzzer: -max_total_time=900]

See `tests.fuzzing`.
"""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable

from tests import fuzzing

with fuzzing.instrumented("pypimirror.verify"):
    from pypimirror.verify import structure
    from pypimirror.verify.archives.limits import Limits

from tests.corpus import build
from tests.verify import builders
from tests.verify.builders import PKG_INFO, STEM, samples
from tests.verify.helpers import check

LIMITS = Limits(
    max_unpacked=1 << 22, ratio_floor=1 << 20, max_entries=2000, max_seconds=5.0, max_window=1 << 23
)
_INFORMATION = f"{STEM}.dist-info"


def raw(ending: str) -> Callable[[bytes], tuple[bytes, str]]:
    """The bytes themselves, under the name of a sample."""
    return lambda data: (data, samples()[ending].filename)


def packed(ending: str) -> Callable[[bytes], tuple[bytes, str]]:
    """The bytes as what a compressed tar unpacks to."""
    return lambda data: (builders.COMPRESSORS[ending](data), samples()[ending].filename)


def wheel_with(name: str) -> Callable[[bytes], tuple[bytes, str]]:
    """The bytes as one entry of a wheel."""

    def make(data: bytes) -> tuple[bytes, str]:
        contents = {
            "demo_pkg/__init__.py": b"",
            f"{_INFORMATION}/METADATA": PKG_INFO,
            f"{_INFORMATION}/WHEEL": b"Wheel-Version: 1.0\n",
        }
        contents[f"{_INFORMATION}/{name}"] = data
        if name != "RECORD":
            record = "".join(build.record_line(path, body) for path, body in contents.items())
            contents[f"{_INFORMATION}/RECORD"] = record.encode()
        return build.pack_zip(contents), samples()[".whl"].filename

    return make


def tar_headers(data: bytes) -> tuple[bytes, str]:
    """The bytes as a tar whose checksums are right, so that the other fields are read."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, 512):
        if any(blocks[at : at + 512]):
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    return bytes(blocks), samples()[".tar"].filename


TARGETS: list[Callable[[bytes], tuple[bytes, str]]] = [
    *(raw(ending) for ending in samples()),
    packed(".tar.gz"),
    packed(".tar.zst"),
    wheel_with("RECORD"),
    wheel_with("METADATA"),
    wheel_with("WHEEL"),
    tar_headers,
]


def seeds() -> list[bytes]:
    """Inputs to start from."""
    whole = [bytes([i]) + sample.content for i, sample in enumerate(samples().values())]
    first = len(whole)
    tar = builders.pack_tar(builders.sdist_contents())
    gnu = builders.pack_tar({"x" * 150: b"", **builders.sdist_contents()}, tarfile.GNU_FORMAT)
    record = build.record_line("demo_pkg/__init__.py", b"").encode()
    inner = [tar, gnu, record, PKG_INFO, b"Wheel-Version: 1.0\n", gnu]
    return whole + [bytes([first + i]) + data for i, data in enumerate(inner)]


def other_tools(content: bytes, filename: str) -> None:
    """What is accepted as a tar or a zip, Python's own modules read too, and alike."""
    if filename.endswith((".whl", ".zip", ".egg")):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
    elif filename.endswith((".tar", ".tar.gz", ".tar.bz2", ".tar.xz")):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                assert not member.name.startswith("/")
                assert ".." not in member.name.split("/")


def judged(make: Callable[[bytes], tuple[bytes, str]]) -> Callable[[bytes], None]:
    """What is made of the bytes gets a verdict."""

    def run(data: bytes) -> None:
        content, filename = make(data)
        verdict = check(content, filename, limits=LIMITS)
        assert isinstance(verdict, structure.ArchiveVerdict)
        assert (verdict.problem is None) or verdict.proof == "none"
        if verdict.problem is None:
            with contextlib.suppress(struct.error, NotImplementedError):
                other_tools(content, filename)

    return run


one_input = fuzzing.targets(*map(judged, TARGETS), seconds=20.0)


if __name__ == "__main__":
    fuzzing.run("archives", one_input, seeds(), options=["-timeout=30"])
