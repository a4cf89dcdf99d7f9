"""The store: the private directory of one fetcher.

    simple/<project>/              pages that list everything that may be fetched
    listings/<project>.json        contents of the upstream's page
    packages/<project>/<filename>  verified bytes that the mirror does not hold yet, and `.metadata`
    parts/                         transfers under way
    leftover/                      files that an earlier fetcher fetched and did not place
    metadata/<project>/            core metadata that an earlier fetcher had fetched alone

It has the layout of a mirror root, so the web server serves it with the same code. Any of it may be
lost at any time, so nothing is flushed. A fetcher has a store of its own: it holds the lock of a
directory while it lives.

Paths of what clients wait for are texts: a `Path` takes as long as the system call that uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pypimirror.domain.layout import METADATA_SUFFIX, PRIVATE, file_path, page_paths
from pypimirror.download.protocol import FileResult
from pypimirror.on_demand.listing import Listing, RecentListings
from pypimirror.system import regular
from pypimirror.verify.hashing import hash_file

#: The place of the stores in the private directory of a mirror.
STORES = "on_demand"

_LOCK = "lock"
_NEW = ".new"

_decode = msgspec.json.Decoder(Listing).decode
_encode = msgspec.json.Encoder().encode


class Fetched(NamedTuple):
    """A file for the keeper."""

    project: str
    filename: str
    result: FileResult | None = None  #: of the transfer; None: the keeper fetches it
    path: str = ""  #: of the bytes
    metadata_path: str = ""  #: of the wheel's core metadata, if that is here


class Store:
    """A fetcher's store below `private`, the private directory of the mirror.

    Raises `OSError`.
    """

    def __init__(self, private: Path) -> None:
        self.directory, self._lock = _own(private / STORES)
        self._root = str(self.directory)
        self.parts = self.directory / "parts"
        self._packages = self.directory / "packages"
        self.leftover = self.directory / "leftover"
        self._metadata = self.directory / "metadata"
        self._recent = RecentListings()
        shutil.rmtree(self.parts, ignore_errors=True)
        self._leave()
        for name in ("simple", "listings", "packages", "parts", "leftover", "metadata"):
            (self.directory / name).mkdir(exist_ok=True)

    def close(self) -> None:
        """Give up the store."""
        os.close(self._lock)

    def _leave(self) -> None:
        """Put aside files that an earlier fetcher left. They are not served, but verified again."""
        with contextlib.suppress(FileNotFoundError):
            for path in list(self._packages.glob("*/*")):
                is_metadata = path.name.endswith(METADATA_SUFFIX)
                place = self._metadata if is_metadata else self.leftover
                target = place / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
            shutil.rmtree(self._packages)

    # Listings and pages

    def listing(self, project: str) -> Listing | None:
        """Return the listing of a project; None if there is none that can be read."""
        path = self._listing(project)
        if (recent := self._recent.get(project)) is not None and regular.is_here(path):
            return recent
        try:
            found = _decode(regular.read(path))
        except (OSError, msgspec.MsgspecError):
            return None
        return self._recent.note_read(project, found)

    def listing_size(self, project: str) -> int:
        """Return the bytes of a project's listing, about those of the page."""
        return os.stat(self._listing(project)).st_size  # noqa: PTH116

    def keep(self, project: str, listing: Listing, pages: dict[str, bytes] | None) -> None:
        """Keep a listing, and pages by their names. With None, the pages stay as they are."""
        if pages is not None:
            _make(directory := self.page(project))
            for name, content in pages.items():
                _write(f"{directory}/{name}", content)
        _write(self._listing(project), _encode(listing))
        self._recent.note(project, listing)

    def page(self, project: str) -> str:
        """Return the directory of a project's page."""
        return f"{self._root}/simple/{project}"

    def new_index(self, forms: Collection[str]) -> dict[str, Path]:
        """Return where to write the list of all projects, by form. `show_index` shows it."""
        paths = page_paths(None, forms)
        return {form: self.directory / f"{path}{_NEW}" for form, path in paths.items()}

    def show_index(self, written: Iterable[Path]) -> None:
        """Show the list of all projects that was written."""
        for path in written:
            path.replace(path.with_name(path.name.removesuffix(_NEW)))

    def has_page(self, project: str, names: list[str]) -> bool:
        """Whether all forms of a project's page are here."""
        return all(regular.is_here(f"{self.page(project)}/{name}") for name in names)

    def forget_old(self, before: float) -> int:
        """Remove the pages and listings that were not asked for since `before`, an epoch time.

        Return the number of projects.
        """
        number = 0
        with os.scandir(self.directory / "listings") as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)  # noqa: PTH108
                        project = entry.name.removesuffix(".json")
                        shutil.rmtree(self.page(project), ignore_errors=True)
                        shutil.rmtree(self._metadata / project, ignore_errors=True)
                        number += 1
        return number

    def _listing(self, project: str) -> str:
        return f"{self._root}/listings/{project}.json"

    # Files

    def file(self, project: str, filename: str) -> str:
        """Return the path of a file that is here, or will be."""
        return f"{self._root}/{file_path(project, filename, None)}"

    def elsewhere(self, project: str, filename: str) -> str | None:
        """Return the path of a file that another fetcher of the same directory has fetched."""
        place = file_path(project, filename, None)
        with os.scandir(self.directory.parent) as stores:
            found = [f"{store.path}/{place}" for store in stores if store.path != self._root]
        return next(filter(regular.is_here, found), None)

    def part(self, number: int) -> str:
        """Return the path of a transfer."""
        return f"{self._root}/parts/{number}.part"

    def drop_part(self, number: int) -> None:
        """Remove the rest of a transfer."""
        part = self.part(number)
        for path in (part, f"{part}.json", f"{part}{METADATA_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108

    def put(self, part: str, project: str, filename: str) -> str:
        """Move bytes that were verified to their place, and return it."""
        target = self.file(project, filename)
        _make(target.rpartition("/")[0])
        os.replace(part, target)  # noqa: PTH105
        return target

    def drop(self, file: Fetched) -> None:
        """Remove a file, with the core metadata beside it. A missing file is no error."""
        beside = self.file(file.project, f"{file.filename}{METADATA_SUFFIX}")
        for path in (beside, *filter(None, (file.path, file.metadata_path))):
            Path(path).unlink(missing_ok=True)
            if Path(path).parent != self.parts:
                with contextlib.suppress(OSError):  # others are there
                    Path(path).parent.rmdir()

    def drop_replaced(self, old: Fetched, new: Fetched) -> None:
        """Remove the bytes of a file for which there are newer ones."""
        if old.path and old.path != new.path:
            Path(old.path).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[tuple[str, str]]:
        """Yield project and name of each file that an earlier fetcher has left."""
        for path in sorted(self.leftover.glob("*/*")):
            yield path.parent.name, path.name

    def left_metadata(self, project: str, filename: str) -> str:
        """Return the path of core metadata that an earlier fetcher left, if there is any."""
        return f"{self._metadata}/{project}/{filename}"

    def size(self) -> int:
        """Return the bytes of all files that are here."""
        total = 0
        for path in (*self._packages.glob("*/*"), *self.parts.iterdir()):
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
        return total


def _own(stores: Path) -> tuple[Path, int]:
    """Return the first directory that no other fetcher has, and the descriptor that locks it."""
    stores.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    number = 1
    while True:
        directory = stores / str(number)
        directory.mkdir(exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(directory / _LOCK, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            number += 1
            continue
        return directory, descriptor


def _make(directory: str) -> None:
    """Make a directory whose parent is there, if it is not there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)  # noqa: PTH102


def _write(path: str, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one."""
    new = f"{path}{_NEW}"
    regular.write_new(new, (content,))
    os.replace(new, path)  # noqa: PTH105


def has_digests(path: str, digests: Mapping[str, str]) -> bool:
    """Whether a file is here, and has all of these digests."""
    try:
        return digests.items() <= hash_file(path, digests)[1].items()
    except OSError:
        return False
