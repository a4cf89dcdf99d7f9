"""A direct answer is sent whole, or the connection is cut."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

import gevent
import pytest
from gevent.socket import socket, socketpair

from pypimirror.serve.direct import sending
from pypimirror.serve.direct.direct import DirectAnswer
from pypimirror.serve.direct.sending import send

CONTENT = random.Random(1).randbytes(5_000_000)  # more than a socket takes at once
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def both() -> Iterator[tuple[socket, socket]]:
    with ExitStack() as stack:
        yield tuple(stack.enter_context(end) for end in socketpair())


@pytest.fixture
def file(tmp_path: Path) -> FileIO:
    (tmp_path / "file").write_bytes(CONTENT)
    return FileIO(str(tmp_path / "file"), "rb")


def received(both: tuple[socket, socket], answer: DirectAnswer) -> tuple[bytes, int]:
    """Send an answer; return its body as it arrives, and how often it moved."""
    ours, theirs = both
    moves: list[socket] = []

    def read() -> bytes:
        return b"".join(iter(lambda: theirs.recv(1 << 16), b""))

    reader = gevent.spawn(read)
    try:
        assert send(ours, answer, moves.append) == len(CONTENT)
    finally:
        ours.close()
    head, _, body = reader.get().partition(b"\r\n\r\n")
    assert head.startswith(HEAD + b"Date: ")
    return body, len(moves)


def test_a_large_page_arrives(both: tuple[socket, socket]) -> None:
    body, moves = received(both, DirectAnswer(200, HEAD, CONTENT))
    assert body == CONTENT
    assert moves, "a client that takes long is known"


def test_a_file_arrives_and_is_closed(both: tuple[socket, socket], file: FileIO) -> None:
    body, moves = received(both, DirectAnswer(200, HEAD, b"", file, len(CONTENT)))
    assert body == CONTENT
    assert moves >= len(CONTENT) // sending.TURN
    assert file.closed


def test_a_file_system_without_sendfile_is_read(
    both: tuple[socket, socket], file: FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", cannot)
    assert received(both, DirectAnswer(200, HEAD, b"", file, len(CONTENT)))[0] == CONTENT


def test_a_file_that_has_become_shorter_cuts_the_connection(
    both: tuple[socket, socket], file: FileIO, tmp_path: Path
) -> None:
    os.truncate(tmp_path / "file", 1_000_000)
    with pytest.raises(ConnectionAbortedError):
        received(both, DirectAnswer(200, HEAD, b"", file, len(CONTENT)))
    assert file.closed


def test_a_client_that_stands_still_is_given_up(both: tuple[socket, socket], file: FileIO) -> None:
    both[0].settimeout(0.01)
    with pytest.raises(TimeoutError):
        send(both[0], DirectAnswer(200, HEAD, b"", file, len(CONTENT)), lambda _: None)
    assert file.closed
