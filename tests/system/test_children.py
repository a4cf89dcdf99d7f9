"""One child process: how it is started, read and ended."""

from __future__ import annotations

import threading

import pytest

from pypimirror.system.children import Child


class Silent(Child):
    """Hears of the end, and of nothing else."""

    def __init__(self, module: str) -> None:
        self.ended = threading.Event()
        super().__init__(module)

    def on_lines(self, lines: list[bytes]) -> None:
        raise AssertionError(lines)

    def on_error_line(self, text: str) -> None:
        pass

    def on_end(self) -> None:
        self.ended.set()


def test_the_end_of_a_child_that_ends_at_once_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each thread that reads it is through before the next is started."""
    start = threading.Thread.start

    def start_and_wait(thread: threading.Thread) -> None:
        start(thread)
        thread.join(30)

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    assert Silent("tests.no_such_module").ended.is_set()
