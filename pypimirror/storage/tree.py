"""The directory that a mirror lives in, and the only code that writes to what is served.

`simple/` and `packages/` are served; `.pypimirror/` is private and on the same file system, so
that a rename shows a file whole or not at all. Every change of what is served goes through
`Tree.place`, `Tree.write` and `Tree.remove`, in the order that their callers choose; `Tree.flush`
makes them durable (`pypimirror.storage.durability`). The parent process writes to the private
directory through here as well, but for lock and catalog; child processes write to `staging` only.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pypimirror.domain.model import Problem, Reason
from pypimirror.storage.changes import Changes
from pypimirror.storage.durability import Durability, choose
from pypimirror.storage.paths import METADATA_SUFFIX as METADATA_SUFFIX
from pypimirror.storage.paths import PRIVATE, sha256_of, stamp_of
from pypimirror.storage.paths import PROVENANCE_SUFFIX as PROVENANCE_SUFFIX
from pypimirror.storage.paths import file_path as file_path
from pypimirror.storage.paths import page_paths as page_paths
from pypimirror.storage.paths import stamp as stamp
from pypimirror.system import regular
from pypimirror.system.disk_errors import IN_THE_WAY, is_of_path
from pypimirror.system.disk_errors import TreeError as TreeError
from pypimirror.system.disk_errors import told as told
from pypimirror.system.space import remedy

#: Directories of which it is remembered that they are there: a mirror may have one for each file.
_REMEMBERED = 100_000

#: What upstream's own path of a file must look like to be taken over with `layout = "pypi"`.
_HASHED = re.compile(r"/packages/([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/[^/]+")


class Tree:
    """A mirror root.

    `on_step` is called before each change of what is served, with what it does and where: tests
    count and interrupt steps through it.
    """

    def __init__(
        self,
        directory: Path,
        on_step: Callable[[str, str], None] = lambda *_: None,
        staging: Path | None = None,
        durability: Durability | None = None,
    ) -> None:
        self.directory = directory
        self.private = directory / ".pypimirror"
        self.staging = staging or self.private / "staging"
        self.quarantine = self.private / "quarantine"
        # Paths of files are put together as text: pathlib costs more than the system's calls.
        self._root = f"{directory}/"
        self._staging = str(self.staging)
        self._on_step = on_step
        #: Called before each change of what is served: whoever may not write any more is stopped
        #: here, by the error that it raises.
        self.guard: Callable[[], None] = lambda: None
        #: What is entered while the disk is waited for.
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self._durability = durability or choose("batch", self.private)
        self._made: set[str] = set()
        #: Where changes of what is served are noted, if anybody wants to know.
        self.changes: Changes | None = None
        self._numbers = itertools.count()

    def create(self) -> None:
        """Make the directories; raises `TreeError` where that cannot be done."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.private.mkdir(PRIVATE, exist_ok=True)
            for path in (self.staging, self.quarantine, self.path("simple"), self.path("packages")):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TreeError(error.filename or self.directory, error) from error

    def _step(self, what: str, relative: str) -> None:
        self.guard()
        self._on_step(what, relative)

    def path(self, relative: str) -> Path:
        """Return where `relative` is; it is made of checked components only."""
        return self.directory / relative

    @property
    def root(self) -> str:
        """The directory as text, for what asks whether a path leads out of it."""
        return self._root

    def text(self, relative: str) -> str:
        """Return the same as text, for what is done for each file: pathlib costs more."""
        return self._root + relative

    def staged(self, file_id: int) -> Path:
        """Return where the bytes of a file are collected."""
        return self.staging / f"{file_id}.part"

    def staged_text(self, file_id: int) -> str:
        """Return the same as text, for what is done for each file of a batch."""
        return f"{self._staging}/{file_id}.part"

    def staged_metadata(self, file_id: int) -> str:
        """Return where the core metadata of a wheel waits to be placed, as text."""
        return f"{self._staging}/{file_id}{METADATA_SUFFIX}"

    def is_staged(self, file_id: int) -> bool:
        """Whether there are bytes of a file in staging."""
        return regular.is_here(self.staged_text(file_id))

    def staged_size(self, file_id: int) -> int:
        """Return how many bytes of a file are in staging."""
        try:
            return regular.status(self.staged_text(file_id)).st_size
        except FileNotFoundError:
            return 0

    def staged_stamp(self, file_id: int) -> int | None:
        """Return the `stamp` of a file in staging; None where there is none."""
        try:
            return stamp(self.staged_text(file_id))
        except FileNotFoundError:
            return None

    def has(self, relative: str) -> bool:
        """Whether there is something at `relative`."""
        return os.path.exists(self._root + relative)  # noqa: PTH110

    def lists(self, relative: str) -> bool:
        """Whether the directory of a file lists it, spelt like this."""
        directory, _, name = relative.rpartition("/")
        try:
            return name in os.listdir(self._root + directory)  # noqa: PTH208
        except OSError:
            return False

    def size(self, relative: str) -> int | None:
        """Return the bytes of the file at `relative`; None where there is none that can be read."""
        try:
            return regular.status(self._root + relative, self._root).st_size
        except (OSError, ValueError):
            return None

    def stamp(self, relative: str) -> int:
        """Return the `stamp` of the file at `relative`. Raises `OSError`."""
        return stamp(self._root + relative, self._root)

    def stamp_of_all(self, relatives: Iterable[str]) -> int | None:
        """Return the stamp of several files together; None where one is not there."""
        try:
            root = self._root
            return stamp_of([regular.status(root + path, root) for path in relatives])
        except OSError:
            return None

    def sha256_of_all(self, relatives: Iterable[str]) -> bytes | None:
        """Return the digest of several files' bytes together; None where one cannot be read."""
        try:
            return sha256_of([self._root + path for path in relatives], self._root)
        except OSError:
            return None

    def staged_names(self) -> Iterator[str]:
        """Yield the names of all files in staging, in any order."""
        with told(self.staging), os.scandir(self.staging) as entries:
            yield from (entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))

    def unstage(self, name: str) -> None:
        """Remove a file from staging; no error where there is none."""
        path = self.staging / name
        with told(path, self._staging):
            path.unlink(missing_ok=True)

    def discard(self, file_id: int) -> None:
        """Remove what is in staging of a file, with what a worker noted on it."""
        for suffix in (".part", ".part.json", METADATA_SUFFIX, PROVENANCE_SUFFIX):
            self.unstage(f"{file_id}{suffix}")

    def place(
        self, moves: Sequence[tuple[Path | str, str]], blocked: dict[str, Problem] | None = None
    ) -> None:
        """Move each source, verified, to its relative path in one step; its bytes are durable then.

        That the move is durable too is for `flush` to say. What is in the way of one path alone
        is put down in `blocked`, by that path, and the others are placed all the same; without
        `blocked`, that is an error as any other.
        """
        if not moves:
            return
        relative = ""  # what an error is about
        try:
            self._note(moves)
            with self.waiting():
                for source, relative in moves:  # noqa: B007
                    self._durability.settle(source)
                relative = ""
                self._step("flush", "")
                self._durability.before_renames()
            for source, relative in moves:
                self._step("place", relative)
                target = self._root + relative
                try:
                    self._make_parent(target)
                    os.replace(source, target)  # noqa: PTH105 - paths as text cost half
                except OSError as error:
                    if blocked is None or not is_of_path(error, self._top(relative)):
                        raise
                    blocked[relative] = self._what_blocks(relative, error)
                    continue
                self._durability.changed(target.rpartition("/")[0])
        except OSError as error:
            raise TreeError(self.path(relative), error) from error

    def _note(self, moves: Iterable[tuple[Path | str, str]]) -> None:
        """Note what is about to be placed, if anybody wants to know: a run may die right after."""
        if self.changes is not None:
            for _, relative in moves:
                self.changes.add("changed" if self.has(relative) else "added", relative)
            self.changes.flush()
            self._durability.settle(self.changes.journal)

    def _top(self, relative: str) -> str:
        """Return the directory without which nothing at all can be done there."""
        return self._root + relative.partition("/")[0]

    def _what_blocks(self, relative: str, error: OSError) -> Problem:
        """Say what is in the way of a path, and what to do."""
        if not isinstance(error, IN_THE_WAY):
            path = self.path(relative)
            text = f"cannot be put in place: {path}: {error.strerror}. {remedy(error, path)}"
            return Problem(Reason.DISK, text)
        taken = self.path(relative)
        above = [path for path in reversed(taken.parents) if self.directory in path.parents]
        for path in above[1:]:
            if path.is_symlink() or not path.is_dir():
                taken = path
                break
        return Problem(
            Reason.FOREIGN,
            f"cannot be put in place, since {taken} is a {regular.kind_of(str(taken))} that is not "
            "this mirror's. Move it away; the next sync does the rest",
        )

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write pages so that a reader, and a power cut, sees each old or new; count them.

        Pages that already say the same are left alone. On `blocked`, see `place`.
        """
        ready: list[tuple[Path | str, str]] = []
        for relative, chunks in pages:
            fresh = f"{self._root}.pypimirror/page.{next(self._numbers)}"
            try:
                with open(regular.create(fresh), "wb") as stream:  # noqa: PTH123
                    stream.writelines(chunks)
                if _same(fresh, self._root + relative, self._root):
                    os.unlink(fresh)  # noqa: PTH108
                else:
                    ready.append((fresh, relative))
            except OSError as error:
                raise TreeError(self.path(relative), error) from error
        self.place(ready, blocked)
        if not blocked:
            return len(ready)
        stuck = [fresh for fresh, relative in ready if relative in blocked]
        for page in stuck:
            os.unlink(page)  # noqa: PTH108
        return len(ready) - len(stuck)

    def read(self, relative: str) -> bytes | None:
        """Return what is in a file; None where there is none that can be read."""
        try:
            return regular.read(self._root + relative, self._root)
        except OSError as error:
            self._raise_unless_of_path(relative, error)
            return None

    def says(self, relative: str, chunks: Iterable[bytes]) -> bool:
        """Whether the page at `relative` has this content; one that cannot be read has not."""
        try:
            with regular.stream(self._root + relative, self._root) as stream:
                return all(stream.read(len(c)) == c for c in chunks) and not stream.read(1)
        except OSError as error:
            self._raise_unless_of_path(relative, error)
            return False

    def _raise_unless_of_path(self, relative: str, error: OSError) -> None:
        """Raise `TreeError` where it is not a file that is lacking, or cannot be read."""
        is_absent = isinstance(error, FileNotFoundError)
        if not is_absent and not is_of_path(error, self._top(relative)):
            raise TreeError(self.path(relative), error) from error

    def remove(self, relative: str) -> None:
        """Remove a file and the directory that this empties; no error where there is none."""
        self._step("remove", relative)
        path = self.path(relative)
        with told(path, self._top(relative)):
            try:
                regular.check_way(str(path), self._root)
                if self.changes is not None and self.size(relative) is not None:
                    self.changes.add("removed", relative)
                    self.changes.flush()
                path.unlink(missing_ok=True)
                parent = path.parent
                while parent.parent != self.directory and not any(parent.iterdir()):
                    parent.rmdir()
                    self._made.discard(str(parent))
                    parent = parent.parent
            except (FileNotFoundError, NotADirectoryError):
                return  # also where the way leads out of this directory
            except (IsADirectoryError, PermissionError):
                if path.is_dir():
                    return  # it is nothing that this mirror has made
                raise
            self._durability.changed(parent)

    def set_aside(self, source: Path, name: str, report: bytes) -> None:
        """Move bytes that failed verification to quarantine, with a report in JSON."""
        target = self.quarantine / name
        with told(source, str(self.quarantine)):
            try:
                made = regular.create(str(self.quarantine / f"{name}.json"))
                with open(made, "wb") as stream:  # noqa: PTH123
                    stream.write(report)
                source.replace(target)
            except FileNotFoundError:
                return

    def release(self, name: str, file_id: int) -> None:
        """Move bytes from quarantine back to staging."""
        source = self.quarantine / name
        with told(source):
            source.replace(self.staged(file_id))

    def drop(self, name: str) -> None:
        """Remove an entry from quarantine, its report last; no error where there is none."""
        for path in (self.quarantine / name, self.quarantine / f"{name}.json"):
            with told(path, str(self.quarantine)):
                path.unlink(missing_ok=True)

    def date_quarantined(self, name: str) -> None:
        """Give a file in quarantine the time of now."""
        with told(self.quarantine / name, str(self.quarantine)):
            os.utime(self.quarantine / name, follow_symlinks=False)

    def clear_private(self) -> None:
        """Remove what a dead run left half-written. Call only with the lock held."""
        with told(self.private):
            for path in self.private.glob("page.*"):
                path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Return when everything that was written or renamed so far would survive a power cut."""
        self._step("flush", "")
        with told(self.directory), self.waiting():
            self._durability.flush()

    def _make_parent(self, target: str) -> None:
        parent = target.rpartition("/")[0]
        if parent not in self._made:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - takes the string as it is
            regular.check_way(target, self._root)
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            self._made.add(parent)
            above = parent
            while len(above) > len(self._root):
                above = above.rpartition("/")[0]
                self._durability.changed(above)


def hashed_location(url_path: str) -> str | None:
    """Return the directory that `layout = "pypi"` takes over from an upstream's address."""
    match = _HASHED.search(url_path)
    return f"packages/{match[1]}" if match else None


def _same(fresh: str, current: str, root: str) -> bool:
    try:
        size = regular.status(fresh).st_size
        with regular.stream(current, root) as old, regular.stream(fresh) as new:
            if os.fstat(old.fileno()).st_size != size:
                return False
            while chunk := new.read(1 << 20):
                if chunk != old.read(1 << 20):
                    return False
    except OSError:  # what cannot be read is replaced; of all else the rename tells
        return False
    return True
