"""Only a request without any surprise gets a direct answer."""

from __future__ import annotations

import pytest

from pypimirror.serve.direct.heads import Fields, read_head

LINE = b"GET /simple/six/ HTTP/1.1\r\n"
HOST = b"Host: mirror.example\r\n"
END = b"\r\n"


def test_a_plain_request_is_understood() -> None:
    data = LINE + HOST + b"ACCEPT:  text/html;q=0.1, */* \t\r\nConnection: Keep-Alive\r\n" + END
    head = read_head(data + b"GET /next")
    assert head is not None
    assert (head.is_head, head.target, head.length) == (False, "/simple/six/", len(data))
    assert head.fields == Fields("text/html;q=0.1, */*")


def test_a_condition_with_an_etag_is_understood() -> None:
    data = b"HEAD / HTTP/1.1\r\n" + HOST + b'If-None-Match: "0a1-f"\r\n' + END
    head = read_head(data)
    assert head is not None
    assert head.is_head
    assert head.fields == Fields("", '"0a1-f"')


def test_a_proxy_may_end_the_connection() -> None:
    head = read_head(LINE + HOST + b"Connection: close\r\n" + END)
    assert head is not None
    assert head.fields == Fields("", is_last=True)


@pytest.mark.parametrize(
    "line",
    [
        b"POST /simple/six/ HTTP/1.1",
        b"GET http://mirror.example/simple/six/ HTTP/1.1",
        b"GET /simple/six/ HTTP/1.0",
        b"GET /simple/six/",
        b"GET  /simple/six/ HTTP/1.1",
        b"get /simple/six/ HTTP/1.1",
        b" GET /simple/six/ HTTP/1.1",
        b"",
    ],
)
def test_another_request_line_goes_the_long_way(line: bytes) -> None:
    assert read_head(line + b"\r\n" + HOST + END) is None


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host:\r\n",
        HOST + HOST,
        HOST + b"Accept: a/b\r\nAccept: c/d\r\n",
        HOST + b"Content-Length: 0\r\n",
        HOST + b"Transfer-Encoding: chunked\r\n",
        HOST + b"Transfer-Encoding : chunked\r\n",
        HOST + b"Expect: 100-continue\r\n",
        HOST + b"Upgrade: h2c\r\n",
        HOST + b"Connection: keep-alive, Upgrade\r\n",
        HOST + b"Range: bytes=0-1\r\n",
        HOST + b"If-Modified-Since: Mon, 01 Jan 2020 00:00:00 GMT\r\n",
        HOST + b"If-Match: *\r\n",
        HOST + b"If-None-Match: *\r\n",
        HOST + b'If-None-Match: W/"0a"\r\n',
        HOST + b'If-None-Match: "0a", "0b"\r\n',
        HOST + b"No header at all\r\n",
        HOST + b" folded: line\r\n",
        HOST + b"X: a\r\n b\r\n",
        HOST + b"X: a\nTransfer-Encoding: chunked\r\n",
        HOST + b"X: a\rb\r\n",
        HOST + b"X: \x00\r\n",
        HOST + b"X: \xc3\xa4\r\n",
        HOST + b": empty\r\n",
    ],
)
def test_headers_that_need_thought_go_the_long_way(fields: bytes) -> None:
    assert read_head(LINE + fields + END) is None


def test_a_head_that_is_not_complete_goes_the_long_way() -> None:
    data = LINE + HOST + END
    for length in range(len(data)):
        assert read_head(data[:length]) is None
    assert read_head(data) is not None
