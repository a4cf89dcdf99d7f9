"""The private directory of a mirror, as far as files go: staging and quarantine.

It is always a directory of this machine, on the same file system as what is served where that is
one too: so a rename shows a file whole or not at all. The parent process writes to it through here,
but for lock and catalog; child processes write to `staging` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pypimirror.domain.layout import METADATA_SUFFIX, PRIVATE, PROVENANCE_SUFFIX
from pypimirror.storage.stamps import stamp
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError, told


class Workspace:
    """The private directory of the mirror whose root is `directory`."""

    def __init__(self, directory: Path, staging: Path | None = None) -> None:
        self.directory = directory
        self.private = directory / ".pypimirror"
        self.staging = staging or self.private / "staging"
        self.quarantine = self.private / "quarantine"
        # Paths of files are put together as text: pathlib costs more than the system's calls.
        self._staging = str(self.staging)

    def create(self) -> None:
        """Make the directories; raises `StorageError` where that cannot be done."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.private.mkdir(PRIVATE, exist_ok=True)
            for path in (self.staging, self.quarantine):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(error.filename or self.directory, error) from error

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

    def set_aside(self, take: Callable[[Path], None], name: str, report: bytes) -> None:
        """Move bytes that failed verification to quarantine, with a report in JSON.

        `take` moves them to the path that it is given.
        """
        target = self.quarantine / name
        with told(target, str(self.quarantine)):
            try:
                made = regular.create(str(self.quarantine / f"{name}.json"))
                with open(made, "wb") as stream:  # noqa: PTH123
                    stream.write(report)
                take(target)
            except FileNotFoundError:
                return

    def take_staged(self, file_id: int) -> Callable[[Path], None]:
        """Return what moves the bytes of a file from staging to the path that it is given."""

        def take(target: Path) -> None:
            self.staged(file_id).replace(target)

        return take

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
