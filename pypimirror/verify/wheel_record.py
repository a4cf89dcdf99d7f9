"""A wheel's RECORD: does it list what the wheel holds, and nothing else.

Lives here: parsing RECORD, and holding it against the entries in both directions. Does not live
here: reading the entries (`zips`), and the other rules on wheels (`wheel_structure`).

The rules, after the specification of binary distributions:

* every entry is listed, and everything that is listed is there;
* every entry has a hash, sha256 or better, and has that hash and the size that is given;
* RECORD itself and its two signatures need neither; directories are not listed.
"""

from __future__ import annotations

import base64
import binascii
import csv
import re
from collections.abc import Callable, Iterator
from typing import Any

from installer.records import InvalidRecordEntry, RecordEntry, parse_record_file

from pypimirror.model import Reason
from pypimirror.verify.digests import new_hash
from pypimirror.verify.limits import ArchiveError, Meter, shown
from pypimirror.verify.zip_directory import Entry

#: The specification forbids md5, sha1 and sha224 by name, and asks for sha256 or better.
STRONG = frozenset(
    ("sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256", "sha3_384", "sha3_512")
)

_LINE = re.compile(rb"[^\r\n]+")

_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")


class Record:
    """The RECORD of one wheel, being held against its contents."""

    def __init__(self, content: bytes, information: str, meter: Meter) -> None:
        """Parse a RECORD of the directory `information`. Raises `ArchiveError`."""
        self._exempt = frozenset(f"{information}/{name}" for name in _UNLISTED)
        self._rows = _parse(content, f"{information}/RECORD", self._exempt, meter)
        self._row: RecordEntry | None = None  # of the entry visited last
        self._hash: Any = None

    def check_names(self, names: set[str]) -> None:
        """Hold the paths listed against those that are there, `names`: no directories in it."""
        if absent := self._rows.keys() - names - self._exempt:
            raise ArchiveError(_some(absent, "in its RECORD that it does not hold"))
        if unlisted := names - self._rows.keys() - self._exempt:
            raise ArchiveError(_some(unlisted, "that its RECORD does not list"))

    def visit(self, entry: Entry) -> Callable[[bytes], object] | None:
        """What wants the contents of an entry; for `walk_zip`, to be followed by `finish`."""
        self.finish()
        row = self._rows.get(entry.name)
        if row is None or row.hash_ is None:
            return None
        if row.size is not None and row.size != entry.size:
            raise ArchiveError(
                f"has an entry {shown(entry.name)} of {entry.size} bytes, where its RECORD says"
                f" {row.size}"
            )
        self._row = row
        self._hash = new_hash(row.hash_.name)
        update: Callable[[bytes], object] = self._hash.update
        return update

    def finish(self) -> None:
        """Hold the hash of the entry that was visited last against the one listed."""
        row, self._row = self._row, None
        if row is None or row.hash_ is None:
            return
        if self._hash.digest() != _decoded(row.hash_.value):
            raise ArchiveError(f"has an entry {shown(row.path)} with another hash than RECORD says")


def _parse(
    content: bytes, where: str, exempt: frozenset[str], meter: Meter
) -> dict[str, RecordEntry]:
    """The rows of a RECORD by their path."""
    rows: dict[str, RecordEntry] = {}
    try:
        for elements in parse_record_file(_lines(content)):
            meter.tick()
            row = RecordEntry.from_elements(*elements)
            if row.path.endswith("/") and row.hash_ is None:
                continue  # a directory: it need not be listed, yet some tools do so
            _check_row(row, row.path in exempt)
            if len(rows) > meter.limits.max_entries:
                raise ArchiveError("has too many lines in its RECORD", Reason.TOO_LARGE)
            if rows.setdefault(row.path, row) != row:
                raise ArchiveError(f"lists {shown(row.path)} twice in its RECORD, differently")
    except UnicodeDecodeError:
        raise ArchiveError(f"has a {shown(where)} that is not UTF-8") from None
    except (InvalidRecordEntry, csv.Error, ValueError) as error:
        raise ArchiveError(f"has a {shown(where)} that is broken ({error})") from error
    return rows


def _lines(content: bytes) -> Iterator[str]:
    """The lines that are not empty, one at a time: a bomb may have a hundred million."""
    for line in _LINE.finditer(content):
        yield line[0].decode("utf-8")


def _check_row(row: RecordEntry, exempt: bool) -> None:
    if row.hash_ is None:
        if not exempt:
            raise ArchiveError(f"lists {shown(row.path)} without a hash in its RECORD")
    elif row.hash_.name not in STRONG:
        raise ArchiveError(
            f"lists {shown(row.path)} in its RECORD with {shown(row.hash_.name)}, which is weaker"
            " than sha256"
        )


def _decoded(value: str) -> bytes | None:
    """The bytes of a digest in base64, as URLs have it, without the padding."""
    value = value.rstrip("=")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _some(paths: set[str], what: str) -> str:
    first = shown(min(paths))
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"has an entry {first}{more} {what}"
