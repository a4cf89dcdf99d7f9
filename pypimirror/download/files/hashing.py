"""Several digests of one stream of bytes. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from pypimirror.domain.model import ALGORITHMS


def _new(algorithm: str) -> Callable[[], Any]:
    if algorithm == "blake2b_256":
        return lambda: hashlib.blake2b(digest_size=32)
    if algorithm == "blake2b":
        return hashlib.blake2b
    # The OpenSSL constructors by name: hashlib.new() looks them up on each call.
    return lambda: getattr(hashlib, algorithm)(usedforsecurity=False)


_CONSTRUCTORS = {name: _new(name) for name in ALGORITHMS}


class Digests:
    """The digests of a stream: the requested ones, and always sha256."""

    __slots__ = ("_hashes", "size")

    def __init__(self, algorithms: Iterable[str]) -> None:
        self.size = 0  #: bytes seen
        self._hashes = {"sha256": hashlib.sha256()}
        for name in algorithms:
            if name != "sha256":
                self._hashes[name] = _CONSTRUCTORS[name]()

    def update(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""
        self.size += len(data)
        for one in self._hashes.values():
            one.update(data)

    def hex(self) -> dict[str, str]:
        """Return algorithm to lower-case hex digest."""
        return {name: one.hexdigest() for name, one in self._hashes.items()}


def mismatches(computed: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Return the algorithms whose expected digest is not the computed one."""
    return [name for name, value in expected.items() if computed.get(name) != value.lower()]


def contradiction(computed: dict[str, str], expected: dict[str, str]) -> str:
    """Describe how computed digests differ from the expected ones."""
    wrong = mismatches(computed, expected)
    text = f"{wrong[0]} {computed[wrong[0]]}, but the index says {expected[wrong[0]]}."
    met = next((name for name in expected if name not in wrong), None)
    if met is None:
        return text
    return (
        f"{text} Its {met} {computed[met]} is what was claimed: either these claims contradict "
        "each other, or the bytes are forged."
    )
