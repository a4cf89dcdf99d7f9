"""Every fault of the transport ends in its reason, quickly, and the connection after it works."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.system import regular
from tests import simulator as faults
from tests.download.conftest import BODY, Lab, MakeLab, good, problem
from tests.simulator import IndexFile, Simulator


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    """Nothing here may take as long as a time-out of ten seconds, twice."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 15


def gone(lab: Lab) -> None:
    """Check that nothing is left of a failed file."""
    assert os.listdir(lab.directory) == []


def test_no_fault(lab: Lab, six: IndexFile) -> None:
    result = lab.file(six)
    good(result, lab.path())
    assert (result.attempts, result.transferred) == (1, len(BODY))
    assert result.url == lab.url(six)


def test_every_digest_that_is_asked_for(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    from tests.simulator.index import digest

    names = ["md5", "sha1", "sha256", "sha384", "sha512", "blake2b", "blake2b_256"]
    wanted = {name: digest(name, BODY) for name in names}
    result = lab.file(six, digests=wanted)
    assert result.problem is None
    assert result.digests == wanted


def test_digest_that_is_not_asked_for_is_sha256(lab: Lab, six: IndexFile) -> None:
    good(lab.file(six, digests={}), lab.path())


def test_empty_file(lab: Lab, simulator: Simulator) -> None:
    file = simulator.add_file("six", "six-0.tar.gz", b"")
    good(lab.file(file), lab.path(), b"")


def test_refused(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    with simulator.refusing():
        found = problem(lab.file(six), Reason.CONNECTION)
    assert found.attempts == 2
    assert found.url == lab.url(six)
    gone(lab)
    good(lab.file(six), lab.path())


def test_name_not_found(make_lab: MakeLab, simulator: Simulator, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("gevent.socket.getaddrinfo", fail)
    lab = make_lab(remotes=(faults_remote("http://index.invalid/simple/"),))
    found = problem(lab.file("http://index.invalid/six.whl"), Reason.CONNECTION)
    assert "index.invalid" in found.message


def faults_remote(url: str, *hosts: str):
    from pypimirror.download.protocol import Remote

    return Remote("sim", url, hosts)


@pytest.mark.parametrize("after", [None, 0, 5000])
def test_reset(lab: Lab, simulator: Simulator, six: IndexFile, after: int | None) -> None:
    simulator.fault(six, faults.Reset(after=after))
    found = lab.file(six).problem
    assert found is not None
    # A reset throws away what was under way, so that the client may see only an end.
    assert found.reason in (Reason.CONNECTION, Reason.TRUNCATED)
    assert found.attempts == 2
    gone(lab)


def test_reset_once(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Reset(after=5000), nth=1)
    result = lab.file(six)
    good(result, lab.path())
    assert result.attempts == 2


def test_hangup(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Hangup())
    problem(lab.file(six), Reason.CONNECTION)


def test_timeout_before_the_answer(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(timeout=0.3)
    simulator.fault(six, faults.Stall())
    assert problem(lab.file(six), Reason.TIMEOUT).attempts == 2
    gone(lab)


def test_timeout_in_the_body(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(timeout=0.3)
    simulator.fault(six, faults.Stall(after=5000))
    problem(lab.file(six), Reason.TIMEOUT)
    gone(lab)


def test_slow_drip(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(timeout=0.3)
    simulator.fault(six, faults.Drip(size=1, interval=0.05))
    problem(lab.file(six), Reason.TIMEOUT)
    gone(lab)


def test_slow_drip_of_headers(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    class DripHead(faults.Fault):
        def send(self, answer, exchange) -> None:
            for byte in answer.head():
                exchange.sock.sendall(bytes([byte]))
                exchange.pause(0.05)

    lab = make_lab(timeout=0.3)
    simulator.fault(six, DripHead())
    problem(lab.file(six), Reason.TIMEOUT)


def test_slow_line_passes(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(timeout=0.4, tries=5)
    simulator.fault(six, faults.Drip(size=1024, interval=0.06))
    good(lab.file(six), lab.path())


def test_slow_jobs_do_not_hold_up_others(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    lab = make_lab(timeout=5.0)
    other = simulator.add_file("six", "six-2.0.tar.gz", BODY)
    hold = simulator.hold(six)
    import gevent

    waiting = gevent.spawn(lab.fetcher.do, lab.job(six, name="slow"))
    gevent.sleep(0.01)
    good(lab.file(other), lab.path())
    hold.release()
    good(waiting.get(), lab.path("slow"))


def test_truncated(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Truncate(at=100))
    assert problem(lab.file(six), Reason.TRUNCATED).attempts == 2
    gone(lab)


def test_truncated_once(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Truncate(at=100), nth=1)
    good(lab.file(six), lab.path())


def test_longer_than_said(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    """What was announced is the file, as its digest shows; the rest must not reach anybody."""
    simulator.fault(six, faults.Longer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"), nth=1)
    good(lab.file(six), lab.path())
    good(lab.file(six), lab.path())
    assert simulator.connections == 2


def test_longer_than_said_without_digest(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.LyingLength(100))
    problem(lab.file(six, digests={}, size=None), Reason.TOO_LARGE)
    gone(lab)


def test_longer_than_the_index_says(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Padded())
    problem(lab.file(six), Reason.SIZE_MISMATCH)
    gone(lab)


def test_longer_than_the_index_says_in_chunks(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.Chunked())
    found = lab.file(six, size=len(BODY) - 1)
    problem(found, Reason.SIZE_MISMATCH)
    gone(lab)


def test_shorter_than_the_index_says_in_chunks(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.Chunked())
    result = lab.file(six, size=len(BODY) + 1)
    problem(result, Reason.SIZE_MISMATCH)
    assert lab.path().stat().st_size == result.size == len(BODY)


def test_announced_size_differs_and_nothing_is_downloaded(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    result = lab.file(six, size=5)
    assert problem(result, Reason.SIZE_MISMATCH).attempts == 2
    assert (result.size, result.transferred) == (0, 0)
    gone(lab)


def test_missing_content_length(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.MissingLength())
    good(lab.file(six), lab.path())


def test_missing_content_length_and_truncated(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.MissingLength(at=100))
    problem(lab.file(six), Reason.TRUNCATED)
    gone(lab)


def test_lying_content_length(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.LyingLength(len(BODY) + 50))
    problem(lab.file(six, size=None), Reason.TRUNCATED)
    gone(lab)


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "10, 10", "0x10", "9" * 40, ""])
def test_content_length_that_is_no_number(
    lab: Lab, simulator: Simulator, six: IndexFile, length: str
) -> None:
    simulator.fault(six, faults.LyingLength(length))
    problem(lab.file(six), Reason.BAD_RESPONSE)
    gone(lab)


def test_chunked(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Chunked())
    good(lab.file(six), lab.path())
    good(lab.file(six), lab.path())
    assert simulator.connections == 1


def test_chunked_without_last_chunk(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Chunked(cut=True))
    problem(lab.file(six), Reason.TRUNCATED)
    gone(lab)


def test_chunk_size_that_is_no_number(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Chunked(bad=True))
    problem(lab.file(six), Reason.BAD_RESPONSE)
    gone(lab)


def test_chunked_without_end(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(max_file_size=1 << 20)
    simulator.fault(six, faults.EndlessChunked())
    problem(lab.file(six, size=None), Reason.TOO_LARGE)
    problem(lab.file(six), Reason.SIZE_MISMATCH)
    gone(lab)


def test_chunks_that_hold_nothing(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    simulator.fault(six, faults.Raw(head + b"x" * (1 << 20)))
    problem(lab.file(six), Reason.BAD_RESPONSE)


@pytest.mark.parametrize(
    "headers",
    [
        {"Transfer-Encoding": "gzip, chunked"},
        {"Transfer-Encoding": "chunked", "Content-Length": "5"},
        {"Transfer-Encoding": "identity"},
    ],
)
def test_framing_that_is_ambiguous(
    lab: Lab, simulator: Simulator, six: IndexFile, headers: dict[str, str]
) -> None:
    simulator.fault(six, faults.SetHeaders(headers))
    problem(lab.file(six), Reason.BAD_RESPONSE)


def test_larger_than_allowed(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(max_file_size=1000)
    result = lab.file(six)
    assert problem(result, Reason.TOO_LARGE).attempts == 1
    assert result.transferred == 0
    gone(lab)


def test_larger_than_allowed_without_saying(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    lab = make_lab(max_file_size=1000)
    simulator.fault(six, faults.MissingLength())
    problem(lab.file(six, size=None), Reason.TOO_LARGE)
    gone(lab)


def test_not_modified_without_having_asked(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.NotModified())
    problem(lab.file(six), Reason.BAD_RESPONSE)


def test_partial_content_without_having_asked(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.WrongRange(shift=0))
    problem(lab.file(six), Reason.BAD_RESPONSE)
    gone(lab)


def test_html_error_page(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.HtmlError())
    found = problem(lab.file(six), Reason.BAD_RESPONSE)
    assert "HTML page" in found.message
    gone(lab)


def test_html_error_page_with_no_size_known(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.HtmlError())
    problem(lab.file(six, size=None), Reason.BAD_RESPONSE)
    gone(lab)


def test_html_error_page_with_nothing_known(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.HtmlError())
    problem(lab.file(six, size=None, digests={}), Reason.BAD_RESPONSE)
    gone(lab)


def test_html_that_is_the_file(lab: Lab, simulator: Simulator) -> None:
    page = b"<!DOCTYPE html><p>proven by its digest"
    file = simulator.add_file("six", "six-1.0.tar.gz", page)
    simulator.fault(file, faults.SetHeaders({"Content-Type": "text/html"}))
    good(lab.file(file), lab.path(), page)


def test_gzip_as_content_encoding_of_a_file(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Encoded())
    problem(lab.file(six, digests={}), Reason.BAD_RESPONSE)
    gone(lab)
    assert simulator.requests[0].headers["accept-encoding"] == "identity"


def test_gzip_bomb_as_a_file(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.GzipBomb(size=8 << 20))
    problem(lab.file(six, size=None, digests={}), Reason.BAD_RESPONSE)


@pytest.mark.parametrize("count", [1000, None])
def test_header_flood(lab: Lab, simulator: Simulator, six: IndexFile, count: int | None) -> None:
    simulator.fault(six, faults.HeaderFlood(count=count))
    problem(lab.file(six), Reason.BAD_RESPONSE)


def test_many_small_headers(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.HeaderFlood(count=300, size=1))
    problem(lab.file(six), Reason.BAD_RESPONSE)


@pytest.mark.parametrize(
    "data",
    [
        b"\x15\x03\x01 this is not HTTP\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nA\0B: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConte",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20,
        b"",
    ],
)
def test_what_is_not_http(lab: Lab, simulator: Simulator, six: IndexFile, data: bytes) -> None:
    simulator.fault(six, faults.Raw(data))
    found = lab.file(six).problem
    assert found is not None
    assert found.reason is (Reason.BAD_RESPONSE if data else Reason.CONNECTION), found
    gone(lab)


def test_interim_answers_are_skipped(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    answer = (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    simulator.fault(six, faults.Raw(answer))
    good(lab.file(six, size=None, digests={}), lab.path(), b"ok")


def test_digest_mismatch_once(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Corrupt(), nth=1)
    result = lab.file(six)
    good(result, lab.path())
    assert (result.attempts, result.transferred) == (2, 2 * len(BODY))


def test_digest_mismatch_leaves_the_bytes_for_quarantine(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    lab = make_lab(tries=5)
    simulator.fault(six, faults.Corrupt())
    result = lab.file(six)
    assert problem(result, Reason.DIGEST_MISMATCH).attempts == 2
    assert len(lab.path().read_bytes()) == result.size == len(BODY)
    assert result.digests["sha256"] != six.digests["sha256"]


def test_digest_mismatch_that_could_not_be_confirmed(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    """One bad transfer proves nothing: not for quarantine."""
    simulator.fault(six, faults.Corrupt(), nth=1)
    simulator.fault(six, faults.Hangup(), nth=2, times=9)
    result = lab.file(six)
    problem(result, Reason.CONNECTION)
    assert result.size == 0
    gone(lab)


def test_keep_alive(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    for _ in range(3):
        good(lab.file(six), lab.path())
    assert simulator.connections == 1


def test_keep_alive_closed_while_idle(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    lab = make_lab(tries=1)
    simulator.fault(six, faults.CloseIdle(), nth=1)
    good(lab.file(six), lab.path())
    good(lab.file(six), lab.path())


def test_keep_alive_closed_on_reuse(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile
) -> None:
    lab = make_lab(tries=1)
    simulator.fault(six, faults.CloseIdle(on_reuse=True), nth=1)
    good(lab.file(six), lab.path())
    result = lab.file(six)
    good(result, lab.path())
    assert result.attempts == 1
    assert simulator.connections == 2


def test_missing_file(make_lab: MakeLab, simulator: Simulator) -> None:
    lab = make_lab(tries=5)
    result = lab.file("/packages/nothing.whl")
    assert problem(result, Reason.MISSING).attempts == 1
    gone(lab)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 451])
def test_status_that_is_not_tried_again(
    lab: Lab, simulator: Simulator, six: IndexFile, status: int
) -> None:
    reason = Reason.DENIED if status in (403, 451) else Reason.HTTP_STATUS
    simulator.fault(six, faults.Status(status))
    found = problem(lab.file(six), reason)
    assert found.attempts == 1
    assert str(status) in found.message


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_status_that_is_tried_again(
    lab: Lab, simulator: Simulator, six: IndexFile, status: int
) -> None:
    rule = simulator.fault(six, faults.Status(status))
    assert problem(lab.file(six), Reason.HTTP_STATUS).attempts == 2
    simulator.heal(rule)
    simulator.fault(six, faults.Status(status), nth=1)
    good(lab.file(six), lab.path())


@pytest.mark.parametrize("status", [201, 204, 205, 206, 300, 304, 305])
def test_status_that_makes_no_sense(
    lab: Lab, simulator: Simulator, six: IndexFile, status: int
) -> None:
    simulator.fault(six, faults.Status(status))
    problem(lab.file(six), Reason.BAD_RESPONSE)


def test_second_url_where_the_first_fails(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    other = simulator.add_file("six", "six-2.0.tar.gz", BODY)
    for fault in (faults.Status(500), faults.Status(404), faults.Corrupt(), faults.Hangup()):
        rule = simulator.fault(six, fault)
        result = lab.file(six, other)
        good(result, lab.path())
        assert result.url == lab.url(other)
        simulator.heal(rule)


def test_all_urls_fail_and_the_most_telling_is_reported(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.Corrupt())
    result = lab.file("/packages/missing", six, "ftp://nowhere/", digests={"sha256": "0" * 64})
    problem(result, Reason.DIGEST_MISMATCH)
    assert lab.path().exists()


def test_disk_that_cannot_be_written(lab: Lab, six: IndexFile) -> None:
    lab.path("blocked").write_text("a file, not a directory")
    result = lab.file(six, name="blocked/file")
    assert problem(result, Reason.DISK).attempts == 1


def test_disk_full(lab: Lab, six: IndexFile, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    monkeypatch.setattr(regular, "create", lambda path: os.open("/dev/full", os.O_WRONLY))
    assert "space" in problem(lab.fetcher.do(lab.job(six)), Reason.DISK).message


def test_a_directory_that_is_not_there_is_made(lab: Lab, six: IndexFile) -> None:
    good(lab.file(six, name="a/b/c"), lab.path("a/b/c"))


def test_a_fault_of_ours_is_reported(lab: Lab, six: IndexFile) -> None:
    problem(lab.file(six, digests={"sha3": "00"}), Reason.INTERNAL)
    assert any("KeyError" in note.message for note in lab.told)
