"""The offer of the mirror root to installers: pages on disk, and files that are really here.

**The rule.** A file counts if a page links to it, the link leads into this mirror root, and its
bytes are in place. A file to which a page links elsewhere (`metadata_only`) is not on this mirror.

Only wheels and sdists count, because installers accept nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urljoin

from packaging.version import Version

from pypimirror.domain.filenames import version_of
from pypimirror.domain.layout import METADATA_SUFFIX, page_paths
from pypimirror.domain.metadata import dependencies
from pypimirror.domain.metadata.dependencies import Requirements
from pypimirror.domain.model import File, ProjectPage, ReadError
from pypimirror.system import regular
from pypimirror.upstream.read import parse_page
from pypimirror.verify.dependencies import read_requirements

#: The message if nothing of a project can be installed because its page is damaged.
DAMAGED = "its page on the mirror cannot be read"

#: The assumed address of pages; only the part after it counts.
_ORIGIN = "http://mirror.invalid/"
_RELATIVE = "../../"
_TYPES = {"json": "application/vnd.pypi.simple.v1+json", "html": "text/html"}


@dataclass(frozen=True)
class Held:
    """A wheel or an sdist that an installer can get here."""

    project: str
    filename: str
    path: str  #: below the mirror root
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
class Offer:
    """The files on the page of a project."""

    project: str
    files: tuple[Held, ...]
    away: tuple[str, ...] = ()  #: names of files to which the page links at the upstream
    lost: tuple[str, ...] = ()  #: names of files that should be here, and are not on disk
    is_damaged: bool = False  #: whether the page cannot be read


class Shelf:
    """A mirror root, read as an installer reads it. Each page is read once."""

    def __init__(self, root: Path, base_url: str = "") -> None:
        self.root = str(root)
        self._base = base_url or _RELATIVE
        self._offers: dict[str, Offer | None] = {}
        self._requirements: dict[str, Requirements] = {}

    def offer(self, project: str) -> Offer | None:
        """Return the offer of a project, by its normalised name; None if it has no page."""
        if project not in self._offers:
            self._offers[project] = self._read(project)
        return self._offers[project]

    def has_metadata(self, held: Held) -> bool:
        """Whether the core metadata of a wheel is beside it."""
        place = f"{self.root}/{held.path}{METADATA_SUFFIX}"
        return held.is_wheel and regular.is_here(place, self.root)

    def requirements(self, held: Held) -> Requirements:
        """Return the requirements of a file, as far as they are known without a build."""
        if held.path not in self._requirements:
            self._requirements[held.path] = self._required(held)
        return self._requirements[held.path]

    def _required(self, held: Held) -> Requirements:
        path = f"{self.root}/{held.path}"
        try:
            if not held.is_wheel:
                return read_requirements(Path(path), held.filename)
            return dependencies.of_wheel(regular.read(path + METADATA_SUFFIX, self.root))
        except OSError as error:
            what = "core metadata beside it" if held.is_wheel else "contents that can be read"
            return Requirements(unknown=f"has no {what} ({error.strerror})")

    def _read(self, project: str) -> Offer | None:
        address = f"{_ORIGIN}simple/{project}/"
        is_damaged = False
        for form, path in page_paths(project, ("json", "html")).items():
            try:
                body = regular.read(f"{self.root}/{path}", self.root)
                page = parse_page(body, content_type=_TYPES[form], url=address, project=project)
            except FileNotFoundError:
                continue
            except (OSError, ReadError):
                is_damaged = True
                continue
            return self._sorted(project, page, urljoin(address, self._base))
        return Offer(project, (), is_damaged=True) if is_damaged else None

    def _sorted(self, project: str, page: ProjectPage, base: str) -> Offer:
        files: list[Held] = []
        away: list[str] = []
        lost: list[str] = []
        for file in page.files:
            held = _held(project, file, base)
            if held is None:
                continue
            if held.path and regular.is_here(f"{self.root}/{held.path}", self.root):
                files.append(held)
            else:
                (lost if held.path else away).append(file.filename)
        return Offer(project, tuple(files), tuple(away), tuple(lost))


def _held(project: str, file: File, base: str) -> Held | None:
    """Return a file of the offer, without a path if it is elsewhere; None if it is neither kind."""
    if not file.filename.endswith((".whl", ".tar.gz", ".zip")):
        return None
    version = version_of(file.filename, project)
    if version is None:
        return None
    path = unquote(file.url.removeprefix(base)) if file.url.startswith(base) else ""
    return Held(
        project,
        file.filename,
        path.partition("#")[0],
        version,
        file.requires_python or "",
        file.yanked,
        file.digests,
    )
