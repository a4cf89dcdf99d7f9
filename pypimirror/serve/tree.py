"""The interface to the tree of files that the web server serves, on disk or elsewhere. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import IO, Protocol


class AwayError(Exception):
    """The storage of the tree does not answer, so nobody knows what is there."""


class OpenFile(Protocol):
    """An open file of the tree. All of its values are of the same version."""

    @property
    def handle(self) -> IO[bytes]:
        """The bytes."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    @property
    def modified(self) -> datetime:
        """The time of the last change in whole seconds, as in HTTP."""

    def until(self, end: int) -> None:
        """Bytes from `end` on will not be read."""

    def modified_is_past(self) -> bool:
        """Whether that time has passed; HTTP allows no Last-Modified in the future."""

    def modified_is_settled(self) -> bool:
        """Whether no later change can have the same `modified`."""

    def state_etag(self) -> str:
        """An ETag for files that do not change."""

    def content_etag(self) -> str:
        """An ETag from the bytes."""

    def serial(self) -> str | None:
        """The serial that our page states."""


class Tree(Protocol):
    """A mirror root. Parts of paths come from clients. All methods raise `AwayError`."""

    @property
    def shown(self) -> str:
        """The name in messages."""

    def open(self, top: str, *parts: str) -> OpenFile | None:
        """Open a file for reading; None if there is no such file, or it must not be served."""

    def names_present(self, top: str, *parts: str, names: Iterable[str]) -> frozenset[str]:
        """Which of `names` are in a directory."""

    def forget(self, top: str, *parts: str) -> None:
        """Forget that a file is absent."""

    def address(self, top: str, *parts: str) -> str | None:
        """Return the address of a file elsewhere, to redirect clients; None if there is none."""


def is_plain(part: str) -> bool:
    """Whether `part` is one component of a path that is not hidden and does not climb."""
    return part != "" and not part.startswith(".") and "/" not in part and "\0" not in part
