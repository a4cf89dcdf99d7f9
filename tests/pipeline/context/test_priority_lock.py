"""Turns: one thread at work, whoever feeds the workers first, and no turn that is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pypimirror.pipeline.context.priority_lock import PriorityLock

PATIENCE = 30


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_for_waiting(turns: PriorityLock, number: int) -> None:
    while sum(map(len, turns._waiting)) < number:
        threading.Event().wait(0.001)


def test_never_are_two_at_work() -> None:
    turns = PriorityLock()
    at_work = most = 0

    def work() -> None:
        nonlocal at_work, most
        for _ in range(200):
            with turns.taken(first=False):
                at_work += 1
                most = max(most, at_work)
                at_work -= 1
                with turns.given_up():
                    pass
                at_work += 1
                most = max(most, at_work)
                at_work -= 1

    threads = [start(work) for _ in range(6)]
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert most == 1


def test_who_feeds_the_workers_goes_first_and_the_others_in_their_order() -> None:
    turns = PriorityLock()
    order: list[str] = []

    def work(name: str, first: bool) -> None:
        with turns.taken(first=first):
            order.append(name)

    with turns.taken(first=False):
        threads = []
        for number, (name, first) in enumerate(
            [("publish", False), ("verify", False), ("download", True), ("discover", True)], 1
        ):
            threads.append(start(lambda name=name, first=first: work(name, first)))  # type: ignore[misc]
            wait_for_waiting(turns, number)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["download", "discover", "publish", "verify"]


def test_who_has_fed_the_workers_once_waits_behind_those_who_have_not() -> None:
    turns = PriorityLock()
    order: list[str] = []
    fed, answered = threading.Event(), threading.Event()

    def ask() -> None:
        with turns.taken(first=True, once=True):
            with turns.given_up():
                fed.set()
                answered.wait(PATIENCE)
            order.append("answer")

    def work(name: str, first: bool) -> None:
        with turns.taken(first=first):
            order.append(name)

    threads = [start(ask)]
    assert fed.wait(PATIENCE)
    with turns.taken(first=False):
        threads.append(start(lambda: work("keeper", False)))
        wait_for_waiting(turns, 1)
        answered.set()
        wait_for_waiting(turns, 2)
        threads.append(start(lambda: work("question", True)))
        wait_for_waiting(turns, 3)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["question", "answer", "keeper"]


def test_a_turn_that_is_given_up_is_had_again_afterwards() -> None:
    turns = PriorityLock()
    done = threading.Event()

    def work() -> None:
        with turns.taken(first=True):
            done.set()

    with turns.taken(first=False):
        with turns.given_up():
            start(work).join(PATIENCE)
            assert done.is_set()
        assert turns._busy
        done.clear()
        late = start(work)
        wait_for_waiting(turns, 1)
        assert not done.is_set()
    late.join(PATIENCE)
    assert done.is_set()
    assert not turns._busy


def test_a_turn_is_given_up_by_whoever_fails_with_it() -> None:
    turns = PriorityLock()
    with pytest.raises(ValueError, match="wrong"), turns.taken(first=False), turns.given_up():
        raise ValueError("wrong")
    assert not turns._busy


def test_who_has_no_turn_has_none_to_give_up() -> None:
    turns = PriorityLock()
    with turns.given_up():
        assert not turns._busy
    with turns.taken(first=True):
        waiting = start(lambda: turns.given_up().__enter__())
        waiting.join(PATIENCE)
        assert turns._busy
