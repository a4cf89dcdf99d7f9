"""The directory that a mirror is served from. Only this module writes to it.

`simple/` and `packages/` are served. Every change goes through `PosixStorage.place`, `.write` and
`.remove`, in the order that the callers choose. `.flush` makes changes durable
(`pypimirror.storage.durability`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from pypimirror.domain.model import Problem, Reason
from pypimirror.storage.changes import Journal
from pypimirror.storage.durability import Durability, choose, sync_directory, sync_file
from pypimirror.storage.generation import identity_of
from pypimirror.storage.stamps import sha256_of, stamp, stamp_of, walk
from pypimirror.storage.storage import MOST_NOTED, Local, Seen
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import IN_THE_WAY, StorageError, is_of_path, storage_errors
from pypimirror.system.space import free, remedy

_CHUNK = 1 << 20  #: bytes

#: Most directories whose existence is remembered. Those of a batch are used one after the other.
_REMEMBERED = 10_000


class PosixStorage:
    """The served files below the mirror root of `workspace`; see `storage.storage.Storage`.

    `on_step` is called before each change of served files, with the kind of change and the key.
    Tests use it to count and interrupt steps.
    """

    def __init__(
        self,
        workspace: Workspace,
        on_step: Callable[[str, str], None] = lambda *_: None,
        durability: Durability | None = None,
    ) -> None:
        self.directory: Path = workspace.directory
        self._private = workspace.private
        # Paths are joined as text, because pathlib is slower than the system calls.
        self._root = f"{self.directory}/"
        self._on_step = on_step
        self.guard: Callable[[], None] = lambda: None
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self._durability = durability or choose("batch", workspace.private)
        self._made: set[str] = set()
        self.changes: Journal | None = None
        # No two processes may use the same name, not even one that was stopped and wakes up: it
        # would show its page with the bytes of another.
        self._fresh = f"{workspace.staging}/page.{os.urandom(4).hex()}"
        self._numbers = itertools.count()

    #: A disk answers at once.
    at_once = 1

    @property
    def shown(self) -> str:
        """The name in messages."""
        return str(self.directory)

    def create(self) -> None:
        """Create the directories. Raises `StorageError`."""
        try:
            for name in ("simple", "packages"):
                self._path(name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(error.filename or self.directory, error) from error

    def identity(self) -> str:
        """Return the identity of the directories. Raises `OSError`."""
        return identity_of(str(self.directory))

    def local(self, key: str) -> Local:
        """Return the local path of the file at `key`."""
        return Local(self._root + key, self._root)

    def keys(self, prefix: str, unreadable: Callable[[StorageError], None]) -> Iterator[str]:
        """Yield all keys below `prefix`. `unreadable` is called for each directory that cannot be
        read.
        """

        def closed(error: OSError) -> None:
            unreadable(StorageError(error.filename or self.directory, error))

        yield from (path for path, _ in walk(str(self.directory), prefix, closed))

    def free(self) -> int | None:
        """Return the free bytes; None if the system does not know."""
        return free(self.directory)

    def take(self, key: str, target: Path) -> None:
        """Move the file at `key` to `target`, out of the served files. Raises `OSError`."""
        self.guard()
        self._path(key).replace(target)

    def _step(self, what: str, key: str) -> None:
        self.guard()
        self._on_step(what, key)

    def _path(self, key: str) -> Path:
        """Return the path of `key`, which has only checked components."""
        return self.directory / key

    def has(self, key: str) -> bool:
        """Whether something exists at `key`."""
        return os.path.exists(self._root + key)  # noqa: PTH110

    def has_below(self, directory: str) -> bool:
        """Whether the directory exists."""
        return self.has(directory)

    def lists(self, key: str) -> bool:
        """Whether the directory lists the file with exactly this spelling."""
        directory, _, name = key.rpartition("/")
        try:
            return name in os.listdir(self._root + directory)  # noqa: PTH208
        except OSError:
            return False

    def size(self, key: str) -> int | None:
        """Return the size of the file at `key` in bytes; None if it cannot be read."""
        try:
            return regular.status(self._root + key, self._root).st_size
        except (OSError, ValueError):
            return None

    def seen(self, key: str) -> Seen | None:
        """Return size and stamp of the file at `key`; None if it cannot be read."""
        try:
            status = regular.status(self._root + key, self._root)
        except (OSError, ValueError):
            return None
        return Seen(status.st_size, stamp_of([status]), None)

    def opened(self, key: str) -> tuple[Seen, Iterator[bytes]]:
        """Return size and stamp of the file at `key`, and its bytes in chunks."""
        stream = regular.stream(self._root + key, self._root)
        status = os.fstat(stream.fileno())
        return Seen(status.st_size, stamp_of([status]), None), _chunks(stream)

    def stamp(self, key: str) -> int:
        """Return the `stamp` of the file at `key`. Raises `OSError`."""
        return stamp(self._root + key, self._root)

    def stamp_of_all(self, keys: Iterable[str]) -> int | None:
        """Return one stamp for several files; None if one is missing."""
        try:
            root = self._root
            return stamp_of([regular.status(root + path, root) for path in keys])
        except OSError:
            return None

    def sha256_of_all(self, keys: Iterable[str]) -> bytes | None:
        """Return one digest for the bytes of several files; None if one cannot be read."""
        try:
            return sha256_of([self._root + path for path in keys], self._root)
        except OSError:
            return None

    def place(
        self,
        moves: Sequence[tuple[Path | str, str]],
        blocked: dict[str, Problem] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> dict[str, int]:
        """Move each source, a verified file, to its key in one step. Its bytes are durable before
        that. It keeps its stamp, and is not read, so `digests` does not matter.

        `flush` makes the moves durable. If only one key is affected by a fault, it is noted in
        `blocked`, and the others are placed. Without `blocked`, such a fault is an error like any
        other.
        """
        del digests
        if not moves:
            return {}
        key = ""  # the key that an error concerns
        try:
            self._note(moves)
            with self.waiting():
                for source, key in moves:  # noqa: B007
                    self._durability.settle(source)
                key = ""
                self._step("flush", "")
                self._durability.before_renames()
            for source, key in moves:
                self._step("place", key)
                target = self._root + key
                parent = target.rpartition("/")[0]
                try:
                    if parent not in self._made:
                        self._make(parent)
                    os.replace(source, target)  # noqa: PTH105 - paths as text cost half
                except OSError as error:
                    if blocked is None or not is_of_path(error, self._top(key)):
                        raise
                    blocked[key] = self._what_blocks(key, error)
                    continue
                self._durability.changed(parent)
        except OSError as error:
            raise StorageError(self._path(key), error) from error
        return {}

    def _note(self, moves: Iterable[tuple[Path | str, str]]) -> None:
        """Note the files that will be placed, if a list of changes is made. The run may die right
        after.
        """
        if self.changes is not None:
            for _, key in moves:
                self.changes.add("changed" if self.has(key) else "added", key)
            self.changes.flush()
            self._durability.settle(self.changes.journal)

    def _top(self, key: str) -> str:
        """Return the top directory of a key. If it is broken, no key in it can be written."""
        return self._root + key.partition("/")[0]

    def _what_blocks(self, key: str, error: OSError) -> Problem:
        """Return the problem of a key that is blocked, with the next step."""
        if not isinstance(error, IN_THE_WAY):
            path = self._path(key)
            text = f"cannot be put in place: {path}: {error.strerror}. {remedy(error, path)}"
            return Problem(Reason.DISK, text)
        taken = self._path(key)
        above = [path for path in reversed(taken.parents) if self.directory in path.parents]
        for path in above[1:]:
            if path.is_symlink() or not path.is_dir():
                taken = path
                break
        return Problem(
            Reason.FOREIGN,
            f"cannot be put in place, because {taken} is a {regular.kind_of(str(taken))} that does "
            "not belong to this mirror. Move it away; the next sync does the rest",
        )

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write pages. Readers see the old or the new page, also after a power cut. Return their
        number.

        Pages with the same content are not written. `blocked` is as in `place`.
        """
        ready: list[tuple[Path | str, str]] = []
        there: dict[str, bool] = {}  # in a first sync, no directory of a page is
        for key, chunks in pages:
            fresh = f"{self._fresh}.{next(self._numbers)}"
            directory = key.rpartition("/")[0]
            if directory not in there:
                there[directory] = self.has_below(directory)
            try:
                size = regular.write_new(fresh, chunks)
                if there[directory] and _same(fresh, size, self._root + key, self._root):
                    os.unlink(fresh)  # noqa: PTH108
                else:
                    ready.append((fresh, key))
            except OSError as error:
                raise StorageError(self._path(key), error) from error
        self.place(ready, blocked)
        if not blocked:
            return len(ready)
        stuck = [fresh for fresh, key in ready if key in blocked]
        for page in stuck:
            os.unlink(page)  # noqa: PTH108
        return len(ready) - len(stuck)

    def read(self, key: str, most: int = regular.MOST) -> bytes | None:
        """Return the bytes of a file; None if it cannot be read or has more than `most` bytes."""
        try:
            return regular.read(self._root + key, self._root, most=most)
        except OSError as error:
            self._raise_unless_of_path(key, error)
            return None

    def says(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Whether the page at `key` has this content; False if it cannot be read."""
        try:
            with regular.stream(self._root + key, self._root) as stream:
                return all(stream.read(len(c)) == c for c in chunks) and not stream.read(1)
        except OSError as error:
            self._raise_unless_of_path(key, error)
            return False

    def _raise_unless_of_path(self, key: str, error: OSError) -> None:
        """Raise `StorageError`, unless only this one file is missing or unreadable."""
        is_absent = isinstance(error, FileNotFoundError)
        if not is_absent and not is_of_path(error, self._top(key)):
            raise StorageError(self._path(key), error) from error

    def remove(self, key: str) -> None:
        """Remove a file, and directories that become empty. A missing file is no error."""
        self._step("remove", key)
        path = self._path(key)
        with storage_errors(path, self._top(key)):
            try:
                regular.check_way(str(path), self._root)
                if self.changes is not None and self.size(key) is not None:
                    self.changes.add("removed", key)
                    self.changes.flush()
                path.unlink(missing_ok=True)
                parent = path.parent
                while parent.parent != self.directory and not any(parent.iterdir()):
                    parent.rmdir()
                    self._made.discard(str(parent))
                    parent = parent.parent
            except (FileNotFoundError, NotADirectoryError):
                return  # also if the path leads out of this directory
            except (IsADirectoryError, PermissionError):
                if path.is_dir():
                    return  # this mirror did not create it
                raise
            self._durability.changed(parent)

    def refresh(self) -> None:
        """Do nothing: a directory is asked each time."""

    def flush(self) -> None:
        """Make everything that was written or renamed so far durable."""
        self._step("flush", "")
        with storage_errors(self.directory), self.waiting():
            self._durability.flush()

    def note(self, name: str) -> str | None:
        """Return the text of a note, a file in the private directory."""
        path = self._private / name
        with storage_errors(path, str(self._private)):
            try:
                return regular.read(str(path), most=MOST_NOTED).decode()
            except (FileNotFoundError, UnicodeDecodeError):
                return None

    def write_note(self, name: str, text: str, *, durable: bool = False) -> None:
        """Write a note. It is a new file: a copy of this directory may share the old one."""
        self.guard()
        path, fresh = self._private / name, self._private / f"{name}.new"
        with storage_errors(fresh):
            with open(regular.create(str(fresh)), "w", encoding="utf-8") as stream:  # noqa: PTH123
                stream.write(text)
            if durable:
                sync_file(fresh)
            fresh.replace(path)
            if durable:
                sync_directory(str(self._private))

    def _make(self, directory: str) -> None:
        try:
            os.mkdir(directory)  # noqa: PTH102 - the path is text; most of them are new
            regular.check_way(directory, self._root)
        except (FileExistsError, FileNotFoundError):
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103
            regular.check_way(f"{directory}/", self._root)
        if len(self._made) >= _REMEMBERED:
            self._made.clear()
        self._made.add(directory)
        above = directory
        while len(above) > len(self._root):
            above = above.rpartition("/")[0]
            self._durability.changed(above)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _same(fresh: str, size: int, current: str, root: str) -> bool:
    """Whether the file `fresh` of `size` bytes has the content of the page `current`."""
    try:
        with regular.stream(current, root) as old:
            if os.fstat(old.fileno()).st_size != size:
                return False
            with regular.stream(fresh) as new:
                while chunk := new.read(_CHUNK):
                    if chunk != old.read(_CHUNK):
                        return False
    except OSError:  # an unreadable page is replaced; the rename reports other errors
        return False
    return True
