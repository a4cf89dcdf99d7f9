"""The data of the simulated upstream: projects, files, serials. No HTTP and no rendering.

Every change moves the serials as on PyPI. Two exceptions of PyPI that surprise a mirror are the
same here: archiving changes a status but no serial, and a quarantined project leaves the list while
its own page still answers.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import threading
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import EllipsisType
from typing import Any
from urllib.parse import quote

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

Buffer = bytes | memoryview

#: The first file's upload time; each later one is a minute younger.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def digest(algorithm: str, content: Buffer) -> str:
    """The digest of `content` in hex; `blake2b_256` is PyPI's 32-byte form of blake2b."""
    if algorithm == "blake2b_256":
        return hashlib.blake2b(content, digest_size=32).hexdigest()
    return hashlib.new(algorithm, content).hexdigest()


def fingerprint(content: Buffer, number: int = 0) -> str:
    """Return an entity tag: a digest, or a counter for large content, since it must only differ."""
    if len(content) > 1 << 24:
        content = bytes(content[: 1 << 16]) + f"{len(content)} {number}".encode()
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def load(content: bytes | bytearray | memoryview | Path) -> Buffer:
    """Return the content as a buffer; a large file is mapped into memory."""
    if isinstance(content, Path):
        if content.stat().st_size <= 1 << 24:
            return content.read_bytes()
        with content.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return bytes(content) if isinstance(content, bytearray) else content


def wheel_metadata(content: Buffer) -> bytes | None:
    """Return the METADATA of a wheel; None if there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
                    return archive.read(name)
    except zipfile.BadZipFile:
        pass
    return None


def file_version(filename: str) -> str | None:
    """Return the version in a file name; None if there is none."""
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[1])
        return str(parse_sdist_filename(filename)[1])
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


@dataclass(eq=False)
class IndexFile:
    """One file on offer. Change it through its methods, so that the serials move."""

    project: IndexProject
    filename: str
    content: Buffer
    digests: dict[str, str]
    size: int | None
    url: str | None  #: as on the page; None for the simulator's own address
    requires_python: str | None = None
    yanked: bool | str | None = None
    upload_time: str | None = None
    metadata: bytes | None = None  #: served at the file's path + ".metadata"
    core_metadata: Any = None  #: as on the page: a bool or a dict of digests
    provenance: str | None = None  #: as on the page
    provenance_body: bytes | None = None
    gpg_sig: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ()
    path: str = ""  #: where its bytes are, not percent-encoded
    etag: str = ""

    @property
    def quoted_path(self) -> str:
        """The path as in a request."""
        head, _, _ = self.path.rpartition(self.filename)
        return quote(head) + quote(self.filename, safe="")

    @property
    def sha256(self) -> str:
        """The true digest of the content, whatever the page says."""
        return digest("sha256", self.content)

    def replace(self, content: bytes | Path) -> None:
        """Replace the bytes, with matching digests and size."""
        with self.project.index.lock:
            self.content = load(content)
            self.digests = {a: digest(a, self.content) for a in self.algorithms or ("sha256",)}
            self.size = len(self.content)
            self.project.index.place(self)
            self.project.touch()

    def yank(self, reason: str | bool = True) -> None:
        """Mark as yanked."""
        self.set(yanked=reason)

    def unyank(self) -> None:
        """Remove the mark."""
        self.set(yanked=None)

    def set(self, **changes: Any) -> None:
        """Change any attributes as one change of the project."""
        with self.project.index.lock:
            for name, value in changes.items():
                if name not in self.__dataclass_fields__:
                    raise TypeError(f"an IndexFile has no {name}")
                setattr(self, name, value)
            self.project.touch()

    def remove(self, *, keep_bytes: bool = False) -> None:
        """Remove the file from the page, and its bytes unless they must stay."""
        with self.project.index.lock:
            self.project.files.remove(self)
            if not keep_bytes:
                self.project.index.forget(self)
            self.project.touch()


@dataclass(eq=False)
class IndexProject:
    """One project: its files, its status, its serial."""

    index: Index
    name: str  #: as written; may be unnormalised
    serial: int = 0
    status: str = "active"
    reason: str | None = None
    files: list[IndexFile] = field(default_factory=list)
    versions: list[str] | None = None  #: None: the versions of the files
    extra: dict[str, Any] = field(default_factory=dict)
    listed: bool = True  #: whether the list names it; a quarantined project is never listed

    @property
    def normalized(self) -> str:
        """The normalized name, as in addresses."""
        return canonicalize_name(self.name)

    @property
    def path(self) -> str:
        """The path of its page."""
        return f"/simple/{self.normalized}/"

    def touch(self) -> None:
        """Count a change."""
        with self.index.lock:
            self.index.serial += 1
            self.serial = self.index.serial

    def set_status(self, status: str, reason: str | None = None, *, moves_serial: bool) -> None:
        """Set any status, even one that no specification has."""
        with self.index.lock:
            self.status, self.reason = status, reason
            if moves_serial:
                self.touch()

    def archive(self, reason: str | None = None) -> None:
        """Archive it; as on PyPI, no serial moves."""
        self.set_status("archived", reason, moves_serial=False)

    def activate(self, *, moves_serial: bool = False) -> None:
        """End an archiving, deprecation or quarantine."""
        self.set_status("active", moves_serial=moves_serial)

    def quarantine(self, reason: str | None = None, *, moves_serial: bool = True) -> None:
        """Remove it from the list; its page answers with the status and without files."""
        self.set_status("quarantined", reason, moves_serial=moves_serial)

    def remove_release(self, version: str) -> None:
        """Remove all files of a release, as in the quarantine or deletion of one release."""
        with self.index.lock:
            for file in [f for f in self.files if file_version(f.filename) == version]:
                self.files.remove(file)
                self.index.forget(file)
            self.touch()

    def file(self, filename: str) -> IndexFile:
        """The file of that name."""
        return next(file for file in self.files if file.filename == filename)

    @property
    def shown_files(self) -> list[IndexFile]:
        """The files that its page offers."""
        return [] if self.status == "quarantined" else list(self.files)

    @property
    def shown_versions(self) -> list[str]:
        """The versions that its page names."""
        if self.versions is not None:
            return self.versions
        found = [file_version(file.filename) for file in self.shown_files]
        return list(dict.fromkeys(version for version in found if version))


class Index:
    """All projects, and the global serial."""

    def __init__(self, layout: str = "project") -> None:
        self.lock = threading.RLock()
        self.layout = layout
        self.serial = 1000
        self.projects: dict[str, IndexProject] = {}
        self.by_path: dict[str, IndexFile] = {}
        self.added = 0
        self.placed = 0

    def project(self, name: str) -> IndexProject:
        """Return the project of that name; make it if it does not exist."""
        with self.lock:
            key = canonicalize_name(name)
            if key not in self.projects:
                self.projects[key] = IndexProject(self, name)
                self.projects[key].touch()
            return self.projects[key]

    def delete_project(self, name: str) -> None:
        """Remove the project, its page and its bytes; the global serial moves."""
        with self.lock:
            project = self.projects.pop(canonicalize_name(name))
            for file in project.files:
                self.forget(file)
            self.serial += 1

    def place(self, file: IndexFile) -> None:
        """Give the file its path, by the layout."""
        self.forget(file)
        if self.layout == "pypi":
            name = digest("blake2b_256", file.content)
            directory = f"{name[:2]}/{name[2:4]}/{name[4:]}"
        else:
            directory = file.project.normalized
        file.path = f"/packages/{directory}/{file.filename}"
        self.by_path[file.path] = file
        self.placed += 1
        file.etag = fingerprint(file.content, self.placed)

    def forget(self, file: IndexFile) -> None:
        """Remove the file's bytes."""
        if self.by_path.get(file.path) is file:
            del self.by_path[file.path]

    def add_file(
        self,
        project: str,
        filename: str,
        content: bytes | Path,
        *,
        digests: tuple[str, ...] | dict[str, str] | None = ("sha256",),
        requires_python: str | None = None,
        yanked: bool | str | None = None,
        upload_time: str | EllipsisType | None = ...,
        core_metadata: Any = None,
        provenance: bytes | str | None = None,
        size: int | EllipsisType | None = ...,
        url: str | EllipsisType = ...,
        gpg_sig: bool | None = None,
        extra: dict[str, Any] | None = None,
    ) -> IndexFile:
        """Offer a file; for the value `...`, the page has the true one.

        `digests` is a list of algorithms, or a dict that the page repeats. `core_metadata=True`
        takes METADATA from a wheel; bytes are served unchanged; a dict or False is repeated on the
        page. `provenance` is bytes to serve, or a string for the page.
        """
        with self.lock:
            owner = self.project(project)
            body = load(content)
            named = tuple(digests) if digests and not isinstance(digests, dict) else ()
            told = dict(digests) if isinstance(digests, dict) else {}
            metadata = wheel_metadata(body) if core_metadata is True else None
            if isinstance(core_metadata, bytes):
                metadata = core_metadata
            if metadata is not None:
                core_metadata = {"sha256": digest("sha256", metadata)}
            if upload_time is ...:
                moment = EPOCH + timedelta(minutes=self.added)
                upload_time = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
            self.added += 1
            file = IndexFile(
                project=owner,
                filename=filename,
                content=body,
                digests=told or {name: digest(name, body) for name in named},
                size=len(body) if size is ... else size,
                url=None if url is ... else url,
                requires_python=requires_python,
                yanked=yanked,
                upload_time=upload_time,
                metadata=metadata,
                core_metadata=core_metadata,
                provenance=provenance if isinstance(provenance, str) else None,
                provenance_body=provenance if isinstance(provenance, bytes) else None,
                gpg_sig=gpg_sig,
                extra=dict(extra or {}),
                algorithms=named,
            )
            self.place(file)
            owner.files.append(file)
            owner.touch()
            return file
