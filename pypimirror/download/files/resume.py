"""Continue a broken transfer: which bytes are here, and does an answer continue them?

A note beside a large partial file names the answer that its bytes come from. A transfer continues
only if the note has a validator (a strong ETag, else Last-Modified) and the total length, and the
new answer agrees with both. The whole file is hashed from its first byte anyway, so a wrong note
costs one more transfer and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping

import msgspec

from pypimirror.system import regular

#: Smaller transfers, in bytes, get no note and start again.
WORTH_A_NOTE = 1 << 20
WORTH_RESUMING = 64 << 10

_CONTENT_RANGE = re.compile(r"bytes +(\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE | re.ASCII)


class Whole(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer that the bytes of a partial file come from."""

    url: str  #: as the job gives it, before redirects
    total: int  #: bytes of the whole
    etag: str | None = None
    last_modified: str | None = None
    label: str = ""  #: its Content-Encoding

    @property
    def validator(self) -> str | None:
        """The validator of this answer for If-Range."""
        if self.etag is not None and self.etag.startswith('"'):
            return self.etag
        return self.last_modified


def describe(url: str, total: int | None, headers: Mapping[str, str]) -> Whole | None:
    """Return the note for a whole answer; None if the answer cannot be continued."""
    if total is None or headers.get("Accept-Ranges", "").strip().lower() == "none":
        return None
    from pypimirror.download.files.labelled import encoding_of  # with gevent: in workers alone

    whole = Whole(
        url, total, headers.get("ETag"), headers.get("Last-Modified"), encoding_of(headers)
    )
    return whole if whole.validator else None


def continues(whole: Whole, offset: int, headers: Mapping[str, str], length: int | None) -> bool:
    """Whether a 206 with these headers holds exactly the rest of `whole` from `offset` on."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return False
    first, last, total = (int(group) for group in match.groups())
    if (first, last, total) != (offset, whole.total - 1, whole.total):
        return False
    if length is not None and length != whole.total - offset:
        return False
    etag = headers.get("ETag")
    if etag is not None and whole.etag is not None and etag != whole.etag:
        return False
    modified = headers.get("Last-Modified")
    return whole.etag is not None or modified is None or modified == whole.last_modified


def note_path(path: str) -> str:
    """Return the path of the note on the partial file at `path`."""
    return path + ".json"


def read_note(path: str) -> tuple[Whole, int] | None:
    """Return the note on `path` and the size of the file; None if there is no valid note."""
    try:
        whole = msgspec.json.decode(regular.read(note_path(path), most=1 << 16), type=Whole)
        size = regular.status(path).st_size
    except (OSError, msgspec.DecodeError):
        return None
    if whole.validator is None or not 0 < size <= whole.total:
        return None
    return whole, size


def write_note(path: str, whole: Whole) -> None:
    """Write the note on `path`. A truncated note counts as none."""
    with open(regular.create(note_path(path)), "wb") as file:  # noqa: PTH123
        file.write(msgspec.json.encode(whole))


def remove_note(path: str) -> None:
    """Remove the note on `path`, if any."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(note_path(path))  # noqa: PTH108
