"""The offer of a mirror to installers: its pages, and files that are really here.

**The rule.** A file counts if a page links to it, the link leads into this mirror, and its bytes
are in place. A file to which a page links elsewhere (`metadata_only`) is not on this mirror.

Only wheels and sdists count, because installers accept nothing else.

Everything is read through `Storage`, so a directory and a bucket get the same answers. A storage
that does not answer is an error, and never a missing file.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import unquote, urljoin

from packaging.version import Version

from pypimirror.domain.filenames import version_of
from pypimirror.domain.layout import METADATA_SUFFIX, page_paths
from pypimirror.domain.metadata import dependencies
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import File, ProjectPage, ReadError
from pypimirror.storage import many
from pypimirror.storage.storage import Storage
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError
from pypimirror.upstream.read import parse_page
from pypimirror.verify.dependencies import read_requirements
from pypimirror.verify.hashing import new_hash

#: The message if nothing of a project can be installed because its page is damaged.
DAMAGED = "its page on the mirror cannot be read"

#: The assumed address of pages; only the part after it counts.
_ORIGIN = "http://mirror.invalid/"
_RELATIVE = "../../"
_TYPES = {"json": "application/vnd.pypi.simple.v1+json", "html": "text/html"}


@dataclass(frozen=True)
class ShelfFile:
    """A wheel or an sdist that an installer can get here."""

    project: str
    filename: str
    path: str  #: below the mirror root; the key in the storage
    version: Version
    requires_python: str
    yanked: str | None
    digests: Mapping[str, str]

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel, and else an sdist."""
        return self.filename.endswith(".whl")

    @cached_property
    def tags(self) -> str:
        """The compressed tags of a wheel."""
        return "-".join(self.filename[:-4].rsplit("-", 3)[1:])


@dataclass(frozen=True)
class ShelfPage:
    """The files on the page of a project."""

    project: str
    files: tuple[ShelfFile, ...]
    away: tuple[str, ...] = ()  #: names of files to which the page links at the upstream
    lost: tuple[str, ...] = ()  #: names of files that should be here, and are not
    is_damaged: bool = False  #: whether the page cannot be read


class Shelf:
    """A mirror, read as an installer reads it. Each page is read once."""

    def __init__(self, storage: Storage, base_url: str = "") -> None:
        self.storage = storage
        self._base = base_url or _RELATIVE
        self._offers: dict[str, ShelfPage | None] = {}
        self._requirements: dict[str, Requirements] = {}
        self._described: dict[str, bool] = {}  # keys of core metadata, and whether it is here
        self._digests: dict[tuple[str, frozenset[str]], Mapping[str, str]] = {}

    def offer(self, project: str) -> ShelfPage | None:
        """Return the offer of a project, by its normalised name; None if it has no page.

        Raises `StorageError`, as all methods do.
        """
        self.load((project,))
        return self._offers[project]

    def load(self, projects: Iterable[str]) -> None:
        """Read the pages of projects. Many together take less time than one after the other."""
        fresh = [each for each in dict.fromkeys(projects) if each not in self._offers]
        if not fresh:
            return
        told = many.ask(self.storage, self._told, fresh)
        paths = [file.path for offer in told if offer is not None for file in offer.files]
        here = many.present(self.storage, paths)
        for project, offer in zip(fresh, told, strict=True):
            self._offers[project] = None if offer is None else _sorted(offer, here)

    def described(self, files: Sequence[ShelfFile]) -> set[str]:
        """Return the paths of the wheels that have their core metadata beside them."""
        asked = {f"{file.path}{METADATA_SUFFIX}": file.path for file in files if file.is_wheel}
        fresh = [key for key in asked if key not in self._described]
        here = many.present(self.storage, fresh)
        self._described.update((key, key in here) for key in fresh)
        return {path for key, path in asked.items() if self._described[key]}

    def requirements(self, held: ShelfFile) -> Requirements:
        """Return the requirements of a file, as far as they are known without a build."""
        if held.path not in self._requirements:
            self._requirements[held.path] = self._required(held)
        return self._requirements[held.path]

    def digests(self, held: ShelfFile, algorithms: Iterable[str]) -> Mapping[str, str]:
        """Return digests of a file, computed from its bytes."""
        key = held.path, frozenset(algorithms)
        if key not in self._digests:
            states = {name: new_hash(name) for name in key[1]}
            try:
                for chunk in self.storage.opened(held.path)[1]:
                    for state in states.values():
                        state.update(chunk)
            except OSError as error:
                raise StorageError(f"{self.storage.shown}/{held.path}", error) from error
            self._digests[key] = {name: state.hexdigest() for name, state in states.items()}
        return self._digests[key]

    def _required(self, held: ShelfFile) -> Requirements:
        try:
            if held.is_wheel:
                return dependencies.of_wheel(self._bytes(held.path + METADATA_SUFFIX))
            with self._file(held.path) as path:
                return read_requirements(path, held.filename)
        except OSError as error:
            what = "core metadata beside it" if held.is_wheel else "contents that can be read"
            return Requirements(unknown=f"has no {what} ({error.strerror})")

    def _bytes(self, key: str) -> bytes:
        """Return the bytes of a page or of metadata. Raises `OSError` if they cannot be read."""
        seen, chunks = self.storage.opened(key)
        if seen.size > regular.MOST:
            raise OSError(errno.EFBIG, f"has more than {regular.MOST} bytes", key)
        return b"".join(chunks)

    @contextmanager
    def _file(self, key: str) -> Iterator[Path]:
        """Yield the path of a file, or of a copy that is removed afterwards."""
        if self.storage.directory is not None:
            yield self.storage.directory / key
            return
        with NamedTemporaryFile(prefix="pypimirror-") as copy:
            copy.writelines(self.storage.opened(key)[1])
            copy.flush()
            yield Path(copy.name)

    def _told(self, project: str) -> ShelfPage | None:
        """Return the contents of a project's page, wherever its files are; None without a page."""
        address = f"{_ORIGIN}simple/{project}/"
        is_damaged = False
        for form, path in page_paths(project, ("json", "html")).items():
            try:
                body = self._bytes(path)
                page = parse_page(body, content_type=_TYPES[form], url=address, project=project)
            except FileNotFoundError:
                continue
            except (OSError, ReadError):
                is_damaged = True
                continue
            return _offered(project, page, urljoin(address, self._base))
        return ShelfPage(project, (), is_damaged=True) if is_damaged else None


def _offered(project: str, page: ProjectPage, base: str) -> ShelfPage:
    found = [held for file in page.files if (held := _held(project, file, base)) is not None]
    away = tuple(file.filename for file in found if not file.path)
    return ShelfPage(project, tuple(file for file in found if file.path), away)


def _sorted(offer: ShelfPage, here: set[str]) -> ShelfPage:
    """Return an offer whose files are really here."""
    lost = tuple(file.filename for file in offer.files if file.path not in here)
    if not lost:
        return offer
    return replace(offer, files=tuple(f for f in offer.files if f.path in here), lost=lost)


def _held(project: str, file: File, base: str) -> ShelfFile | None:
    """Return a file of the offer, without a path if it is elsewhere; None if it is neither kind."""
    if not file.filename.endswith((".whl", ".tar.gz", ".zip")):
        return None
    version = version_of(file.filename, project)
    if version is None:
        return None
    path = unquote(file.url.removeprefix(base)) if file.url.startswith(base) else ""
    path = path.partition("#")[0]
    return ShelfFile(
        project,
        file.filename,
        path if _is_key(path) else "",
        version,
        file.requires_python or "",
        file.yanked,
        file.digests,
    )


def _is_key(path: str) -> bool:
    """Whether a storage can have this key: no part of the path is empty, `.` or `..`."""
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))
