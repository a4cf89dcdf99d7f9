"""Fetching one file to a path, hashed while it streams. One call of `attempt` is one attempt.

The rules:

* A file is requested without compression. If an answer has a Content-Encoding anyway, the digest
  decides what it means (`labelled`).
* If the upstream states the size, an answer that announces another one is refused before its body
  is read. No more bytes are read than that size, or than the largest size allowed.
* A broken transfer continues (`resume`) if the new answer is certainly the same one. If a continued
  file has a wrong digest, it is fetched again from its start at once.
* An HTML page in place of a file is reported as such, unless its digest is the expected one.
* The core metadata of a complete and correct wheel is read at once if the wheel is simple.
* Bytes with a wrong digest stay at the path, for quarantine. Other bytes are removed, unless a
  later transfer can continue them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable

import gevent
import msgspec
from gevent.monkey import get_original

from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError, bad_response, disk_failure
from pypimirror.download.files import labelled
from pypimirror.download.files.hashing import Digests, contradiction, mismatches
from pypimirror.download.files.labelled import encoding_of
from pypimirror.download.files.resume import (
    WORTH_A_NOTE,
    WORTH_RESUMING,
    Whole,
    continues,
    describe,
    read_note,
    remove_note,
    write_note,
)
from pypimirror.download.files.wheels import simple_metadata
from pypimirror.download.http.body import Raw
from pypimirror.download.http.client import Client, content_length, failed_status
from pypimirror.download.http.transport import Answer
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.system import regular

YIELD_EVERY = 512 << 10  #: bytes after which other jobs get their turn
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}

#: The system's own `close`: gevent's first checks whether anybody waits for the descriptor.
_close = get_original("os", "close")


class FileTransfer:
    """The attempts at one `FetchFile`. `limit` is the largest size allowed, in bytes."""

    def __init__(
        self, client: Client, job: FetchFile, limit: int, received: Callable[[int], None]
    ) -> None:
        self._client = client
        self._job = job
        self._limit = limit
        self._received = received
        self._digests = Digests(job.digests)  # of the bytes at the path so far
        self._whole: Whole | None = None  # the answer that those bytes come from
        self._noted = False
        self._looked = not (job.size is None or job.size >= WORTH_A_NOTE)
        self._html = False
        self._unpacked = False  # the path has unpacked bytes, not those that were sent
        self.transferred = 0  #: bytes that crossed the network
        self.offending: FetchError | None = None  #: the path holds bytes that are proven wrong

    def attempt(self, url: str) -> FileResult:
        """Fetch the file from `url`. Raises `FetchError`."""
        try:
            result = self._attempt(url)
            self._forget_note()
        except OSError as error:  # of the disk: those of the network are FetchErrors already
            raise disk_failure(error, self._job.path) from error
        return result

    def give_up(self) -> FileResult:
        """Clean up after the last attempt, and return the bytes that are left."""
        if self.offending is not None:
            self._forget_note()
            return FileResult(
                self._job.id,
                size=self._digests.size,
                transferred=self.transferred,
                digests=self._digests.hex(),
            )
        if not (self._noted and self._whole is not None and self._digests.size):
            self._forget_note()
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.lstat(self._job.path).st_mode):
                    os.unlink(self._job.path)  # noqa: PTH108
        return FileResult(self._job.id, transferred=self.transferred)

    def _attempt(self, url: str) -> FileResult:
        offset = self._offset(url)
        response: Answer | None = None
        if offset:
            assert self._whole is not None
            if offset == self._whole.total:
                response = None
                if self._job.digests and not mismatches(self._digests.hex(), self._job.digests):
                    return self._result(url, self._digests.hex())
            else:
                response = self._ask_rest(url, offset, self._whole)
                if response is not None and response.status_code == 206:
                    try:
                        return self._continue(response, self._whole)
                    except FetchError as error:
                        if error.reason is not Reason.DIGEST_MISMATCH:
                            raise
                    self.offending = None  # the wrong bytes may be those of an earlier attempt
                    response = None
        if response is None:
            response = self._client.get(self._job.remote, url, _HEADERS)
        return self._begin(url, response)

    def _offset(self, url: str) -> int:
        """Return how many bytes at the path an answer of `url` can continue."""
        if not self._looked:
            self._looked = True
            self._load_note()
        whole = self._whole
        if whole is None or whole.url != url:
            return 0
        return self._digests.size if self._noted or self._digests.size >= WORTH_RESUMING else 0

    def _load_note(self) -> None:
        """Read and hash the bytes that an earlier run left at the path."""
        found = read_note(self._job.path)
        if found is None:
            return
        whole, size = found
        self._noted = True
        if whole.url not in self._job.urls or self._job.size not in (None, whole.total):
            return
        digests = Digests(self._job.digests)
        with regular.stream(self._job.path) as file:
            buffer = memoryview(bytearray(YIELD_EVERY))
            while count := file.readinto(buffer):
                digests.update(buffer[:count])
                gevent.sleep(0)
        if digests.size == size:
            self._whole, self._digests = whole, digests

    def _ask_rest(self, url: str, offset: int, whole: Whole) -> Answer | None:
        """Ask for the rest. Return it as a 206, or the whole as a 200, or None for neither."""
        headers = {
            **_HEADERS,
            "Range": f"bytes={offset}-",
            "If-Range": whole.validator or "",
        }
        response = self._client.get(self._job.remote, url, headers)
        status = response.status_code
        if status == 200:
            return response
        if status == 206 and encoding_of(response.headers) == whole.label:
            if continues(whole, offset, response.headers, content_length(response)):
                return response
        elif status not in (206, 416):
            raise failed_status(response, of_file=True)
        response.raw.close()
        return None

    def _continue(self, response: Answer, whole: Whole) -> FileResult:
        raw = response.raw
        fd = os.open(self._job.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(fd, self._digests.size)
            os.lseek(fd, 0, os.SEEK_END)
            self._stream(raw, fd, whole.total)
        finally:
            _close(fd)
            raw.close()
        return self._check(response, raw)

    def _begin(self, url: str, response: Answer) -> FileResult:
        """Receive a whole file."""
        if response.status_code != 200:
            raise failed_status(response, of_file=True)
        raw = response.raw
        try:
            length = content_length(response)
            self._html = _is_html(response)
            label = encoding_of(response.headers)
            if label and not self._job.digests:
                raise labelled.unasked(response.url, label)
            self._check_length(response, raw, length, label)
            fd = self._open()
            try:
                if length is None or length >= WORTH_RESUMING or self._job.size is None:
                    self._whole = describe(url, length, response.headers)
                if self._whole is not None and self._whole.total >= WORTH_A_NOTE:
                    self._noted = True
                    write_note(self._job.path, self._whole)
                self._stream(raw, fd, self._job.size, packed=labelled.opens(label))
                result = self._check(response, raw)
                if self._job.metadata_path and not self._unpacked:  # else this file is gone
                    digest = self._write_metadata(fd)
                    msgspec.structs.force_setattr(result, "metadata_sha256", digest)
            finally:
                _close(fd)
        finally:
            raw.close()
        return result

    def _write_metadata(self, descriptor: int) -> str:
        """Write a wheel's core metadata where the job wants it; return its sha256, "" for none."""
        content = simple_metadata(descriptor, self._digests.size)
        if content is None:
            return ""
        own = regular.create(self._job.metadata_path)
        try:
            _write_all(own, content)
        finally:
            _close(own)
        return hashlib.sha256(content).hexdigest()

    def _check_length(self, response: Answer, raw: Raw, length: int | None, label: str) -> None:
        """Refuse an answer if its announced length is wrong or too large."""
        expected = self._job.size
        packed = labelled.opens(label)
        if length is None or (packed and length <= labelled.room(self._bound(expected))):
            return
        if expected is not None and length != expected:
            if self._html and bytes(raw.next_piece()[:64]).lstrip().startswith(b"<"):
                raise _html_failure(response.url)
            raise FetchError(
                Reason.SIZE_MISMATCH,
                f"{response.url} has {length} bytes, but the index says {expected}.",
                again=Again.ONCE,
            )
        if length > self._limit:
            raise self._too_large(response.url, length)

    def _too_large(self, url: str, length: int | None = None) -> FetchError:
        return FetchError(
            Reason.TOO_LARGE,
            f"{url} has {'more' if length is None else length} bytes; "
            f"{'max_file_size allows' if self._job.max_size is None else 'allowed are'} "
            f"{self._limit}.",
        )

    def _open(self) -> int:
        """Open the path for a new file and forget what was there."""
        self._whole = None
        self._forget_note()
        if self._digests.size:
            self._digests = Digests(self._job.digests)
        self.offending = None
        self._unpacked = False
        try:
            return regular.create(self._job.path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._job.path), exist_ok=True)  # noqa: PTH103, PTH120
            return regular.create(self._job.path)

    def _stream(self, raw: Raw, fd: int, expected: int | None, *, packed: bool = False) -> None:
        """Write and hash a body; stop at the first byte too many."""
        digests = self._digests
        bound = self._bound(expected)
        if packed:
            bound = labelled.room(bound)
        since = 0
        while piece := raw.next_piece():
            count = len(piece)
            self.transferred += count
            if self._html and not digests.size:
                self._html = bytes(piece[:64]).lstrip().startswith(b"<")
            if digests.size + count > bound:
                raise self._overflow(expected)
            _write_all(fd, piece)
            digests.update(piece)
            since += count
            if since >= YIELD_EVERY:
                self._received(since)
                since = 0
                gevent.sleep(0)
        if since:
            self._received(since)

    def _bound(self, expected: int | None) -> int:
        return self._limit if expected is None else min(expected, self._limit)

    def _overflow(self, expected: int | None) -> FetchError:
        url = self._job.urls[0]
        self._whole = None
        if self._html:
            return _html_failure(url)
        if expected is None or expected > self._limit:
            return self._too_large(url)
        return FetchError(
            Reason.SIZE_MISMATCH,
            f"{url} has more than the {expected} bytes that the index says.",
            again=Again.ONCE,
        )

    def _check(self, response: Answer, raw: Raw) -> FileResult:
        """Compare the bytes that came with the expected size and digests."""
        label = encoding_of(response.headers)
        known = raw.delimited or labelled.opens(label)  # else the end may be a broken connection
        if label and known and mismatches(self._digests.hex(), self._job.digests):
            self._unpack(response, raw, label)
        if label and self._digests.size > self._bound(self._job.size):
            raise self._overflow(self._job.size)
        job, size, url = self._job, self._digests.size, response.url
        expected = job.size
        if expected is None and self._whole is not None:
            expected = self._whole.total
        computed = self._digests.hex()
        wrong = mismatches(computed, job.digests)
        if expected is not None and size < expected and not self._html:
            if not raw.delimited:
                raise FetchError(
                    Reason.TRUNCATED,
                    f"{url} ended after {size} of {expected} bytes.",
                    again=Again.ALWAYS,
                )
            raise self._offends(
                Reason.SIZE_MISMATCH, f"{url} has {size} bytes, but the index says {expected}."
            )
        proven = bool(job.digests) and not wrong
        if self._html and not proven:
            self._whole = None
            raise _html_failure(url)
        if raw.excess and not proven:
            self._whole = None
            raise FetchError(
                Reason.TOO_LARGE, f"{url} sent more bytes than it announced.", again=Again.ONCE
            )
        if wrong:
            text = f"{url} has the {contradiction(computed, job.digests)}"
            raise self._offends(Reason.DIGEST_MISMATCH, text)
        return self._result(url, computed)

    def _unpack(self, response: Answer, raw: Raw, label: str) -> None:
        """Replace the bytes by their unpacked form, if it has the expected digests."""
        self._whole = None
        job, url = self._job, response.url
        if not labelled.opens(label):
            raise labelled.unasked(url, label, "the bytes are not those of the index")
        bound = self._bound(job.size)
        found = labelled.unpack(job.path, label, job.digests, bound, delimited=raw.delimited)
        if found is None and _is_html(response):
            raise _html_failure(url)
        if found is None:
            text = f"{url} is sent with the Content-Encoding {label!r}, and has what the index says"
            raise self._offends(Reason.DIGEST_MISMATCH, f"{text} neither as sent nor unpacked.")
        self._digests, self._unpacked = found, True

    def _offends(self, reason: Reason, message: str) -> FetchError:
        self._whole = None
        self.offending = FetchError(reason, message, again=Again.ONCE)
        return self.offending

    def _result(self, url: str, computed: dict[str, str]) -> FileResult:
        return FileResult(
            self._job.id,
            size=self._digests.size,
            transferred=self.transferred,
            digests=computed,
            url=url,
        )

    def _forget_note(self) -> None:
        if self._noted:
            self._noted = False
            remove_note(self._job.path)


def _is_html(response: Answer) -> bool:
    kind: str = response.headers.get("Content-Type", "").strip().lower()
    return kind.startswith(("text/html", "application/xhtml"))


def _html_failure(url: str) -> FetchError:
    return bad_response(
        f"{url} answered with an HTML page in place of the file, as an error page or a login does."
    )


def _write_all(fd: int, data: bytes | memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(fd, data)
