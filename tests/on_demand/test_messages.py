"""The messages between server and fetcher survive their way."""

from __future__ import annotations

import pytest

from pypimirror.on_demand import messages


@pytest.mark.parametrize(
    "message",
    [
        messages.PageQuestion(1, "six"),
        messages.IndexQuestion(2),
        messages.FileQuestion(3, "six", "six-1.0-py3-none-any.whl.metadata"),
        messages.Used([("six", "six-1.0-py3-none-any.whl")]),
    ],
)
def test_what_the_server_says_is_understood(message: messages.Message) -> None:
    sent = messages.line(message)
    assert sent.count(b"\n") == 1 and messages.from_server(sent) == message


@pytest.mark.parametrize(
    "message",
    [
        messages.Ready("1.0"),
        messages.Here(1),
        messages.Here(1, "/store/six", 600.0, "a warning\nof two lines", held_only=True),
        messages.Coming(2, "/store/part", 5, 10, {"sha256": "00"}),
        messages.Refused(3, "not selected"),
        messages.Absent(4, "no such project", 300.0),
        messages.Away(5, "timed out"),
        messages.Failed(6, "digest mismatch"),
        messages.Counted({"requests": 3.0}),
    ],
)
def test_what_the_fetcher_says_is_understood(message: messages.Message) -> None:
    sent = messages.line(message)
    assert sent.count(b"\n") == 1 and messages.from_fetcher(sent) == message
