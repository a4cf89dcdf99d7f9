"""A mirror in a bucket; see `pypimirror.storage.storage.Storage`. Only this module writes to it.

One PUT is atomic for its key and durable when it is answered, so there is no rename and nothing to
flush. But a bucket has no atomic change of several keys. As in a directory, the callers' order of
changes replaces it: `place` and `write` return only when all their objects are there.
`docs/decisions/0072-order-of-writes-on-s3.md` shows what a reader may see in between.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from pypimirror.domain.model import Problem
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.changes import Journal
from pypimirror.storage.s3 import sending
from pypimirror.storage.s3.clients import Clients
from pypimirror.storage.s3.crew import Crew
from pypimirror.storage.s3.faults import (
    BucketError,
    RequestError,
    changed_since,
    error_of,
    replaced,
)
from pypimirror.storage.s3.heads import seen_of, stamp_of
from pypimirror.storage.s3.objects import ObjectContent, ObjectHead, Objects
from pypimirror.storage.s3.probe import probe, still_writes
from pypimirror.storage.s3.recent import Recent
from pypimirror.storage.storage import MOST_NOTED, Local, Seen
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError


class S3Storage:
    """The served files of a mirror in a bucket. Safe to use from several threads.

    `on_step` is called before each change, as in `PosixStorage`: by several threads, but never by
    two at once.
    """

    def __init__(
        self,
        workspace: Workspace,
        bucket: Bucket,
        on_step: Callable[[str, str], None] = lambda *_: None,
        clients: Clients | None = None,
    ) -> None:
        self.guard: Callable[[], None] = lambda: None
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self.changes: Journal | None = None
        self._workspace = workspace
        self._bucket = bucket
        self._objects = Objects(bucket, clients or Clients(bucket))
        self.at_once = bucket.connections
        self._crew = Crew(bucket.connections)
        self._recent = Recent()
        self._on_step = on_step
        self._copies = itertools.count()
        self._look = False  # whether the last object of `write` was a known one

    @property
    def shown(self) -> str:
        """The name in messages."""
        return self._bucket.shown

    @property
    def directory(self) -> Path | None:
        """There is none: the objects are in the bucket."""
        return None

    def create(self) -> None:
        """Check that the bucket can be used as this program uses it. Raises `StorageError`."""
        probe(self._objects)

    def free(self) -> int | None:
        """Return that space is unlimited."""
        return None

    def identity(self) -> str:
        """Return always the same identity, because nothing shows that a bucket was restored."""
        return ""

    def _key(self, key: str) -> str:
        return self._bucket.key(key)

    def _named(self, key: str) -> str:
        return f"{self._bucket.shown}/{key}"

    @contextmanager
    def _reading(self, key: str, doing: str = "read") -> Iterator[None]:
        try:
            yield
        except RequestError as fault:
            raise error_of(fault, self._named(key), doing) from fault

    # Reading

    def keys(self, prefix: str, unreadable: Callable[[StorageError], None]) -> Iterator[str]:
        """Yield all keys below `prefix`. `unreadable` is called if they cannot be listed."""
        skipped = len(self._key(""))
        try:
            for key in self._objects.keys(self._key(f"{prefix}/")):
                if not key.endswith("/"):  # consoles make such objects and show them as directories
                    yield key[skipped:]
        except RequestError as fault:
            unreadable(error_of(fault, self._named(prefix), "list"))

    def _head(self, key: str) -> ObjectHead | None:
        is_known, head = self._recent.find(key)
        if not is_known:
            with self._reading(key):
                head = self._objects.head(self._key(key))
            self._recent.add(key, head)
        return head

    def has(self, key: str) -> bool:
        """Whether an object exists at `key`, or below it."""
        return self._head(key) is not None or self.has_below(key)

    def has_below(self, directory: str) -> bool:
        """Whether an object exists below a directory."""
        if self._recent.is_empty(directory):
            return False
        with self._reading(directory, "list"):
            if self._objects.any_below(self._key(directory)):
                return True
        self._recent.add_empty(directory)
        return False

    def lists(self, key: str) -> bool:
        """Whether an object exists with exactly this spelling: keys are never folded."""
        return self._head(key) is not None

    def size(self, key: str) -> int | None:
        """Return the size of the object at `key` in bytes; None if there is none."""
        head = self._head(key)
        return None if head is None else head.size

    def seen(self, key: str) -> Seen | None:
        """Return size, stamp and digest of the object at `key`; None if there is none."""
        head = self._head(key)
        return None if head is None else seen_of(head)

    def opened(self, key: str) -> tuple[Seen, Iterator[bytes]]:
        """Return the facts about an object, and its bytes in chunks. Raises `FileNotFoundError`."""
        with self._reading(key):
            found = self._objects.get(self._key(key))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "is not there", self._named(key))
        return seen_of(found[0]), self._streamed(key, found[1])

    def _streamed(self, key: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._reading(key):
            yield from chunks

    def stamp(self, key: str) -> int:
        """Return a number made of ETag and sha256. Raises `FileNotFoundError`."""
        return stamp_of([self._present(key)])

    def _present(self, key: str) -> ObjectHead:
        head = self._head(key)
        if head is None:
            raise FileNotFoundError(errno.ENOENT, "is not there", self._named(key))
        return head

    def stamp_of_all(self, keys: Iterable[str]) -> int | None:
        """Return one stamp for several objects; None if one is missing."""
        heads = [self._head(key) for key in keys]
        there = [head for head in heads if head is not None]
        return stamp_of(there) if len(there) == len(heads) else None

    def sha256_of_all(self, keys: Iterable[str]) -> bytes | None:
        """Return one digest for the bytes of several objects; None if one is missing."""
        state = hashlib.sha256()
        for key in keys:
            with self._reading(key):
                found = self._objects.get(self._key(key))
                if found is None:
                    return None
                for chunk in found[1]:
                    state.update(chunk)
        return state.digest()

    def read(self, key: str, most: int = regular.MOST) -> bytes | None:
        """Return an object's bytes; None if it is missing or has more than `most` bytes."""
        if (content := self._recent.content(key)) is not None:
            return content if len(content) <= most else None
        with self._reading(key):
            found = self._objects.get(self._key(key))
            self._recent.add(key, found and found[0])
            if found is None or found[0].size > most:
                return None
            return b"".join(found[1])

    def says(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Whether the object at `key` has this content."""
        wanted = b"".join(chunks)
        return self.read(key, len(wanted)) == wanted

    def local(self, key: str) -> Local:
        """Return the path of a copy in staging. The reader removes the copy."""
        name = f"copy.{next(self._copies)}.{key.rpartition('/')[2][-200:]}"
        path = self._workspace.staging / name
        head = self._fetch(key, path)
        return Local(str(path), stamp=head and stamp_of([head]), is_copy=True)

    def _fetch(self, key: str, path: Path) -> ObjectHead | None:
        """Write an object to a file, in small pieces. Return its head; None if it is missing."""
        with self._reading(key):
            found = self._objects.get(self._key(key))
            if found is None:
                return None
            try:
                with open(regular.create(str(path)), "wb") as stream:  # noqa: PTH123
                    stream.writelines(found[1])
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return found[0]

    # Changing

    def place(
        self,
        moves: Sequence[tuple[Path | str, str]],
        blocked: dict[str, Problem] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> dict[str, int]:
        """Put each source at its key, many at once, and remove it. Return the new stamps.

        A source that does not have the digest in `digests` any more is a fault of its key.
        """
        stamps: dict[str, int] = {}

        def move(source: str, key: str) -> None:
            known = digests.get(key) if digests else None
            try:
                body = sending.body_of_file(source, key, known)
                if known and known.hex() != body.sha256:
                    raise changed_since(self._named(key))
                head, _ = self._put(key, body, "place", look=False)
                os.unlink(source)  # noqa: PTH108
            except OSError as error:
                raise StorageError(self._named(key), error) from error
            stamps[key] = stamp_of([head])

        with self.waiting():
            self._crew.do(
                partial(self._unless_blocked, key, partial(move, str(source), key), blocked)
                for source, key in moves
            )
        return stamps

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write pages and return their number. Pages with the same content are not written."""
        written: list[str] = []

        def page(key: str, body: ObjectContent) -> None:
            if self._put(key, body, "write", look=self._look)[1]:
                written.append(key)
            else:
                self._look = True

        def jobs() -> Iterator[Callable[[], None]]:
            try:
                for key, chunks in pages:
                    body = sending.body_of(b"".join(chunks), key)
                    yield partial(self._unless_blocked, key, partial(page, key, body), blocked)
            except OSError as error:
                raise StorageError(self.shown, error) from error

        self._crew.do(jobs(), self.waiting)
        return len(written)

    def _unless_blocked(
        self, key: str, change: Callable[[], None], blocked: dict[str, Problem] | None
    ) -> None:
        """Make a change. If a fault concerns only its key, it is noted in `blocked`."""
        try:
            change()
        except BucketError as changed:
            if blocked is None or not changed.is_of_path:
                raise
            blocked[key] = changed.problem
        except RequestError as fault:
            is_of_key = not fault.is_of_bucket
            if fault.is_denied:
                is_of_key = blocked is not None and still_writes(self._objects)
            error = error_of(fault, self._named(key), "write", is_of_key=is_of_key)
            if blocked is None or not is_of_key:
                raise error from fault
            blocked[key] = error.problem

    def _put(
        self, key: str, body: ObjectContent, what: str, *, look: bool
    ) -> tuple[ObjectHead, bool]:
        is_known, known = self._recent.find(key)

        def before(seen: ObjectHead | None) -> None:
            self._recent.drop(key)
            with self._crew.alone:
                self.guard()
                self._on_step(what, key)
                if what == "write":
                    self._look = seen is not None
                self._note("added" if seen is None else "changed", key)

        head, is_new = sending.put(
            self._objects, self._key(key), body, before, look=look and not is_known, seen=known
        )
        self._recent.add(key, head, body.content)
        return head, is_new

    def remove(self, key: str) -> None:
        """Remove an object. A missing object is no error. Raises `StorageError`."""
        try:
            head = self._objects.head(self._key(key))
            if head is not None:
                self._remove(key, head, "remove")
        except RequestError as fault:
            error = error_of(fault, self._named(key), "remove", is_of_key=not fault.is_of_bucket)
            raise error from fault

    def take(self, key: str, target: Path) -> None:
        """Move an object to a path of the workspace. Raises `OSError`."""
        self.guard()
        head = self._fetch(key, target)
        if head is None:
            raise FileNotFoundError(errno.ENOENT, "is not there", self._named(key))
        with self._reading(key, "remove"):
            self._remove(key, head, "take")

    def _remove(self, key: str, head: ObjectHead, what: str) -> None:
        """Remove this version of an object. Raises `BucketError` if another process has replaced
        it.
        """
        self._step(what, key)
        self._recent.drop(key)
        if what == "remove":
            self._note("removed", key)
        if not sending.remove(self._objects, self._key(key), head):
            raise replaced(self._named(key))

    def refresh(self) -> None:
        """Forget the facts of the last minute: other processes may have put objects."""
        self._recent = Recent()

    def flush(self) -> None:
        """Do nothing: an answered PUT is durable."""
        self._step("flush", "")

    # Notes

    def note(self, name: str) -> str | None:
        """Return the text of a note, an object that is not served."""
        key = f".pypimirror/{name}"
        content = self.read(key, MOST_NOTED)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError:
            return None

    def write_note(self, name: str, text: str, *, durable: bool = False) -> None:
        """Write a note. It is durable in any case."""
        del durable
        key = f".pypimirror/{name}"
        with self._reading(key, "write"):
            sending.put(
                self._objects,
                self._key(key),
                sending.body_of(text.encode(), key),
                lambda _: self._step("note", key),
                look=True,
            )

    def _step(self, what: str, key: str) -> None:
        with self._crew.alone:
            self.guard()
            self._on_step(what, key)

    def _note(self, change: str, key: str) -> None:
        if self.changes is not None:
            self.changes.add(change, key)  # type: ignore[arg-type]
            self.changes.flush()
