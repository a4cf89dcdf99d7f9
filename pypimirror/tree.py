"""The directory that a mirror lives in, and the only code that writes to what is served.

`simple/` and `packages/` are served; `.pypimirror/` is private and on the same file system, so
that a rename shows a file whole or not at all. Every change of what is served goes through
`Tree.place`, `Tree.write` and `Tree.remove`, in the order that their callers choose; `Tree.flush`
makes all of them durable at once. Download workers write to `staging` only.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from pypimirror.model import Problem, PypimirrorError, Reason

METADATA_SUFFIX = ".metadata"

#: What upstream's own path of a file must look like to be taken over with `layout = "pypi"`.
_HASHED = re.compile(r"/packages/([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/[^/]+")


class TreeError(PypimirrorError):
    """The mirror root cannot be used or written; the message names the path."""

    def __init__(self, path: Path | str, error: OSError) -> None:
        super().__init__(f"{path}: {error.strerror or error}")
        self.problem = Problem(Reason.DISK, str(self))


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
    ) -> None:
        self.directory = directory
        self.private = directory / ".pypimirror"
        self.staging = staging or self.private / "staging"
        self.quarantine = self.private / "quarantine"
        # Paths of files are put together as text: pathlib costs more than the system's calls.
        self._root = f"{directory}/"
        self._staging = str(self.staging)
        self._on_step = on_step
        self._made: set[str] = set()
        self._numbers = itertools.count()

    def create(self) -> None:
        """Make the directories; raises `TreeError` where that cannot be done."""
        try:
            for path in (self.staging, self.quarantine, self.directory / "simple"):
                path.mkdir(parents=True, exist_ok=True)
            (self.directory / "packages").mkdir(exist_ok=True)
        except OSError as error:
            raise TreeError(error.filename or self.directory, error) from error

    def path(self, relative: str) -> Path:
        """Return where `relative` is; it is made of checked components only."""
        return self.directory / relative

    def staged(self, file_id: int) -> Path:
        """Return where the bytes of a file are collected."""
        return self.staging / f"{file_id}.part"

    def is_staged(self, file_id: int) -> bool:
        """Whether there are bytes of a file in staging."""
        return os.path.exists(f"{self._staging}/{file_id}.part")  # noqa: PTH110

    def staged_size(self, file_id: int) -> int:
        """Return how many bytes of a file are in staging."""
        try:
            return os.stat(f"{self._staging}/{file_id}.part").st_size  # noqa: PTH116
        except FileNotFoundError:
            return 0

    def staged_stamp(self, file_id: int) -> int | None:
        """Return the `stamp` of a file in staging; None where there is none."""
        try:
            return stamp(f"{self._staging}/{file_id}.part")
        except FileNotFoundError:
            return None

    def has(self, relative: str) -> bool:
        """Whether there is something at `relative`."""
        return os.path.exists(self._root + relative)  # noqa: PTH110

    def stamp(self, relative: str) -> int:
        """Return the `stamp` of the file at `relative`. Raises `OSError`."""
        return stamp(self._root + relative)

    def discard(self, file_id: int) -> None:
        """Remove what is in staging of a file, with what a worker noted on it."""
        for suffix in (".part", ".part.json", METADATA_SUFFIX):
            (self.staging / f"{file_id}{suffix}").unlink(missing_ok=True)

    def place(self, source: Path, relative: str) -> None:
        """Move `source`, verified, to `relative` in one step."""
        self._on_step("place", relative)
        try:
            target = self._root + relative
            self._make_parent(target)
            os.replace(source, target)  # noqa: PTH105 - paths as text cost half
        except OSError as error:
            raise TreeError(self.path(relative), error) from error

    def write(self, pages: Iterable[tuple[str, Iterable[bytes]]]) -> int:
        """Write pages so that a reader, and a power cut, sees each old or new; count them.

        Pages that already say the same are left alone.
        """
        ready = []
        for relative, chunks in pages:
            fresh = self.private / f"page.{next(self._numbers)}"
            try:
                with fresh.open("wb") as stream:
                    stream.writelines(chunks)
                if _same(fresh, self.path(relative)):
                    fresh.unlink()
                else:
                    ready.append((fresh, relative))
            except OSError as error:
                raise TreeError(self.path(relative), error) from error
        if ready:
            self.flush()
        for fresh, relative in ready:
            self.place(fresh, relative)
        return len(ready)

    def says(self, relative: str, chunks: Iterable[bytes]) -> bool:
        """Whether the page at `relative` has this content."""
        try:
            with self.path(relative).open("rb") as stream:
                return all(stream.read(len(c)) == c for c in chunks) and not stream.read(1)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TreeError(self.path(relative), error) from error

    def remove(self, relative: str) -> None:
        """Remove a file and the directory that this empties; no error where there is none."""
        self._on_step("remove", relative)
        path = self.path(relative)
        try:
            path.unlink(missing_ok=True)
            parent = path.parent
            while parent.parent != self.directory and not any(parent.iterdir()):
                parent.rmdir()
                self._made.discard(str(parent))
                parent = parent.parent
        except FileNotFoundError:
            return
        except OSError as error:
            raise TreeError(path, error) from error

    def set_aside(self, source: Path, name: str, report: bytes) -> None:
        """Move bytes that failed verification to quarantine, with a report in JSON."""
        target = self.quarantine / name
        try:
            (self.quarantine / f"{name}.json").write_bytes(report)
            source.replace(target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise TreeError(target, error) from error

    def clear_private(self) -> None:
        """Remove what a dead run left half-written. Call only with the lock held."""
        for path in self.private.glob("page.*"):
            path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Return when everything that was written or renamed so far would survive a power cut."""
        self._on_step("flush", "")
        try:
            _sync_file_system(self.private)
        except OSError as error:
            raise TreeError(self.directory, error) from error

    def _make_parent(self, target: str) -> None:
        parent = target.rpartition("/")[0]
        if parent not in self._made:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - takes the string as it is
            self._made.add(parent)


def stamp(path: str | Path) -> int:
    """Return a number that changes when a file is written or replaced, without reading it.

    It is a digest of inode, size and mtime: enough for `verify --quick`, which only asks whether
    somebody touched a file, and no proof of its bytes. Raises `OSError`.
    """
    status = os.stat(path)  # noqa: PTH116
    text = f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def page_paths(project: str | None, formats: Iterable[str]) -> dict[str, str]:
    """Return the path of each form of a project's page, or of the root index."""
    names = {"html": "index.html", "json": "index.v1_json"}
    directory = "simple" if project is None else f"simple/{project}"
    return {form: f"{directory}/{names[form]}" for form in formats}


def file_path(project: str, filename: str, location: str | None) -> str:
    """Return where a file belongs, below the mirror root."""
    return f"{location or 'packages/' + project}/{filename}"


def hashed_location(url_path: str) -> str | None:
    """Return the directory that `layout = "pypi"` takes over from an upstream's address."""
    match = _HASHED.search(url_path)
    return f"packages/{match[1]}" if match else None


def _same(fresh: Path, current: Path) -> bool:
    try:
        if fresh.stat().st_size != current.stat().st_size:
            return False
    except FileNotFoundError:
        return False
    with fresh.open("rb") as new, current.open("rb") as old:
        while chunk := new.read(1 << 20):
            if chunk != old.read(1 << 20):
                return False
    return True


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def _sync_file_system(path: Path) -> None:
    """Flush one file system where there is a call for it (Linux), all of them elsewhere."""
    syncfs = _syncfs()
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
