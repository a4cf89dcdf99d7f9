"""A storage in memory for tests, and wrappers that damage a storage.

All of them pass the contract in `tests/storage/test_contract.py`, the wrappers except for their
damage.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pypimirror.domain.model import Problem
from pypimirror.storage.changes import Journal
from pypimirror.storage.stamps import stamp
from pypimirror.storage.storage import Local, Seen, Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError


class MemoryStorage:
    """Objects in a dictionary. `lose` loses those that were not flushed."""

    shown = "memory"
    directory: Path | None = None
    at_once = 4

    def __init__(self, workspace: Workspace) -> None:
        self.guard: Callable[[], None] = lambda: None
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self.changes: Journal | None = None
        self._workspace = workspace
        self._objects: dict[str, tuple[bytes, int]] = {}  # bytes and stamp
        self._flushed: dict[str, tuple[bytes, int]] = {}
        self._notes: dict[str, str] = {}
        self._stamps = itertools.count(1)
        self._lock = threading.Lock()

    def create(self) -> None:
        """Do nothing: a dictionary needs no preparation."""

    def identity(self) -> str:
        """Return the same identity always."""
        return ""

    def free(self) -> int | None:
        """Return that space is unlimited."""
        return None

    def keys(self, prefix: str, unreadable: Callable[[StorageError], None]) -> Iterator[str]:
        """Yield the keys."""
        del unreadable
        yield from [key for key in sorted(self._objects) if key.startswith(f"{prefix}/")]

    def has(self, key: str) -> bool:
        """Whether there is an object with this key or below it."""
        return key in self._objects or any(k.startswith(f"{key}/") for k in self._objects)

    def has_below(self, directory: str) -> bool:
        """Whether there is an object below a directory."""
        return any(key.startswith(f"{directory}/") for key in self._objects)

    def lists(self, key: str) -> bool:
        """Whether a key has exactly this spelling."""
        return key in self._objects

    def size(self, key: str) -> int | None:
        """Return the bytes of an object."""
        return len(self._objects[key][0]) if key in self._objects else None

    def seen(self, key: str) -> Seen | None:
        """Return size, stamp and digest of an object."""
        if key not in self._objects:
            return None
        content, stamp = self._objects[key]
        return Seen(len(content), stamp, hashlib.sha256(content).digest())

    def opened(self, key: str) -> tuple[Seen, Iterator[bytes]]:
        """Return an object and its bytes."""
        seen = self.seen(key)
        if seen is None:
            raise FileNotFoundError(errno.ENOENT, "is not there", key)
        content = self._objects[key][0]
        return seen, (content[at : at + 7] for at in range(0, len(content), 7))

    def stamp(self, key: str) -> int:
        """Return a number that no other object had."""
        if key not in self._objects:
            raise FileNotFoundError(errno.ENOENT, "is not there", key)
        return self._objects[key][1]

    def stamp_of_all(self, keys: Iterable[str]) -> int | None:
        """Return one stamp for several objects."""
        stamps = [self._objects[key][1] if key in self._objects else None for key in keys]
        return None if None in stamps else hash(tuple(stamps))

    def sha256_of_all(self, keys: Iterable[str]) -> bytes | None:
        """Return one digest for several objects."""
        found = [self.read(key) for key in keys]
        if any(each is None for each in found):
            return None
        return hashlib.sha256(b"".join(each or b"" for each in found)).digest()

    def read(self, key: str, most: int = regular.MOST) -> bytes | None:
        """Return an object's bytes."""
        content = self._objects[key][0] if key in self._objects else None
        return content if content is None or len(content) <= most else None

    def says(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Whether an object has this content."""
        return self.read(key) == b"".join(chunks)

    def local(self, key: str) -> Local:
        """Write a copy to a file, for code that reads files."""
        copy = self._workspace.staging / f"copy.{next(self._stamps)}"
        if (content := self.read(key)) is not None:
            copy.write_bytes(content)
        stamp = self._objects[key][1] if key in self._objects else None
        return Local(str(copy), stamp=stamp, is_copy=True)

    def place(
        self,
        moves: Sequence[tuple[Path | str, str]],
        blocked: dict[str, Problem] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> dict[str, int]:
        """Take over files of the workspace."""
        del blocked, digests
        for source, key in moves:
            self.guard()
            try:
                content, seen = Path(source).read_bytes(), stamp(str(source))
            except OSError as error:
                raise StorageError(key, error) from error
            self._put(key, content, seen)
            Path(source).unlink()
        return {}

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write objects whose bytes differ."""
        del blocked
        try:
            ready = [(key, b"".join(chunks)) for key, chunks in pages]
        except OSError as error:
            raise StorageError(self.shown, error) from error
        fresh = [(key, content) for key, content in ready if self.read(key) != content]
        for key, content in fresh:
            self.guard()
            self._put(key, content, next(self._stamps))
        return len(fresh)

    def _put(self, key: str, content: bytes, stamp: int) -> None:
        with self._lock:
            self._objects[key] = content, stamp

    def remove(self, key: str) -> None:
        """Remove an object."""
        self.guard()
        with self._lock:
            self._objects.pop(key, None)

    def take(self, key: str, target: Path) -> None:
        """Move an object out."""
        self.guard()
        self.stamp(key)
        with self._lock:
            target.write_bytes(self._objects.pop(key)[0])

    def refresh(self) -> None:
        """Nothing is remembered."""

    def flush(self) -> None:
        """Make everything durable."""
        self.guard()
        with self._lock:
            self._flushed = dict(self._objects)

    def note(self, name: str) -> str | None:
        """Return a note."""
        return self._notes.get(name)

    def write_note(self, name: str, text: str, *, durable: bool = False) -> None:
        """Write a note."""
        del durable
        self.guard()
        self._notes[name] = text

    # For tests

    def lose(self) -> None:
        """Lose everything that was not flushed, as in a power cut."""
        self._objects = dict(self._flushed)

    def rot(self, key: str, *, truncate: bool) -> None:
        """Damage an object; its stamp stays."""
        content, stamp = self._objects[key]
        self._put(key, damaged(content, truncate=truncate), stamp)

    def export(self, root: Path) -> None:
        """Write all objects below a directory, for checks of trees."""
        for key, (content, _) in self._objects.items():
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


class Damaging:
    """Passes calls to another storage, `sound`, and damages some of its work."""

    def __init__(self, sound: Storage) -> None:
        self.sound = sound

    def __getattr__(self, name: str) -> object:
        return getattr(self.sound, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on attributes that the pipeline sets."""
        target = self.sound if name in ("guard", "waiting", "changes") else None
        object.__setattr__(self if target is None else target, name, value)


def damaged(content: bytes, *, truncate: bool) -> bytes:
    """Return bytes with one bit flipped in their middle, or cut there."""
    middle = len(content) // 2
    rest = b"" if truncate else bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return content[:middle] + rest


def damage_file(path: Path | str, *, truncate: bool) -> None:
    """Flip one bit in the middle of a file, or cut it there."""
    Path(path).write_bytes(damaged(Path(path).read_bytes(), truncate=truncate))


class BitRot(Damaging):
    """Lets each object rot whose key `hits`, as soon as it has been placed."""

    def __init__(
        self, sound: Storage, hits: Callable[[str], bool], rot: Callable[[str], None]
    ) -> None:
        super().__init__(sound)
        self.hits, self.rot = hits, rot

    def place(
        self,
        moves: Sequence[tuple[Path | str, str]],
        blocked: dict[str, Problem] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> dict[str, int]:
        """Place files, and damage some, as a bad disk would."""
        told = self.sound.place(moves, blocked, digests)
        for _, key in moves:
            if self.hits(key):
                self.rot(key)
        return told


class FailOnce(Damaging):
    """Fails the first call of each method in `methods`; later calls work."""

    def __init__(self, sound: Storage, *methods: str) -> None:
        super().__init__(sound)
        self.left = set(methods)

    def _fail(self, method: str) -> None:
        if method in self.left:
            self.left.discard(method)
            raise StorageError(self.sound.shown, OSError(errno.EIO, os.strerror(errno.EIO)))

    def place(
        self,
        moves: Sequence[tuple[Path | str, str]],
        blocked: dict[str, Problem] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> dict[str, int]:
        """Place, or fail."""
        if moves:
            self._fail("place")
        return self.sound.place(moves, blocked, digests)

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write, or fail."""
        self._fail("write")
        return self.sound.write(pages, blocked)

    def remove(self, key: str) -> None:
        """Remove, or fail."""
        self._fail("remove")
        self.sound.remove(key)

    def refresh(self) -> None:
        """Forget what the sound storage knows."""
        self.sound.refresh()

    def flush(self) -> None:
        """Flush, or fail."""
        self._fail("flush")
        self.sound.flush()
