"""The lanes of a run: what is done while one of them waits for the first time."""

from __future__ import annotations

import threading

from pypimirror.pipeline.context.lanes import Lanes


def test_what_is_put_off_is_done_once_and_while_others_work() -> None:
    lanes, done = Lanes(), list[str]()

    def other() -> None:
        with lanes.priority.taken(first=False):
            done.append("other")

    def meanwhile() -> None:
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        thread.join(30)
        done.append("put off")

    lanes.meanwhile = meanwhile
    with lanes.priority.taken(first=True):
        for number in range(2):
            with lanes.waiting():
                done.append(f"wait {number}")
    assert done == ["other", "put off", "wait 0", "wait 1"]
