"""A broken transfer is continued where that is certain to be right, and begun anew elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import Reason
from pypimirror.download.files import resume
from pypimirror.download.files.resume import Whole, continues, describe
from tests import simulator as faults
from tests.download.conftest import Lab, MakeLab, good, problem, sha256
from tests.simulator import IndexFile, Simulator

SIZE = 3 << 20
BIG = os.urandom(SIZE)
HALF = SIZE // 2


@pytest.fixture
def big(simulator: Simulator) -> IndexFile:
    return simulator.add_file("big", "big-1.0.tar.gz", BIG)


def ranges(simulator: Simulator) -> list[str | None]:
    return [request.headers.get("range") for request in simulator.requests]


def leave_partial(lab: Lab, file: IndexFile, size: int = HALF, **changed: object) -> None:
    """Leave what a killed run leaves: the first bytes and the note."""
    lab.path().write_bytes(BIG[:size])
    note = {"url": lab.url(file), "total": SIZE, "etag": file_etag(file), **changed}
    Path(resume.note_path(str(lab.path()))).write_text(json.dumps(note))


def file_etag(file: IndexFile) -> str:
    from tests.simulator.index import fingerprint

    return file.etag or fingerprint(file.content)


def test_resumed_within_the_attempts(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    simulator.fault(big, faults.Truncate(at=HALF), nth=1)
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert (result.attempts, result.transferred) == (2, SIZE)
    assert ranges(simulator) == [None, f"bytes={HALF}-"]
    assert simulator.requests[1].headers["if-range"] == file_etag(big)


@pytest.mark.parametrize(
    "fault", [faults.Reset(after=HALF), faults.Stall(after=HALF), faults.Chunked(cut=True)]
)
def test_broken_in_other_ways(
    make_lab: MakeLab, simulator: Simulator, big: IndexFile, fault: faults.Fault
) -> None:
    lab = make_lab(timeout=1.0, tries=5)
    simulator.fault(big, fault, nth=1)
    good(lab.file(big), lab.path(), BIG)


def test_broken_several_times(make_lab: MakeLab, simulator: Simulator, big: IndexFile) -> None:
    lab = make_lab(tries=5)
    simulator.fault(big, faults.Truncate(at=1 << 20), nth=1, times=2)
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert (result.attempts, result.transferred) == (3, SIZE)


def test_resumed_from_an_earlier_run(
    make_lab: MakeLab, simulator: Simulator, big: IndexFile
) -> None:
    rule = simulator.fault(big, faults.Truncate(at=HALF))
    first = make_lab(tries=1)
    problem(first.file(big), Reason.TRUNCATED)
    assert first.path().stat().st_size == HALF
    assert Path(f"{first.path()}.json").exists()
    simulator.heal(rule)
    result = make_lab().file(big)
    good(result, first.path(), BIG)
    assert result.transferred == SIZE - HALF


def test_complete_from_an_earlier_run(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    leave_partial(lab, big, SIZE)
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert result.transferred == 0
    assert simulator.requests == []


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://elsewhere/"},
        {"total": SIZE + 1},
        {"total": HALF - 1},
        {"etag": None},
        {"etag": 'W/"weak"'},
        {"total": "x"},
    ],
)
def test_note_of_something_else(
    lab: Lab, simulator: Simulator, big: IndexFile, changed: dict[str, object]
) -> None:
    leave_partial(lab, big, **changed)
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert ranges(simulator) == [None]


def test_note_that_is_cut_off(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    leave_partial(lab, big)
    Path(f"{lab.path()}.json").write_text('{"url": "http')
    good(lab.file(big), lab.path(), BIG)


def test_partial_without_a_note(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    lab.path().write_bytes(BIG[:HALF])
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [None]


def test_partial_with_wrong_bytes(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    """As after a power cut, when the length reached the disk and the bytes did not."""
    leave_partial(lab, big)
    lab.path().write_bytes(bytes(HALF))
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert ranges(simulator) == [f"bytes={HALF}-", None]


def test_partial_with_wrong_bytes_proves_nothing(
    lab: Lab, simulator: Simulator, big: IndexFile
) -> None:
    leave_partial(lab, big)
    lab.path().write_bytes(bytes(HALF))
    simulator.fault(big, faults.Hangup(), nth=2, times=10)
    problem(lab.file(big), Reason.CONNECTION)
    assert os.listdir(lab.directory) == []


def test_complete_with_wrong_bytes(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    leave_partial(lab, big, SIZE)
    lab.path().write_bytes(bytes(SIZE))
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [None]


def test_changed_upstream_meanwhile(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    """If-Range no longer holds: the server sends the whole with 200."""
    leave_partial(lab, big, etag='"old"')
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert result.transferred == SIZE
    assert ranges(simulator) == [f"bytes={HALF}-"]


def test_whole_answer_to_a_range(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    simulator.fault(big, faults.IgnoreRange())
    leave_partial(lab, big)
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [f"bytes={HALF}-"]


@pytest.mark.parametrize("shift", [1, -1, -HALF])
def test_partial_content_from_another_offset(
    lab: Lab, simulator: Simulator, big: IndexFile, shift: int
) -> None:
    simulator.fault(big, faults.WrongRange(shift), nth=1)
    leave_partial(lab, big)
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [f"bytes={HALF}-", None]


def test_partial_content_from_another_offset_that_lies(
    lab: Lab, simulator: Simulator, big: IndexFile
) -> None:
    simulator.fault(big, faults.WrongRange(1, silent=True), nth=1)
    leave_partial(lab, big)
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("etag", ['"other"', None])
def test_partial_content_of_another_file(
    lab: Lab, simulator: Simulator, big: IndexFile, etag: str | None
) -> None:
    simulator.fault(big, faults.OtherFile(os.urandom(SIZE), etag), nth=1)
    leave_partial(lab, big)
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [f"bytes={HALF}-", None]


def test_partial_content_with_an_encoding(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    simulator.fault(big, faults.SetHeaders({"Content-Encoding": "gzip"}), nth=1)
    leave_partial(lab, big)
    good(lab.file(big), lab.path(), BIG)


def test_range_not_satisfiable(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    simulator.fault(big, faults.Status(416), nth=1)
    leave_partial(lab, big)
    good(lab.file(big), lab.path(), BIG)


def test_partial_content_that_breaks_too(
    make_lab: MakeLab, simulator: Simulator, big: IndexFile
) -> None:
    simulator.fault(big, faults.Truncate(at=1000))
    lab = make_lab(tries=3)
    leave_partial(lab, big)
    result = lab.file(big)
    problem(result, Reason.TRUNCATED)
    assert lab.path().read_bytes() == BIG[: HALF + 3000]


def test_server_without_ranges(make_lab: MakeLab, simulator: Simulator, big: IndexFile) -> None:
    simulator.ranges = False
    simulator.fault(big, faults.Truncate(at=HALF), nth=1)
    lab = make_lab()
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert result.transferred == SIZE + HALF


def test_no_validators_no_resuming(make_lab: MakeLab, simulator: Simulator, big: IndexFile) -> None:
    simulator.etags = False
    simulator.fault(big, faults.Truncate(at=HALF), nth=1)
    lab = make_lab()
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [None, None]


def test_last_modified_is_a_validator(
    make_lab: MakeLab, simulator: Simulator, big: IndexFile
) -> None:
    simulator.etags, simulator.last_modified = False, True
    simulator.fault(big, faults.Truncate(at=HALF), nth=1)
    lab = make_lab()
    good(lab.file(big), lab.path(), BIG)
    assert ranges(simulator) == [None, f"bytes={HALF}-"]


def test_wrong_digest_after_all_leaves_no_note(
    lab: Lab, simulator: Simulator, big: IndexFile
) -> None:
    simulator.fault(big, faults.Corrupt())
    leave_partial(lab, big)
    result = lab.file(big)
    problem(result, Reason.DIGEST_MISMATCH)
    assert os.listdir(lab.directory) == ["file"]
    assert sha256(lab.path().read_bytes()) == result.digests["sha256"]


def test_note_of_the_second_url_is_used_when_its_turn_comes(
    lab: Lab, simulator: Simulator, big: IndexFile
) -> None:
    leave_partial(lab, big)
    result = lab.file("/packages/missing", big, size=SIZE, digests={"sha256": sha256(BIG)})
    good(result, lab.path(), BIG)
    assert result.transferred == SIZE - HALF


def test_partial_is_kept_while_the_upstream_is_away(
    lab: Lab, simulator: Simulator, big: IndexFile
) -> None:
    leave_partial(lab, big)
    with simulator.refusing():
        problem(lab.file(big), Reason.CONNECTION)
    result = lab.file(big)
    good(result, lab.path(), BIG)
    assert result.transferred == SIZE - HALF


def test_other_url_begins_anew(lab: Lab, simulator: Simulator, big: IndexFile) -> None:
    other = simulator.add_file("big", "big-2.0.tar.gz", BIG)
    simulator.fault(big, faults.Truncate(at=HALF))
    good(lab.file(big, other), lab.path(), BIG)
    assert ranges(simulator) == [None, None]


HEADERS = {"Content-Range": "bytes 10-99/100", "ETag": '"a"'}
WHOLE = Whole("u", 100, '"a"')


def test_continues() -> None:
    assert continues(WHOLE, 10, HEADERS, 90)
    assert continues(WHOLE, 10, HEADERS, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"Content-Range": ""},
        {"Content-Range": "bytes 11-99/100"},
        {"Content-Range": "bytes 10-98/100"},
        {"Content-Range": "bytes 10-99/101"},
        {"Content-Range": "bytes 10-99/*"},
        {"Content-Range": "items 10-99/100"},
        {"ETag": '"b"'},
    ],
)
def test_does_not_continue(changed: dict[str, str]) -> None:
    assert not continues(WHOLE, 10, {**HEADERS, **changed}, 90)


def test_does_not_continue_with_another_length_or_date() -> None:
    assert not continues(WHOLE, 10, HEADERS, 89)
    dated = Whole("u", 100, None, "Mon")
    assert not continues(dated, 10, {**HEADERS, "Last-Modified": "Tue"}, 90)
    assert continues(dated, 10, {**HEADERS, "Last-Modified": "Mon"}, 90)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_only_the_exact_rest_continues(first: int, last: int, total: int) -> None:
    headers = {"Content-Range": f"bytes {first}-{last}/{total}"}
    assert continues(WHOLE, 10, headers, None) == ((first, last, total) == (10, 99, 100))


def test_describe() -> None:
    assert describe("u", 5, {"ETag": '"a"'}) == Whole("u", 5, '"a"')
    assert describe("u", None, {"ETag": '"a"'}) is None
    assert describe("u", 5, {"ETag": 'W/"a"'}) is None
    assert describe("u", 5, {"ETag": '"a"', "Accept-Ranges": "none"}) is None


def test_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    Path(path).write_bytes(b"123")
    resume.write_note(path, WHOLE)
    assert resume.read_note(path) == (WHOLE, 3)
    resume.remove_note(path)
    resume.remove_note(path)
    assert resume.read_note(path) is None
    assert msgspec.json.decode(msgspec.json.encode(WHOLE), type=Whole) == WHOLE
