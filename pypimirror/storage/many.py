"""Many questions to a storage at once, where each one takes a way through the network.

A directory answers in microseconds, so it is asked in turn. A storage elsewhere is asked by
`Storage.at_once` threads, which wait for it together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pypimirror.storage.storage import Storage

T = TypeVar("T")
R = TypeVar("R")


def ask(storage: Storage, question: Callable[[T], R], things: Sequence[T]) -> list[R]:
    """Return the answers to `question` for all things, in their order.

    Raises what the first question raises that fails. Some of the others are asked, too.
    """
    threads = min(storage.at_once, len(things))
    if threads <= 1:
        return [question(thing) for thing in things]
    with storage.waiting(), ThreadPoolExecutor(threads, thread_name_prefix="storage") as pool:
        return list(pool.map(question, things))
