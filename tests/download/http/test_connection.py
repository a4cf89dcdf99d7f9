"""Heads of answers: the short way for usual ones reads what httptools reads."""

from __future__ import annotations

import itertools

import pytest

from pypimirror.download.failure import FetchError
from pypimirror.download.http import connection
from pypimirror.download.http.hosts import Origin

ORIGIN = Origin("http", "index.test", 80)

FIRST_LINES = (
    *("HTTP/1.1 200 OK", "HTTP/1.1 304 Not Modified", "HTTP/1.1 204 ", "HTTP/1.1 200"),
    *("HTTP/1.0 200 OK", "HTTP/1.1 050 x", "HTTP/1.1 999 x", "HTTP/1.1  200 OK"),
    *("HTTP/1.1 200 \xe9", "HTTP/1.1 200 a\tb", "HTTP/1.1 2000 OK", "http/1.1 200 OK"),
)
NAMES = ("Content-Length", "content-length", "Transfer-Encoding", "Connection", "X", "A_b", "A b")
VALUES = (
    *("0", "10", "010", "+1", "1, 1", "9" * 18, "9" * 19, "9" * 30, "chunked", "close", "x y"),
    *("upgrade", "a", "", " ", "a ", "\ta", "a\tb", "a\0", "\xe9", "a\x7f", "a\nb", "a\rb"),
)
FIELDS = [f"{name}{colon}{value}" for name in NAMES for colon in (": ", ":") for value in VALUES]


def test_the_short_way_reads_what_httptools_reads() -> None:
    heads = [f"{first}\r\n{field}\r\n\r\n" for first in FIRST_LINES for field in FIELDS]
    pairs = itertools.product((field for field in FIELDS if ": " in field), repeat=2)
    heads += [f"HTTP/1.1 200 OK\r\n{one}\r\n{other}\r\n\r\n" for one, other in pairs]
    read = 0
    for head in heads:
        found = connection._parse_usual(head)
        if found is not None:
            read += 1
            assert found == connection._parse_any(head.encode("latin-1"), ORIGIN), head
    assert read > 1000


@pytest.mark.parametrize(
    "lines",
    [
        *("Content-Length: 1\r\nContent-Length: 1", "Content-Length: x", "Content-Length: -1"),
        *("Transfer-Encoding: chunked\r\nContent-Length: 1", "A: b\r\n c: d", "A\0: b", "A : b"),
        *("A: b\nB: c", ": b", "\r\n".join(f"A{number}: b" for number in range(300))),
    ],
)
def test_a_head_that_breaks_the_rules_is_refused_and_never_read_the_short_way(lines: str) -> None:
    head = f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n"
    assert connection._parse_usual(head) is None
    with pytest.raises(FetchError):
        connection.parse_head(head.encode(), ORIGIN)


def test_a_usual_head_is_read_the_short_way() -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n"
    found = connection._parse_usual(head)
    assert found is not None
    assert (found.status, found.reason, found.headers["CONTENT-LENGTH"]) == (200, "OK", "10")
