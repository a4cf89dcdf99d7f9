"""A wheel's RECORD: does it list exactly what the wheel contains?

This module parses RECORD and compares it with the entries in both directions. `zips` reads the
entries, and `structure` has the other rules on wheels.

The rules follow the specification of binary distributions. They are looser where real installers
agree on less: pip, uv and installer check no hash when they install.

* A path is compared as the entry is unpacked. A byte order mark in front, "./", "/", "//",
  backslashes and letters in another Unicode form are only spellings.
* A directory need not be listed. If it is, its row has no contents.
* A listed file exists, with the size and the hash of its row. All else is a contradiction. So are
  lines that are no rows, and paths that lead out of the wheel, which pip ignores.
* A file without a row, without a hash or with a weak one was still read to its end, and has the
  CRC-32 of the zip. It is reported as unchecked. RECORD cannot have a hash of itself.
* A RECORD that pip cannot parse is refused, for instance one with a blank line.
"""

from __future__ import annotations

import base64
import binascii
import csv
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

from installer.records import InvalidRecordEntry, RecordEntry

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.entries import name_fault, unpacked_path
from pypimirror.verify.archives.findings import Findings
from pypimirror.verify.archives.limits import ArchiveError, Meter, shown
from pypimirror.verify.archives.zip_directory import ZipEntry
from pypimirror.verify.hashing import new_hash

#: The specification forbids md5, sha1 and sha224 by name, and asks for sha256 or better.
STRONG = frozenset(
    ("sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256", "sha3_384", "sha3_512")
)
_WEAK = frozenset(("md5", "sha1", "sha224", "sha3_224"))

_LINE = re.compile(rb"([^\r\n]*)(?:\r\n|\r|\n)|[^\r\n]+\Z")
_MARK = b"\xef\xbb\xbf"

_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")


class WheelRecord:
    """The RECORD of one wheel, while it is compared with the contents."""

    def __init__(self, content: bytes, information: str, meter: Meter, findings: Findings) -> None:
        """Parse a RECORD of the directory `information`. Raises `ArchiveError`."""
        self._exempt = frozenset(f"{information}/{name}" for name in _UNLISTED)
        self._own = f"{information}/RECORD"
        self._findings = findings
        self._rows = self._parse(content.removeprefix(_MARK), meter)
        self._row: RecordEntry | None = None  # of the entry visited last
        self._hash: Any = None

    def check_names(self, files: set[str], directories: set[str]) -> None:
        """Compare the listed paths with those that are there.

        `files` and `directories` are the paths that entries are unpacked to.
        """
        absent = self._rows.keys() - files - self._exempt
        if empty := {path for path in absent if _is_nothing(self._rows[path])}:
            absent -= _directories_of(empty, files, directories)
        unlisted = files - self._rows.keys() - self._exempt
        self._respell(absent, unlisted)
        if outside := {path for path in absent if self._rows[path].path.startswith("/")}:
            self._findings.contradiction(
                f"lists {shown(f'/{min(outside)}')} in its RECORD, which is outside of it"
            )
        if absent:
            self._findings.contradiction(_some(absent, "in its RECORD that it does not hold"))
        if unlisted:
            self._findings.unchecked.append(
                f"it {_some(unlisted, 'that its RECORD does not list')}"
            )

    def _respell(self, absent: set[str], unlisted: set[str]) -> None:
        """Match paths that differ in Unicode form only, as macOS writes them."""
        if not absent or not unlisted:
            return
        composed = {unicodedata.normalize("NFC", path): path for path in unlisted}
        for path in list(absent):
            there = composed.pop(unicodedata.normalize("NFC", path), None)
            if there is not None:
                self._rows[there] = self._rows.pop(path)
                absent.discard(path)
                unlisted.discard(there)

    def visit(self, entry: ZipEntry) -> Callable[[bytes], object] | None:
        """Return a function that takes an entry's contents. Call `finish` after the last one."""
        self.finish()
        path = unpacked_path(entry.name)
        row = None if entry.is_directory or path == self._own else self._rows.get(path)
        if row is None:
            return None
        if row.size is not None and row.size != entry.size:
            self._findings.contradiction(
                f"has an entry {shown(entry.name)} of {entry.size} bytes, where its RECORD says"
                f" {row.size}"
            )
        if row.hash_ is None or row.hash_.name not in STRONG | _WEAK:
            return None
        self._row = row
        self._hash = new_hash(row.hash_.name)
        update: Callable[[bytes], object] = self._hash.update
        return update

    def finish(self) -> None:
        """Compare the hash of the entry that was visited last with the listed one."""
        row, self._row = self._row, None
        if row is None or row.hash_ is None:
            return
        if self._hash.digest() != _decoded(row.hash_.value):
            self._findings.contradiction(
                f"has an entry {shown(row.path)} with another hash than RECORD says"
            )

    def _parse(self, content: bytes, meter: Meter) -> dict[str, RecordEntry]:
        """Return the rows of a RECORD by unpacked path."""
        rows: dict[str, RecordEntry] = {}
        weak: dict[str, set[str]] = {}
        try:
            for number, elements in enumerate(csv.reader(_lines(content, meter)), 1):
                if number > meter.limits.max_entries:
                    raise ArchiveError("has too many lines in its RECORD", Reason.TOO_LARGE)
                row = self._understood(elements, number)
                if row is None:
                    continue
                path = unpacked_path(row.path.lstrip("/"))
                if row.path.endswith("/"):
                    self._check_directory(row)
                    continue
                if (fault := self._weakness(row, path)) is not None:
                    weak.setdefault(fault, set()).add(path)
                first = rows.setdefault(path, row)
                if (first.hash_, first.size) != (row.hash_, row.size):
                    self._findings.contradiction(
                        f"lists {shown(row.path)} twice in its RECORD, differently"
                    )
        except UnicodeDecodeError:
            raise ArchiveError(f"has a {shown(self._own)} that is not UTF-8") from None
        except csv.Error as error:
            raise ArchiveError(f"has a {shown(self._own)} that is broken ({error})") from error
        for fault, paths in weak.items():
            self._findings.unchecked.append(f"it {_some(paths, fault)}")
        return rows

    def _understood(self, elements: list[str], number: int) -> RecordEntry | None:
        """Parse a line; return None for one that cannot be checked, in released bytes."""
        try:
            row = RecordEntry.from_elements(elements[0].replace("\\", "/"), *elements[1:])
        except (TypeError, InvalidRecordEntry):
            self._findings.contradiction(
                f"has a line {number} in its RECORD that is no path, hash and size"
            )
            return None
        if fault := name_fault(unpacked_path(row.path.lstrip("/"))):
            self._findings.contradiction(f"lists {shown(row.path)} in its RECORD, which {fault}")
            return None
        return row

    def _check_directory(self, row: RecordEntry) -> None:
        if not _is_nothing(row):
            self._findings.contradiction(
                f"lists the directory {shown(row.path)} in its RECORD as something with contents"
            )

    def _weakness(self, row: RecordEntry, path: str) -> str | None:
        """Return why a row's hash proves nothing, as the end of a sentence; None if it does."""
        if path == self._own:
            return None if row.hash_ is None else "that gives a hash of itself, which is impossible"
        if row.hash_ is None:
            return None if path in self._exempt else "that its RECORD lists without a hash"
        if row.hash_.name not in STRONG:
            name = shown(row.hash_.name)
            return f"that its RECORD lists with {name}, where sha256 or better is asked for"
        return None


def _lines(content: bytes, meter: Meter) -> Iterator[str]:
    """Yield the lines one at a time, because a bomb may have a hundred million."""
    for line in _LINE.finditer(content):
        meter.tick()
        text = line[1] if line[1] is not None else line[0]
        if not text:
            raise ArchiveError("has a blank line in its RECORD, which pip cannot read")
        yield text.decode("utf-8")


def _directories_of(paths: set[str], files: set[str], directories: set[str]) -> set[str]:
    """Return the paths that are directories: they have an entry, or files are in them."""
    ordered = sorted(files)

    def holds(path: str) -> bool:
        at = bisect_left(ordered, f"{path}/")
        return at < len(ordered) and ordered[at].startswith(f"{path}/")

    return {path for path in paths if path in directories or holds(path)}


def _is_nothing(row: RecordEntry) -> bool:
    """Whether a row of a directory claims no contents."""
    if row.hash_ is None:
        return not row.size
    if row.size or row.hash_.name not in STRONG | _WEAK:
        return False
    return bool(new_hash(row.hash_.name).digest() == _decoded(row.hash_.value))


def _decoded(value: str) -> bytes | None:
    """Return the bytes of a digest in URL-safe base64 without padding; None if it is invalid."""
    value = value.rstrip("=")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _some(paths: set[str], what: str) -> str:
    first = shown(min(paths))
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"has an entry {first}{more} {what}"
