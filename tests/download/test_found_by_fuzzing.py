"""What `fuzz_answers` found, by its cause."""

from __future__ import annotations

import gzip
import itertools

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError
from pypimirror.download.http.content_encoding import decoded
from pypimirror.download.http.hosts import parse_url
from tests.download.fuzz_answers import LIMIT, Outcome, Peer, Pieces, ask, bytewise, pieces, whole

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def said(data: bytes, *, sizes=whole, end: str = "end") -> Outcome:
    return ask(Peer(data, sizes(), end), "GET", pieces)


def test_an_answer_behind_the_last_chunk_is_not_read_into_the_body() -> None:
    """The parser of chunks went on with it as the next answer, and its body came with ours."""
    outcome = said(CHUNKED + b"1\r\na\r\n0\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\nbad")
    assert (outcome.body, outcome.error, outcome.kept) == (b"a", None, False)


def test_many_small_chunks_that_come_each_on_its_own() -> None:
    """What frames them was added up, and at 64 KiB taken for chunks that hold nothing."""
    assert (
        said(CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n", sizes=bytewise).body == b"a" * 20_000
    )


def test_an_encoded_body_that_never_ends_and_holds_nothing() -> None:
    """Nothing came out, so the limit was never reached."""
    blocks = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * (4 * LIMIT)
    with pytest.raises(FetchError) as caught:
        assert not b"".join(decoded(Pieces(blocks, 1 << 14), "gzip", LIMIT))
    assert caught.value.reason is Reason.TOO_LARGE


def test_members_without_content_for_ever() -> None:
    endless = itertools.repeat(gzip.compress(b"", mtime=0) * 100)
    body = Pieces(b"", 1)
    body.next_piece = lambda: next(endless)  # type: ignore[method-assign]
    with pytest.raises(FetchError) as caught:
        assert not b"".join(decoded(body, "gzip", LIMIT))
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("sizes", [whole, bytewise])
@pytest.mark.parametrize(
    "data", [b"HTT\xd0", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/0.9 200 OK\r\n\r\n"]
)
def test_another_protocol_however_its_bytes_come(data: bytes, sizes) -> None:
    """Only the first bytes that came were looked at, and the parser knows of HTTP/2."""
    assert said(data, sizes=sizes, end="reset").error is Reason.BAD_RESPONSE


def test_garbage_behind_an_interim_answer() -> None:
    """It was waited on."""
    data = b"HTTP/1.1 100 Continue\r\n\r\n0\r\n"
    assert said(data, end="silence").error is Reason.BAD_RESPONSE


def test_a_status_below_100_is_not_that_of_an_interim_answer() -> None:
    data = b"HTTP/1.1 050 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"
    assert said(data).error is Reason.BAD_RESPONSE


def test_only_spaces_and_tabs_are_not_part_of_a_value() -> None:
    """What Unicode calls white space was dropped, too."""
    outcome = said(OK + b"A: \xa0 x \x85\t\r\nContent-Length: 0\r\n\r\n")
    assert dict(outcome.headers)["a"] == "\xa0 x \x85"
    coding = b"Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n"
    assert said(OK + coding).error is Reason.BAD_RESPONSE


@pytest.mark.parametrize("host", ["..", ".", "a..b", ".a"])
def test_a_host_of_dots(host: str) -> None:
    """It was one without a name, once the dots were taken off."""
    with pytest.raises(FetchError) as caught:
        parse_url(f"http://{host}/")
    assert caught.value.reason is Reason.UNSAFE_URL


@pytest.mark.parametrize(
    "chunks",
    [
        *(b"+1\r\na\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n", b"1_0\r\na\r\n", b"1\na\r\n", b"\r\n"),
        *(b"1\r\nab\r\n", b"1\r\na\n", b"1\r\na\r\r\n", b"g\r\n", b"-1\r\n", b"f" * 16 + b"\r\n"),
        *(b"0\r\nbad trailer\r\n\r\n", b"0\r\n\n", b"1;\0\r\na\r\n", b"0\r\n: x\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("sizes", [whole, bytewise])
def test_chunks_that_break_the_rules(chunks: bytes, sizes) -> None:
    assert said(CHUNKED + chunks + b"0\r\n\r\n", sizes=sizes).error is Reason.BAD_RESPONSE


def test_a_line_between_chunks_that_never_ends() -> None:
    assert said(CHUNKED + b"1;" + b"x" * (1 << 20)).error is Reason.BAD_RESPONSE
