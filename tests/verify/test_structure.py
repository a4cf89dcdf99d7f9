"""Every kind of archive: intact, and damaged in the ways that all of them can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import Limits
from pypimirror.verify.structure import Verdict, check_structure
from tests.verify.builders import PKG_INFO, PROJECT, STEM, samples
from tests.verify.helpers import check, message

ENDINGS = sorted(samples())
TARS = [ending for ending in ENDINGS if ".t" in ending]
SYSTEMS = [".exe", ".msi", ".rpm", ".deb", ".dmg"]
HTML = b"\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_intact_is_accepted(ending: str) -> None:
    sample = samples()[ending]
    verdict = check(sample.content, sample.filename)
    assert verdict.problem is None
    assert verdict.proof == sample.proof
    assert verdict.entries > 0
    assert verdict.unpacked > 2000
    assert bool(verdict.unchecked) >= (sample.proof == "partial")
    assert verdict.metadata == (PKG_INFO if ending == ".whl" else None)


@pytest.mark.parametrize("ending", ENDINGS)
def test_ending_may_have_capitals(ending: str) -> None:
    sample = samples()[ending]
    name = sample.filename.removesuffix(ending) + ending.upper()
    assert check(sample.content, name).proof == sample.proof


@pytest.mark.parametrize("ending", [*ENDINGS, ".tar.Z", ".tlz", ".tar.lz", *SYSTEMS])
def test_empty_file_is_refused(ending: str) -> None:
    verdict = check(b"", f"{STEM}{ending}")
    assert message(verdict) == "is empty"
    assert verdict.problem
    assert verdict.problem.reason is Reason.BAD_ARCHIVE


@pytest.mark.parametrize("ending", [*ENDINGS, ".tar.Z", ".tlz", *SYSTEMS])
def test_html_page_is_refused_by_name(ending: str) -> None:
    assert message(check(HTML, f"{STEM}{ending}")) == f"is an HTML page, not a {ending.lower()}"


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_kind_of_archive_is_refused(ending: str) -> None:
    other = ".tar.gz" if ending in (".whl", ".zip", ".egg") else ".zip"
    said = message(check(samples()[other].content, f"{STEM}{ending}"))
    assert "not" in said


@pytest.mark.parametrize("ending", ENDINGS)
def test_truncated_is_refused(ending: str) -> None:
    sample = samples()[ending]
    size = len(sample.content)
    # A plain tar ends with blocks of zeros; a cut in there that leaves whole blocks is no loss.
    end = sample.content.rstrip(b"\0").__len__() if ending == ".tar" else size
    cuts = {1, 2, 9, 100, end // 4, end // 2, end - end // 4, end - 20, end - 8, end - 1}
    for cut in sorted(cuts):
        verdict = check(sample.content[:cut], sample.filename)
        assert verdict.problem, f"accepted with {cut} of {size} bytes"
        assert verdict.problem.reason is Reason.BAD_ARCHIVE


@pytest.mark.parametrize(
    "garbage", [b"\0", b"x", b"\r\n", b"PK\3\4", b"\x1f\x8b", bytes(512), b"x" * 512]
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_garbage_behind_the_end_is_refused(ending: str, garbage: bytes) -> None:
    sample = samples()[ending]
    if ending == ".tar" and not garbage.strip(b"\0"):
        pytest.skip("a tar may end with any number of zeros")
    if ending in (".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2") and not garbage.strip(b"\0"):
        pytest.skip("tar of macOS fills up with zeros behind gzip and bzip2")
    if "xz" in ending and garbage == bytes(512):
        pytest.skip("xz allows zeros in groups of four behind a stream")
    message(check(sample.content + garbage, sample.filename))


@pytest.mark.parametrize("ending", [e for e in ENDINGS if e != ".egg"])
def test_garbage_in_front_is_refused(ending: str) -> None:
    sample = samples()[ending]
    message(check(b"#!/bin/sh\n" + sample.content, sample.filename))


@pytest.mark.parametrize("ending", TARS)
def test_good_compression_around_no_tar_is_refused(ending: str) -> None:
    from tests.verify.builders import COMPRESSORS

    for data in (b"", b"just text " * 200, HTML * 20, samples()[".zip"].content):
        message(check(COMPRESSORS[ending](data), f"{STEM}{ending}"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_hole_of_zeros_is_refused(ending: str) -> None:
    """What a download in parts leaves, where one part is missing."""
    sample = samples()[ending]
    start, length = 600, 1024
    if sample.proof == "partial":
        start = 0
    content = bytearray(sample.content)
    content[start : start + length] = bytes(length)
    message(check(bytes(content), sample.filename))


@pytest.mark.parametrize(
    ("ending", "start"),
    [
        *((".tar.Z", b"\x1f\x9d\x90"), (".tlz", b"\x5d"), (".dmg", b"x"), (".tar.lz", b"LZIP")),
        *((".exe", b"MZ"), (".msi", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
        *((".rpm", b"\xed\xab\xee\xdb"), (".deb", b"!<arch>\n")),
    ],
)
def test_what_cannot_be_read_is_said_to_be_so(ending: str, start: bytes) -> None:
    verdict = check(start + bytes(1000), f"{STEM}{ending}")
    assert verdict.proof == "none"
    assert verdict.problem is None
    assert "can read" in verdict.unchecked[0]


@pytest.mark.parametrize("ending", [".exe", ".msi", ".rpm", ".deb"])
def test_packages_of_systems_are_refused_where_they_start_as_something_else(ending: str) -> None:
    assert "not" in message(check(samples()[".zip"].content, f"{STEM}{ending}"))
    assert "not" in message(check(bytes(1000), f"{STEM}{ending}"))


def test_unknown_ending_is_not_checked() -> None:
    verdict = check(b"x", "demo_pkg-1.2.0.pdf")
    assert (verdict.proof, verdict.problem) == ("none", None)
    assert verdict.unchecked


def test_problem_names_project_and_file() -> None:
    problem = check(b"", f"{STEM}.zip").problem
    assert problem
    assert (problem.project, problem.file) == (PROJECT, f"{STEM}.zip")


def test_missing_file_is_the_disks_affair(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        check_structure(tmp_path / "none", f"{STEM}.zip", PROJECT)


QUICK = Limits(max_unpacked=1 << 24, ratio_floor=1 << 20, max_seconds=30.0)


@settings(max_examples=300)
@given(st.sampled_from(ENDINGS), st.binary(max_size=2000), st.booleans(), st.data())
@example(".whl", b"PK\5\6" + bytes(18), False, None)
def test_any_bytes_lead_to_a_verdict(
    ending: str, noise: bytes, whole: bool, data: st.DataObject | None
) -> None:
    """Noise alone, and noise over a part of a good archive."""
    sample = samples()[ending]
    content = noise
    if data is not None and not whole:
        at = data.draw(st.integers(0, len(sample.content)))
        length = data.draw(st.sampled_from([0, len(noise)]))
        content = sample.content[:at] + noise + sample.content[at + length :]
    assert isinstance(check(content, sample.filename, limits=QUICK), Verdict)


def test_real_files_are_accepted(corpus_directory: Path) -> None:
    """Files of real projects, by the tools of their day: nothing here is stricter than they."""
    checked = 0
    for path in sorted(corpus_directory.iterdir()):
        if path.suffix not in (".whl", ".gz", ".zip"):
            continue
        separator = "-"
        project = canonicalize_name(path.name.split(separator)[0])
        if path.suffix != ".whl":
            project = canonicalize_name(path.name.rpartition("-")[0])
        verdict = check_structure(path, path.name, project)
        assert verdict.problem is None, path.name
        assert verdict.proof == "structure", (path.name, verdict.unchecked)
        assert bool(verdict.metadata) == (path.suffix == ".whl")
        checked += 1
    assert checked > 40
