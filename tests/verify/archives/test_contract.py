"""The contract of archive formats: each format of the table that can be read passes all of this.

The table is `pypimirror/domain/formats.py`;
`tests/verify/builders.py` makes a sound archive of each.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pypimirror.domain.formats import FORMATS, Format
from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import Limits
from pypimirror.verify.structure import ArchiveVerdict, reader_of
from tests.verify.builders import COMPRESSORS, PKG_INFO, PROJECT, STEM, Sample, samples
from tests.verify.helpers import check, message

SAMPLES = list(samples().values())
READABLE = pytest.mark.parametrize("sample", SAMPLES, ids=[each.form.ending for each in SAMPLES])
ALL = pytest.mark.parametrize("ending", [each.ending for each in FORMATS])
UNREADABLE = [each for each in FORMATS if reader_of(each) is None]
HTML = b"\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n"
QUICK = Limits(max_unpacked=1 << 24, ratio_floor=1 << 20, max_seconds=30.0)


def test_every_format_that_can_be_read_has_a_sound_archive_here() -> None:
    assert set(samples()) == {each.ending for each in FORMATS if reader_of(each)}


@READABLE
def test_intact_is_accepted(sample: Sample) -> None:
    verdict = check(sample.content, sample.filename)
    assert verdict.problem is None
    assert verdict.proof == sample.proof
    assert verdict.entries > 0
    assert verdict.unpacked > 2000
    assert bool(verdict.unchecked) == (sample.proof == "partial")
    assert verdict.metadata == (PKG_INFO if sample.form.container == "wheel" else None)


@READABLE
def test_ending_may_have_capitals(sample: Sample) -> None:
    ending = sample.form.ending
    name = sample.filename.removesuffix(ending) + ending.upper()
    assert check(sample.content, name).proof == sample.proof


@READABLE
def test_another_project_and_another_version_are_refused(sample: Sample) -> None:
    for name, project in (
        (sample.filename.replace("demo_pkg", "other"), "other"),
        (sample.filename.replace("1.2.0", "9.9"), PROJECT),
    ):
        verdict = check(sample.content, name, project)
        message(verdict)
        assert verdict.problem
        wrong = {Reason.WRONG_PROJECT}
        if sample.form.container == "wheel":  # whose directory of information is not there
            wrong.add(Reason.BAD_ARCHIVE)
        assert verdict.problem.reason in wrong


@ALL
def test_empty_file_is_refused(ending: str) -> None:
    verdict = check(b"", f"{STEM}{ending}")
    assert message(verdict) == "is empty"
    assert verdict.problem
    assert verdict.problem.reason is Reason.BAD_ARCHIVE


@ALL
def test_what_servers_send_in_place_of_a_file_is_refused_by_name(ending: str) -> None:
    assert message(check(HTML, f"{STEM}{ending}")) == f"is an HTML page, not a {ending}"
    said = check(b'{"detail": "Not found"}', f"{STEM}{ending}")
    assert said.proof == "none"
    if any(each.magics for each in FORMATS if each.ending == ending):
        assert message(said) == f"is JSON or the like, not a {ending}"


@ALL
def test_another_format_is_refused_by_name(ending: str) -> None:
    (form,) = (each for each in FORMATS if each.ending == ending)
    for other in (samples()[".zip"], samples()[".tar.gz"]):
        if not other.content.startswith(form.magics or b"PK"):
            verdict = check(other.content, f"{STEM}{ending}")
            if form.magics:
                assert f"not as a {ending}" in message(verdict)
            assert verdict.proof == "none"


@READABLE
def test_truncated_is_refused(sample: Sample) -> None:
    size = len(sample.content)
    # A plain tar ends with blocks of zeros; a cut in there that leaves whole blocks is no loss.
    end = size if sample.proof == "structure" else len(sample.content.rstrip(b"\0"))
    cuts = {1, 2, 9, 100, end - 20, end - 8, end - 1, *range(0, end, max(1, end // 16))}
    for cut in sorted(cuts):
        verdict = check(sample.content[:cut], sample.filename)
        assert verdict.problem, f"accepted with {cut} of {size} bytes"
        assert verdict.problem.reason is Reason.BAD_ARCHIVE


@READABLE
@pytest.mark.parametrize(
    "garbage", [b"\0", b"x", b"\r\n", b"PK\3\4", b"\x1f\x8b", bytes(512), b"x" * 512]
)
def test_garbage_behind_the_end_is_refused(sample: Sample, garbage: bytes) -> None:
    is_padding = not garbage.strip(b"\0") and sample.zeros and not len(garbage) % sample.zeros
    verdict = check(sample.content + garbage, sample.filename)
    if is_padding:
        assert verdict.problem is None, "tools of this format pass over them"
    else:
        message(verdict)


@READABLE
@pytest.mark.parametrize("limits", [Limits(max_unpacked=2000), Limits(max_entries=1)], ids=str)
def test_bounds_are_kept(sample: Sample, limits: Limits) -> None:
    problem = check(sample.content, sample.filename, limits=limits).problem
    assert problem
    assert problem.reason is Reason.TOO_LARGE


@READABLE
def test_garbage_in_front_is_refused(sample: Sample) -> None:
    if sample.form.container != "egg":  # which may be a script
        message(check(b"#!/bin/sh\n" + sample.content, sample.filename))
    message(check(b"\0" + sample.content, sample.filename))


@READABLE
def test_a_hole_of_zeros_is_refused(sample: Sample) -> None:
    """What a download in parts leaves, where one part is missing."""
    start, length = 600 if sample.proof == "structure" else 0, 1024
    content = bytearray(sample.content)
    content[start : start + length] = bytes(length)
    message(check(bytes(content), sample.filename))


@READABLE
def test_a_flipped_bit_is_refused_or_changes_no_name_and_no_content(sample: Sample) -> None:
    """What the proof "structure" promises."""
    if sample.proof != "structure":
        pytest.skip("the format has no checksum, and says so")
    truth = sample.unpacked(sample.content)
    chance = random.Random(sample.form.ending)
    places = [(chance.randrange(len(sample.content)), chance.randrange(8)) for _ in range(300)]
    refused = 0
    for at, bit in places:
        content = bytearray(sample.content)
        content[at] ^= 1 << bit
        if check(bytes(content), sample.filename).problem:
            refused += 1
        else:
            assert sample.unpacked(bytes(content)) == truth, (at, bit)
    assert refused > len(places) * 0.9


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_good_compression_around_no_tar_is_refused(ending: str) -> None:
    for data in (b"", b"just text " * 200, HTML * 20, samples()[".zip"].content):
        message(check(COMPRESSORS[ending](data), f"{STEM}{ending}"))


@pytest.mark.parametrize("form", UNREADABLE, ids=[each.ending for each in UNREADABLE])
def test_what_cannot_be_read_is_said_to_be_so(form: Format) -> None:
    verdict = check((form.magics or (b"x",))[0] + bytes(1000), f"{STEM}{form.ending}")
    assert verdict.proof == "none"
    assert verdict.problem is None
    assert "can read" in verdict.unchecked[0]


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES), st.binary(max_size=2000), st.booleans(), st.data())
@example(samples()[".whl"], b"PK\5\6" + bytes(18), False, None)
def test_any_bytes_lead_to_a_verdict(
    sample: Sample, noise: bytes, whole: bool, data: st.DataObject | None
) -> None:
    """Noise alone, and noise over a part of a good archive."""
    content = noise
    if data is not None and not whole:
        at = data.draw(st.integers(0, len(sample.content)))
        length = data.draw(st.sampled_from([0, len(noise)]))
        content = sample.content[:at] + noise + sample.content[at + length :]
    assert isinstance(check(content, sample.filename, limits=QUICK), ArchiveVerdict)
