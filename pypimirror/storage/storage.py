"""Where a mirror is kept, as the pipeline sees it: objects by key, such as `simple/six/index.html`.

The rules that every implementation keeps (`tests/storage/test_contract.py` holds them to it):

1. A reader sees an old object or a new one, and never part of one.
2. What `place` and `write` show is durable before it is seen. That it is seen is durable after the
   next `flush`.
3. What is in the way of one key alone stops no other; it is told by that key.
4. A file keeps its stamp (`storage.stamps.stamp`) when it is placed.
5. Nothing changes before `guard` has been called: whoever may not write any more is stopped there.

The order of changes is the callers': bytes, pages, root index; and out the other way round.
`PosixStorage` (`storage.posix`) is a directory. What is private is the `Workspace`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from pypimirror.domain.model import Problem
from pypimirror.storage.changes import Changes
from pypimirror.storage.durability import Durability
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError


class Local(NamedTuple):
    """Where this machine reads an object: there is no file where there is no object."""

    path: str
    root: str = ""  #: what the path must be below
    stamp: int | None = None  #: the object's, where the file is a copy of it


class Storage(Protocol):
    """What is served of a mirror. Keys are made of checked components only."""

    #: Called before each change; what it raises stops that.
    guard: Callable[[], None]
    #: What is entered while the storage is waited for.
    waiting: Callable[[], AbstractContextManager[None]]
    #: Where changes are noted, if anybody wants to know.
    changes: Changes | None

    @property
    def shown(self) -> str:
        """What messages call it."""

    def create(self) -> None:
        """Make what must be there before the first object. Raises `StorageError`."""

    def free(self) -> int | None:
        """Return the bytes that are free; None where nobody knows, or there is no end."""

    def identity(self) -> str:
        """Return what changes when what is served is put back from a copy. Raises `OSError`.

        "" where nothing tells; see `storage.generation`.
        """

    # Reading

    def keys(self, prefix: str, unreadable: Callable[[StorageError], None]) -> Iterator[str]:
        """Yield what there is below `prefix`; `unreadable` hears of what cannot be looked into."""

    def has(self, key: str) -> bool:
        """Whether there is something at `key`."""

    def lists(self, key: str) -> bool:
        """Whether there is something that is spelt like this, and not only found by it."""

    def size(self, key: str) -> int | None:
        """Return the bytes of the object at `key`; None where there is none that can be read."""

    def stamp(self, key: str) -> int:
        """Return a number that changes when the object at `key` is replaced. Raises `OSError`."""

    def stamp_of_all(self, keys: Iterable[str]) -> int | None:
        """Return one stamp for several objects; None where one is not there."""

    def sha256_of_all(self, keys: Iterable[str]) -> bytes | None:
        """Return one digest of several objects' bytes; None where one cannot be read."""

    def read(self, key: str, most: int = regular.MOST) -> bytes | None:
        """Return an object's bytes; None where it cannot be read, or has more than `most`.

        Raises `StorageError` where it is the storage that cannot be read.
        """

    def says(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Whether the object at `key` has this content. Raises as `read`."""

    def local(self, key: str) -> Local:
        """Return where this machine reads what is at `key`."""

    # Changing

    def place(
        self, moves: Sequence[tuple[Path | str, str]], blocked: dict[str, Problem] | None = None
    ) -> None:
        """Move each source, a verified file of the workspace, to its key in one step.

        What is in the way of one key alone is put down in `blocked`, by that key, and the others
        are placed all the same; without `blocked`, that is an error as any other.
        Raises `StorageError`.
        """

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write pages, and return how many; those that say the same already are left alone.

        On `blocked`, see `place`. Raises `StorageError`.
        """

    def remove(self, key: str) -> None:
        """Remove an object; no error where there is none. Raises `StorageError`."""

    def take(self, key: str, target: Path) -> None:
        """Move an object out of what is served, to a path of the workspace. Raises `OSError`."""

    def flush(self) -> None:
        """Return when everything so far would survive a power cut. Raises `StorageError`."""


#: Opens the storage of a mirror. Raises `StorageError`.
MakeStorage = Callable[[Workspace, Durability], Storage]
