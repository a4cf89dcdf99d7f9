"""Fuzz the archive readers: any bytes lead to a verdict, and other tools agree with it.

    python -m tests.verify.fuzz_archives [DIRECTORY] [options of libFuzzer: -max_total_time=900]

Guided by coverage with atheris where that is installed; else Hypothesis makes random edits, for as
many seconds as -max_total_time says. DIRECTORY keeps what was found interesting. An input is a
byte that chooses a target, then the bytes of that target. What fails is left as `crash-*`; its
cause belongs into `test_found_by_fuzzing.py`.
"""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

try:
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
except ImportError:
    atheris = None

with (
    atheris.instrument_imports(include=["pypimirror.verify"])
    if atheris
    else contextlib.nullcontext()
):
    from pypimirror.verify import structure
    from pypimirror.verify.limits import Limits

from tests.corpus import build
from tests.verify import builders
from tests.verify.builders import PKG_INFO, STEM, samples
from tests.verify.helpers import check

LIMITS = Limits(
    max_unpacked=1 << 22, ratio_floor=1 << 20, max_entries=2000, max_seconds=5.0, max_window=1 << 23
)
SECONDS = 20.0  #: more than this for one input is a failure
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


def rpm_with(data: bytes) -> tuple[bytes, str]:
    """The bytes as the headers of an rpm whose payload is right."""
    sample = samples()[".rpm"]
    return sample.content[:96] + data + sample.content[-700:], sample.filename


def msi_with(data: bytes) -> tuple[bytes, str]:
    """The bytes as the cabinet of an msi."""
    room = 120 * 512  # the builder's one table of sectors holds 128 of 512 bytes
    return builders.make_compound({"cabinet": data[:room]}), samples()[".msi"].filename


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
    rpm_with,
    msi_with,
    tar_headers,
]


def seeds() -> list[bytes]:
    """Inputs to start from."""
    whole = [bytes([i]) + sample.content for i, sample in enumerate(samples().values())]
    first = len(whole)
    tar = builders.pack_tar(builders.sdist_contents())
    gnu = builders.pack_tar({"x" * 150: b"", **builders.sdist_contents()}, tarfile.GNU_FORMAT)
    record = build.record_line("demo_pkg/__init__.py", b"").encode()
    rpm = samples()[".rpm"].content
    inner = [tar, gnu, record, PKG_INFO, b"Wheel-Version: 1.0\n", rpm[96:-700]]
    inner += [builders.make_cabinet({"a": b"x" * 5000}), gnu]
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


def one_input(data: bytes) -> None:
    """Try one input."""
    if not data:
        return
    content, filename = TARGETS[data[0] % len(TARGETS)](data[1:])
    started = time.monotonic()
    verdict = check(content, filename, limits=LIMITS)
    assert time.monotonic() - started < SECONDS, "took too long"
    assert isinstance(verdict, structure.Verdict)
    assert (verdict.problem is None) or verdict.proof == "none"
    if verdict.problem is None:
        with contextlib.suppress(struct.error, NotImplementedError):
            other_tools(content, filename)


def without_atheris(seconds: float) -> None:
    """Random edits by Hypothesis."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    edits = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=8)), max_size=20)
    end = time.monotonic() + seconds

    @settings(
        max_examples=10**9, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(seeds()), edits)
    def run(seed: bytes, changes: list[tuple[int, bytes]]) -> None:
        if time.monotonic() > end:
            raise SystemExit(0)
        data = bytearray(seed)
        for at, piece in changes:
            at = 1 + at % max(1, len(data) - 1)
            data[at : at + len(piece)] = piece
        one_input(bytes(data))

    run()


def main() -> None:
    """Fuzz until told to stop."""
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    directory = Path(next((a for a in sys.argv[1:] if not a.startswith("-")), "fuzz-archives"))
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (directory / f"seed-{number:02}").write_bytes(seed)
        one_input(seed)
    if atheris is None:
        seconds = [o.removeprefix("-max_total_time=") for o in options if "max_total_time" in o]
        without_atheris(float(seconds[0]) if seconds else 60.0)
        return
    options = [f"-artifact_prefix={directory}/../", "-max_len=65536", "-timeout=30", *options]
    atheris.Setup([sys.argv[0], *options, str(directory)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
