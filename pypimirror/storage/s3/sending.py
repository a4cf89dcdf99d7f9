"""How an object is put or removed so that nobody's work is lost: the rule for all changes.

An object is only put where nothing is (`If-None-Match: *`), or in the place of the very object that
was looked at (`If-Match`). Each object has its sha256 as metadata, so one HEAD tells what it is:

* It has the same sha256 and size: it is right, and nothing is put.
* 412 or 409: somebody else was faster. Look again, and decide again.
* No answer came, or the server failed: the object may be there. Look, and decide again.

The guard is asked before each attempt. So a worker that has lost its claim stops here, also if it
was faster than its successor: the successor then replaces what it has put.

Only the very object that was looked at is removed (`If-Match`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from pypimirror.domain.objects.headers import of_path
from pypimirror.storage.s3.faults import RequestError
from pypimirror.storage.s3.objects import PART, Body, Head, Objects
from pypimirror.system import regular

#: Attempts for one object. Each attempt has the repetitions of the client library in it.
_ATTEMPTS = 4
_PAUSE = 0.2  #: seconds after the first attempt; twice as long after each further one


def body_of(content: bytes, key: str) -> Body:
    """Return the body of an object with this content."""
    return Body(content, len(content), hashlib.sha256(content).hexdigest(), *of_path(key))


def body_of_file(source: str, key: str, sha256: bytes | None = None) -> Body:
    """Return the body of an object with the content of a file. Raises `OSError`.

    A large file with a known `sha256` is not read here: it is hashed while it is sent in parts.
    """
    size = regular.status(source).st_size
    if size < PART:
        return body_of(regular.read(source), key)
    if sha256 is None:
        with regular.stream(source) as stream:
            sha256 = hashlib.file_digest(stream, "sha256").digest()
    return Body(Path(source), size, sha256.hex(), *of_path(key))


def same(seen: Head | None, body: Body) -> bool:
    """Whether the object is what it shall be."""
    return seen is not None and seen.sha256 == body.sha256 and seen.size == body.size


def put(
    objects: Objects,
    key: str,
    body: Body,
    before: Callable[[Head | None], None],
    *,
    look: bool,
    seen: Head | None = None,
) -> tuple[Head, bool]:
    """Make `body` the object at `key`. Return what is there then, and whether this has put it.

    `before` is called before each attempt, with what it replaces. With `look`, the object is looked
    at first; else the first attempt believes `seen`, which saves a request where that is so. Raises
    `RequestError`.
    """
    checked = not objects.bucket.exclusive
    # Without conditions, an attempt would replace everything, and without an attempt nothing would
    # show that `seen` is of yesterday.
    if look or not checked or same(seen, body):
        seen, look = objects.head(key), True
    is_ours = False
    for attempt in range(_ATTEMPTS):
        if same(seen, body):
            assert seen is not None
            return seen, is_ours
        before(seen)
        try:
            return objects.put(key, body, seen, checked=checked), True
        except RequestError as fault:
            # If it was looked at before and is right now, this attempt has put it: the library
            # repeats a PUT whose answer is lost, and the repetition loses against the first.
            is_ours = look or seen is not None or fault.is_unclear
            if not (fault.is_unclear or fault.is_lost_race or fault.code == "BadDigest"):
                raise
            if attempt == _ATTEMPTS - 1:
                raise
            if fault.status not in (0, 412):
                time.sleep(_PAUSE * 2**attempt)
        seen, look = objects.head(key), True
    raise AssertionError


def remove(objects: Objects, key: str, seen: Head) -> bool:
    """Remove the object that was looked at. Return False if another one is in its place.

    Raises `RequestError`.
    """
    try:
        objects.remove(key, None if objects.bucket.exclusive else seen)
    except RequestError as fault:
        if not fault.is_lost_race:
            raise
        # The library repeats a request whose answer is lost, and then nothing is there.
        return objects.head(key) is None
    return True
