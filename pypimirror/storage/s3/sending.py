"""How to put or remove an object without losing another worker's change: the rule for all changes.

A PUT has a condition: the key has no object (`If-None-Match: *`), or it still has the object that
was seen before (`If-Match`). Each object has its sha256 as metadata, so one HEAD identifies it:

* The object has the same sha256 and size: it is right, and nothing is put.
* 412 or 409: another worker was faster. Look again, and decide again.
* No answer came, or the server failed: the object may be there. Look, and decide again.

The guard is asked before each attempt. So a worker that has lost its claim stops here. If it was
faster than its successor, the successor replaces its object.

A removal removes only the object that was seen before (`If-Match`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from pypimirror.domain.objects.headers import of_path
from pypimirror.storage.s3.faults import RequestError
from pypimirror.storage.s3.objects import PART, ObjectContent, ObjectHead, Objects
from pypimirror.system import regular

#: Attempts for one object. Each attempt has the repetitions of the client library in it.
_ATTEMPTS = 4
_PAUSE = 0.2  #: seconds after the first attempt; twice as long after each further one


def body_of(content: bytes, key: str) -> ObjectContent:
    """Return the body of an object with this content."""
    return ObjectContent(content, len(content), hashlib.sha256(content).hexdigest(), *of_path(key))


def body_of_file(source: str, key: str, sha256: bytes | None = None) -> ObjectContent:
    """Return the body of an object with the content of a file. Raises `OSError`.

    A large file with a known `sha256` is not read here: it is hashed while it is sent in parts.
    """
    size = regular.status(source).st_size
    if size < PART:
        return body_of(regular.read(source), key)
    if sha256 is None:
        with regular.stream(source) as stream:
            sha256 = hashlib.file_digest(stream, "sha256").digest()
    return ObjectContent(Path(source), size, sha256.hex(), *of_path(key))


def same(seen: ObjectHead | None, body: ObjectContent) -> bool:
    """Whether the object has the content of `body`."""
    return seen is not None and seen.sha256 == body.sha256 and seen.size == body.size


def put(
    objects: Objects,
    key: str,
    body: ObjectContent,
    before: Callable[[ObjectHead | None], None],
    *,
    look: bool,
    seen: ObjectHead | None = None,
) -> tuple[ObjectHead, bool]:
    """Make `body` the object at `key`. Return the object there, and whether this call has put it.

    `before` is called before each attempt, with the object that it replaces. With `look`, a HEAD
    comes first. Otherwise the first attempt assumes that the key has `seen`, which saves a request
    if this is true. Raises `RequestError`.
    """
    checked = not objects.bucket.exclusive
    # Without conditions, an attempt would replace any object, and a stale `seen` would not be
    # noticed.
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


def remove(objects: Objects, key: str, seen: ObjectHead) -> bool:
    """Remove the object that was seen before. Return False if another one is in its place.

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
