"""Translates the head of an object into values for the rest of the program."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pypimirror.storage.s3.objects import ObjectHead
from pypimirror.storage.storage import Seen


def seen_of(head: ObjectHead) -> Seen:
    """Return the facts about an object that are known without reading it."""
    return Seen(head.size, stamp_of([head]), bytes.fromhex(head.sha256) or None)


def stamp_of(heads: Sequence[ObjectHead]) -> int:
    """Return one stamp for some objects, made of ETag, size and sha256."""
    text = " ".join(f"{head.etag} {head.size} {head.sha256}" for head in heads)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
