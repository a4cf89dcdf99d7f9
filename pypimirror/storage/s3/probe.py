"""Whether a bucket can be used: the questions that a run asks before it changes anything.

Does the bucket exist? Does its clock agree? May these credentials put and remove? Does the server
honour conditions? A server that does not know conditions ignores them silently. So the probe tries
to create one object twice, and to replace it under a wrong condition. The object has a name of its
own below `.pypimirror/`, which is not served, and is removed at the end.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.storage.s3.faults import BucketError, RequestError, error_of
from pypimirror.storage.s3.objects import ObjectContent, ObjectHead, Objects

#: The ETag of no object.
_OTHER = '"00000000000000000000000000000000"'


def probe(objects: Objects) -> None:
    """Raise `BucketError` with the next step if the bucket cannot be used."""
    bucket = objects.bucket
    with _asking(bucket.shown, "list"):
        for _ in objects.keys(bucket.key(""), most=1):
            pass
    key = _name(objects)
    put = _put(objects, key, b"one")
    if not bucket.exclusive:
        again = _put(objects, key, b"two", checked=True, may_lose=True)
        other = ObjectHead(3, _OTHER, "")
        matched = _put(objects, key, b"six", other, checked=True, may_lose=True)
        _removed(objects, key)
        ignored = [
            name
            for name, head in (("If-None-Match", again), ("If-Match", matched))
            if head is not None
        ]
        if ignored:
            raise BucketError(
                bucket.shown,
                f"the server ignores the condition {' and '.join(ignored)} of a write, so two "
                "workers could overwrite each other's pages",
                "Use a server that knows conditional writes, or set s3.exclusive = true if only "
                "one run at a time ever writes there.",
            )
    else:
        _removed(objects, key)
    assert put is not None


def still_writes(objects: Objects) -> bool:
    """Whether these credentials may put another object. If so, a refusal concerns only one key."""
    key = _name(objects)
    try:
        objects.put(key, _body(b"one"), None, checked=False)
        objects.remove(key)
    except RequestError:
        return False
    return True


def _name(objects: Objects) -> str:
    return objects.bucket.key(f".pypimirror/probe-{secrets.token_hex(8)}")


def _put(
    objects: Objects,
    key: str,
    content: bytes,
    instead_of: ObjectHead | None = None,
    *,
    checked: bool = False,
    may_lose: bool = False,
) -> ObjectHead | None:
    """Put the object of the probe. With `may_lose`, return None if the condition was honoured."""
    with _asking(f"s3://{objects.bucket.name}/{key}", "write"):
        try:
            return objects.put(key, _body(content), instead_of, checked=checked)
        except RequestError as fault:
            if may_lose and fault.is_lost_race:
                return None
            raise


def _removed(objects: Objects, key: str) -> None:
    with _asking(f"s3://{objects.bucket.name}/{key}", "remove"):
        objects.remove(key)


@contextmanager
def _asking(thing: str, doing: str) -> Iterator[None]:
    try:
        yield
    except RequestError as fault:
        raise error_of(fault, thing, doing) from fault


def _body(content: bytes) -> ObjectContent:
    digest = hashlib.sha256(content).hexdigest()
    return ObjectContent(content, len(content), digest, "text/plain", "no-store")
