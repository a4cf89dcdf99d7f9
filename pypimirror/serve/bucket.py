"""A mirror root in a bucket, for the web server. It only reads: GET and HEAD.

Pages are kept in memory for a few seconds, so that the many requests of one installation ask the
bucket once. After that time, the bucket is asked whether the page is still the same. Files are
streamed: the next piece is read when the client has taken the last one. If the connection to the
bucket breaks in the middle, the server asks for the rest of the same version.

A denied object does not count as absent: without the permission to list, a bucket denies objects
that do not exist. So the server answers 503 and says in its log which permission is missing.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from msgspec.structs import replace

from pypimirror.config.settings import load
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.serve.files import serial_in
from pypimirror.serve.tree import AwayError, is_plain
from pypimirror.storage.s3.clients import Clients, Patience
from pypimirror.storage.s3.faults import RequestError, error_of

#: Seconds for which an answer of the bucket is believed.
FRESH = 3.0
#: Most bytes of pages in memory, and most answers that are remembered.
_MOST = 256 << 20
_ANSWERS = 20_000
#: How many times to ask for the rest of a file after its connection broke.
_TRIES = 3
#: Idle connections to the bucket that are kept.
_CONNECTIONS = 512

#: Shorter than that of a run: a client waits.
_PATIENCE = Patience(tries=3, first=0.2, longest=2, timeout=20)


@dataclass(frozen=True)
class _Object:
    """The bucket's answer about an object; its bytes, if it is a page."""

    size: int
    etag: str
    sha256: str
    modified: datetime
    content: bytes | None = None


@dataclass
class _Answer:
    """The last answer of the bucket about a key."""

    found: _Object | None = None
    at: float = -FRESH
    asking: threading.Lock = field(default_factory=threading.Lock)


class OpenedObject:
    """An object, open; see `tree.Opened`."""

    def __init__(self, tree: BucketTree, key: str, found: _Object) -> None:
        self._found = found
        self._stream = _Stream(tree, key, found) if found.content is None else None
        self.handle = cast(IO[bytes], self._stream or io.BytesIO(found.content or b""))

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._found.size

    @property
    def modified(self) -> datetime:
        """The time when it was put."""
        return self._found.modified

    def until(self, end: int) -> None:
        """Bytes from `end` on will not be read."""
        if self._stream is not None:
            self._stream.end = end

    def modified_is_past(self) -> bool:
        """Whether that time has passed, by the clock of this machine."""
        return self._found.modified <= datetime.now(UTC)

    def modified_is_settled(self) -> bool:
        """Whether no later change can have the same time: never, with another machine's clock."""
        return False

    def state_etag(self) -> str:
        """An ETag for files that do not change."""
        return self._found.sha256 or self._found.etag.strip('"')

    def content_etag(self) -> str:
        """An ETag from the bytes."""
        return hashlib.sha256(self._found.content or b"").hexdigest()

    def serial(self) -> str | None:
        """The serial that our page states."""
        content = self._found.content or b""
        return serial_in(content[:64], content[-64:])


class _Stream(io.RawIOBase):
    """An object as a file. The bucket is asked at the first read."""

    def __init__(self, tree: BucketTree, key: str, found: _Object) -> None:
        self._tree, self._key, self._found = tree, key, found
        self._at, self.end = 0, found.size
        self._body: Any = None

    def seekable(self) -> bool:
        """Whether a range can be asked for: yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to an offset."""
        self._drop()
        self._at = offset + (0, self._at, self._found.size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; b"" at the end."""
        size = self.end - self._at if size < 0 else min(size, self.end - self._at)
        for left in reversed(range(_TRIES)):
            if size <= 0:
                return b""
            try:
                data: bytes = self._opened().read(size)
                if data:
                    self._at += len(data)
                    return data
                raise OSError("it ended too early")
            except Exception as error:
                self._drop()
                if not left:
                    raise AwayError(f"{self._tree.named(self._key)}: {error}") from error
        raise AssertionError

    def _opened(self) -> Any:
        if self._body is None:
            self._body = self._tree.body(self._key, self._found.etag, self._at, self.end)
        return self._body

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()


class BucketTree:
    """A mirror root in a bucket; see `tree.Tree`."""

    def __init__(self, bucket: Bucket, clients: Clients, signed_for: float | None = None) -> None:
        self._bucket, self._clients, self._signed_for = bucket, clients, signed_for
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._kept = 0  # bytes of pages in memory
        self.shown = bucket.shown

    @cached_property
    def _client(self) -> Any:
        return self._clients.boto

    def named(self, key: str) -> str:
        """Return the name of an object in messages."""
        return f"{self.shown}/{key}"

    def open(self, top: str, *parts: str) -> OpenedObject | None:
        """Open an object for reading; None if there is none."""
        key = _key(top, parts)
        found = self._ask(key) if key else None
        return None if found is None or not key else OpenedObject(self, key, found)

    def names_present(self, top: str, *parts: str, names: Iterable[str]) -> frozenset[str]:
        """Which of `names` are below a prefix."""
        keys = {name: _key(top, (*parts, name)) for name in names}
        return frozenset(name for name, key in keys.items() if key and self._ask(key) is not None)

    def forget(self, top: str, *parts: str) -> None:
        """Forget that an object is absent."""
        answer = self._answers.get(_key(top, parts))
        if answer is not None and answer.found is None:
            answer.at = -FRESH

    def address(self, top: str, *parts: str) -> str | None:
        """Return a signed address of a file, if clients are redirected."""
        key = _key(top, parts)
        if self._signed_for is None or not key:
            return None
        with self._asking(key):
            return str(
                self._client.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": self._bucket.name, "Key": self._bucket.key(key)},
                    ExpiresIn=int(self._signed_for),
                )
            )

    def body(self, key: str, etag: str, start: int, end: int) -> Any:
        """Return the bytes of one version of an object, as a stream."""
        told = self._client.get_object(
            Bucket=self._bucket.name,
            Key=self._bucket.key(key),
            IfMatch=etag,
            Range=f"bytes={start}-{end - 1}",
        )
        return told["Body"]

    def _ask(self, key: str) -> _Object | None:
        """Return the object at a key, with its bytes if it is a page; None if there is none."""
        answer = self._answers.setdefault(key, _Answer())
        with answer.asking:  # the others wait for this answer
            if time.monotonic() - answer.at >= FRESH:
                is_file = key.startswith("packages/")
                try:
                    found = self._head(key) if is_file else self._page(key, answer)
                except AwayError:
                    if answer.found is None:  # else each invented name would stay in memory
                        self._answers.pop(key, None)
                    raise
                self._keep(key, answer, found)
            return answer.found

    def _keep(self, key: str, answer: _Answer, found: _Object | None) -> None:
        # While the bucket was asked, this answer may have left the memory, and another one came.
        kept = self._answers.get(key)
        self._kept += _weight(found) - _weight(kept.found if kept is not None else None)
        answer.found, answer.at = found, time.monotonic()
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > _ANSWERS or (self._kept > _MOST and len(self._answers) > 1):
            self._kept -= _weight(self._answers.popitem(last=False)[1].found)

    def _head(self, key: str) -> _Object | None:
        with self._asking(key) as place:
            try:
                with self._clients.faults():
                    return _object(self._client.head_object(**place))
            except RequestError as fault:
                if not fault.is_absent:
                    raise
            self._absent(place)
            return None

    def _absent(self, place: dict[str, str]) -> None:
        """Return None: there is no such object. Raise the error if that is not certain.

        The answer to a HEAD has no body, so a missing bucket looks like a missing object.
        """
        try:
            with self._clients.faults():
                self._client.get_object(**place)["Body"].close()
        except RequestError as fault:
            if not fault.is_absent:
                raise

    def _page(self, key: str, answer: _Answer) -> _Object | None:
        """Return a page. If the page in memory is still current, its bytes are not sent again."""
        before = answer.found
        condition = {"IfNoneMatch": before.etag} if before is not None else {}
        with self._asking(key) as place:
            try:
                with self._clients.faults():
                    told = self._client.get_object(**place, **condition)
                    return _object(told, told["Body"].read())
            except RequestError as fault:
                if before is not None and fault.status == 304:
                    return before
                if fault.is_absent:
                    return None
                raise

    @contextmanager
    def _asking(self, key: str) -> Iterator[dict[str, str]]:
        """Yield the place of an object. Turns all errors of the bucket into `AwayError`."""
        try:
            yield {"Bucket": self._bucket.name, "Key": self._bucket.key(key)}
        except RequestError as error:
            raise AwayError(str(error_of(error, self.named(key), "read"))) from error
        except Exception as error:  # of the connection, in the middle of a body
            raise AwayError(f"{self.named(key)}: {error}") from error


def open_tree(file: Path) -> BucketTree:
    """Return the tree that a configuration names. Raises `PypimirrorError`."""
    config = load(file)
    assert config.bucket is not None
    # A client takes a connection while it downloads; the server has its own limit.
    bucket = replace(config.bucket, connections=_CONNECTIONS)
    clients = Clients(bucket, _PATIENCE)
    _ = clients.boto  # so that missing libraries or credentials are told at the start
    lifetime = config.serve.redirect_for.total_seconds() if config.serve.redirect else None
    return BucketTree(bucket, clients, lifetime)


def _key(top: str, parts: tuple[str, ...]) -> str:
    """Return the key of a path; "" if it must not be served."""
    return "/".join((top, *parts)) if all(map(is_plain, parts)) else ""


def _object(told: dict[str, Any], content: bytes | None = None) -> _Object:
    sha256 = told.get("Metadata", {}).get("sha256", "")
    modified = told["LastModified"].astimezone(UTC).replace(microsecond=0)
    size = int(told["ContentLength"]) if content is None else len(content)
    return _Object(size, told["ETag"], sha256, modified, content)


def _weight(found: _Object | None) -> int:
    return len(found.content) if found is not None and found.content is not None else 0
