"""The private directory of a mirror: staging and quarantine.

It is always a local directory. If the storage is a directory too, both are on the same file system,
so that a rename shows a file completely or not at all. The parent process writes through this
class, except to the lock and the catalog. Child processes write only to `staging`.

A worker has the same private directory, but stages in a directory of its own (`storage.parts`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pypimirror.domain.layout import METADATA_SUFFIX, PRIVATE, PROVENANCE_SUFFIX
from pypimirror.storage import parts
from pypimirror.storage.stamps import stamp
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError, storage_errors


class Workspace:
    """The private directory of the mirror whose root is `directory`.

    `common` is the directory that a worker takes parts from and gives them back to.
    """

    def __init__(
        self, directory: Path, staging: Path | None = None, common: Path | None = None
    ) -> None:
        self.directory = directory
        self.private = directory / ".pypimirror"
        self.staging = staging or self.private / "staging"
        self.quarantine = self.private / "quarantine"
        # Paths are joined as text, because pathlib is slower than the system calls.
        self._staging = str(self.staging)
        self._common = common

    def of_worker(self, worker: int) -> Workspace:
        """Return the same workspace with a staging directory of its own for a worker, by its id."""
        return Workspace(self.directory, self.staging / str(worker), common=self.staging)

    def take_parts(self, fetched: Iterable[int], unfinished: Iterable[int] = ()) -> None:
        """Take parts that other workers have left: of files that are fetched, and of files whose
        transfer can be continued. Raises `StorageError`.
        """
        if self._common is not None:
            with storage_errors(self.staging):
                parts.take(str(self._common), self._staging, fetched)
                parts.take_unfinished(str(self._common), self._staging, unfinished)

    def give_back(self) -> None:
        """Leave the parts of this worker to others. Raises `StorageError`."""
        if self._common is not None:
            with storage_errors(self.staging):
                parts.give_back(self._common, self.staging)

    def create(self) -> None:
        """Create the directories. Raises `StorageError`."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.private.mkdir(PRIVATE, exist_ok=True)
            for path in (self.staging, self.quarantine):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(error.filename or self.directory, error) from error

    def staged(self, file_id: int) -> Path:
        """Return the staging path for the bytes of a file."""
        return self.staging / f"{file_id}.part"

    def staged_text(self, file_id: int) -> str:
        """Return the same path as text, for work on each file of a batch."""
        return f"{self._staging}/{file_id}.part"

    def staged_metadata(self, file_id: int) -> str:
        """Return the staging path for a wheel's core metadata, as text."""
        return f"{self._staging}/{file_id}{METADATA_SUFFIX}"

    def is_staged(self, file_id: int) -> bool:
        """Whether bytes of a file are in staging."""
        return regular.is_here(self.staged_text(file_id))

    def staged_size(self, file_id: int) -> int:
        """Return how many bytes of a file are in staging."""
        try:
            return regular.status(self.staged_text(file_id)).st_size
        except FileNotFoundError:
            return 0

    def staged_stamp(self, file_id: int) -> int | None:
        """Return the `stamp` of a file in staging; None if there is none."""
        try:
            return stamp(self.staged_text(file_id))
        except FileNotFoundError:
            return None

    def staged_names(self) -> Iterator[str]:
        """Yield the names of all files in staging, in any order."""
        with storage_errors(self.staging), os.scandir(self.staging) as entries:
            yield from (entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))

    def drop_old_pages(self) -> None:
        """Remove half-written pages of a dead run of version 0.1.0. Newer ones are in staging."""
        with storage_errors(self.private):
            for path in self.private.glob("page.*"):
                path.unlink(missing_ok=True)

    def unstage(self, name: str) -> None:
        """Remove a file from staging. A missing file is no error."""
        path = self.staging / name
        with storage_errors(path, self._staging):
            path.unlink(missing_ok=True)

    def discard(self, file_id: int) -> None:
        """Remove all files in staging that belong to a file, also the notes of a worker."""
        for suffix in (".part", ".part.json", METADATA_SUFFIX, PROVENANCE_SUFFIX):
            self.unstage(f"{file_id}{suffix}")

    def set_aside(self, take: Callable[[Path], None], name: str, report: bytes) -> None:
        """Move bytes that failed verification to quarantine, with a JSON report.

        `take` moves the bytes to the path that it is given.
        """
        target = self.quarantine / name
        with storage_errors(target, str(self.quarantine)):
            try:
                made = regular.create(str(self.quarantine / f"{name}.json"))
                with open(made, "wb") as stream:  # noqa: PTH123
                    stream.write(report)
                take(target)
            except FileNotFoundError:
                return

    def take_staged(self, file_id: int) -> Callable[[Path], None]:
        """Return a function that moves the bytes of a file from staging to a path."""

        def take(target: Path) -> None:
            self.staged(file_id).replace(target)

        return take

    def release(self, name: str, file_id: int) -> None:
        """Move bytes from quarantine back to staging."""
        source = self.quarantine / name
        with storage_errors(source):
            source.replace(self.staged(file_id))

    def drop(self, name: str) -> None:
        """Remove an entry from quarantine, the report last. A missing entry is no error."""
        for path in (self.quarantine / name, self.quarantine / f"{name}.json"):
            with storage_errors(path, str(self.quarantine)):
                path.unlink(missing_ok=True)

    def date_quarantined(self, name: str) -> None:
        """Set the time of a file in quarantine to now."""
        with storage_errors(self.quarantine / name, str(self.quarantine)):
            os.utime(self.quarantine / name, follow_symlinks=False)

    def keep(self, directory: Path, texts: Mapping[str, str]) -> set[str]:
        """Write these texts as the files of a directory, and return the names of new or changed
        ones.

        A file has the whole text or does not exist, also after power loss.
        """
        changed = set()
        with storage_errors(directory):
            directory.mkdir(exist_ok=True)
            for name, text in texts.items():
                path, data = directory / name, text.encode()
                if regular.is_here(str(path)) and regular.read(str(path)) == data:
                    continue
                changed.add(name)
                made = regular.create(f"{path}.new")
                with open(made, "wb") as stream:  # noqa: PTH123
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(f"{path}.new").replace(path)
            for path in directory.glob("pylock.*"):  # also of a run that died
                if path.name not in texts:
                    path.unlink()
        return changed
