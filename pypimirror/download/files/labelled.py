"""Files with a Content-Encoding that nobody asked for.

Some servers send a .tar.gz unchanged and label it by its ending; others compress what they send.
The label is the same, and installers disagree on it. So the digest from the index decides: the file
is the bytes as sent, or else the unpacked bytes, whichever has the digest. Without a digest, a
labelled answer is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import gevent

from pypimirror.domain.model import Reason
from pypimirror.download.failure import FetchError, bad_response
from pypimirror.download.files.hashing import Digests, mismatches
from pypimirror.download.http import content_encoding
from pypimirror.download.http.local import FileBody
from pypimirror.system import regular

_UNPACKED = ".unpacked"


def encoding_of(headers: Mapping[str, str]) -> str:
    """Return the Content-Encoding of an answer; "" if there is none, or it means nothing."""
    label = headers.get("Content-Encoding")
    return content_encoding.packing(label)[:40] if label else ""


def opens(label: str) -> bool:
    """Whether bytes with this label can be unpacked."""
    return content_encoding.opens(label)


def room(size: int) -> int:
    """Return the most bytes that a file of `size` bytes may have packed: a little more."""
    return size + size // 100 + (64 << 10)


def unasked(url: str, label: str, cause: str = "") -> FetchError:
    """Return the failure for a labelled answer that no digest explains."""
    cause = cause or "no digest of the index says whether this is the file or a packed form of it"
    return bad_response(f"{url} is sent with the Content-Encoding {label!r}, unasked, and {cause}.")


def unpack(
    path: str, label: str, expected: Mapping[str, str], limit: int, *, delimited: bool
) -> Digests | None:
    """Replace the file at `path` by its unpacked bytes, if they have the expected digests.

    Returns its digests, or None if they differ: then the file is left alone. Raises `OSError`, and
    `FetchError` if the bytes end early and the answer did not say its length.
    """
    digests = Digests(expected)
    try:
        made = regular.create(path + _UNPACKED)
        with open(made, "wb") as file, regular.stream(path) as packed:  # noqa: PTH123
            try:
                for piece in content_encoding.decoded(FileBody(packed), label, limit):
                    file.write(piece)
                    digests.update(piece)
                    gevent.sleep(0)
            except FetchError as error:
                if error.reason is Reason.TRUNCATED and not delimited:
                    raise
                return None
        if mismatches(digests.hex(), dict(expected)):
            return None
        os.replace(path + _UNPACKED, path)  # noqa: PTH105
        return digests
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + _UNPACKED)  # noqa: PTH108
