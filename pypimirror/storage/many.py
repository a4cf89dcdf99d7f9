"""Many questions to a storage at once, because each one may go through the network.

A directory answers in microseconds, so it is asked in turn. Any other storage is asked by
`Storage.at_once` threads at the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pypimirror.storage.storage import Storage
from pypimirror.system.disk_errors import StorageError

#: From this number of questions about one directory on, a list of the directory costs less.
_LISTED = 8

T = TypeVar("T")
R = TypeVar("R")


def ask(storage: Storage, question: Callable[[T], R], things: Sequence[T]) -> list[R]:
    """Return the answers to `question` for all things, in their order.

    If a question fails, its error is raised after the others were asked.
    """
    threads = min(storage.at_once, len(things))
    if threads <= 1:
        return [question(thing) for thing in things]

    # A share for each thread: many answers are known at once, and cost less than a job.
    def answers(first: int) -> list[R]:
        return [question(thing) for thing in things[first::threads]]

    with storage.waiting(), ThreadPoolExecutor(threads, thread_name_prefix="storage") as pool:
        found = list(pool.map(answers, range(threads)))
    return [found[number % threads][number // threads] for number in range(len(things))]


def present(storage: Storage, keys: Iterable[str]) -> set[str]:
    """Return the keys that have an object. Raises `StorageError`.

    If a directory has many of the keys, a storage elsewhere is asked for its list: one answer has a
    thousand keys.
    """
    if storage.at_once <= 1:
        return {key for key in keys if storage.size(key) is not None}
    together: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        together[key.rpartition("/")[0]].append(key)
    questions: list[Callable[[], set[str]]] = []
    for directory, asked in together.items():
        if len(asked) < _LISTED:
            questions += (partial(_single, storage, key) for key in asked)
        else:
            questions.append(partial(_listed, storage, directory, frozenset(asked)))
    return set().union(*ask(storage, lambda question: question(), questions))


def _single(storage: Storage, key: str) -> set[str]:
    return set() if storage.size(key) is None else {key}


def _listed(storage: Storage, directory: str, asked: frozenset[str]) -> set[str]:
    return set(asked.intersection(storage.keys(directory, _raise)))


def _raise(error: StorageError) -> None:
    raise error
