"""Fetching project pages and project lists. One call is one attempt.

Both requests are conditional if the job has a validator, and both answers are bounded after
decompression. The child parses a page, which saves work in the parent; a list is only stored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator

import gevent
import msgspec

from pypimirror.domain import bounded
from pypimirror.domain.model import Reason
from pypimirror.download import dates
from pypimirror.download.failure import Again, FetchError, disk_failure
from pypimirror.download.http.client import Client, content_length, failed_status
from pypimirror.download.http.content_encoding import decoded
from pypimirror.download.http.transport import Answer
from pypimirror.download.protocol import FetchList, FetchPage, ListResult, PageResult
from pypimirror.system import clock, regular
from pypimirror.upstream.headers import page_headers

YIELD_EVERY = 512 << 10  #: bytes after which other jobs get a turn


def fetch_page(client: Client, job: FetchPage, url: str, limit: int) -> PageResult:
    """Ask for a project page and parse it; at most `limit` bytes, decompressed.

    `url` is one of the job's addresses. Raises `FetchError`, and `ReadError` for a page that cannot
    be read.
    """
    from pypimirror.upstream.read import parse_page  # imported here because a list comes first

    at = "" if url == job.url else url
    if at:  # a validator is valid at its own address only
        job = msgspec.structs.replace(job, etag=None, last_modified=None)
    response = _ask(client, job, url)
    serial = bounded.serial(response.headers.get("X-PyPI-Last-Serial"))
    if response.status_code == 304:
        return PageResult(
            job.id,
            not_modified=True,
            etag=response.headers.get("ETag") or job.etag,
            last_modified=dates.last_modified(response.headers, clock.now()) or job.last_modified,
            serial=serial,
        )
    body = at_most(response, job.max_size, limit)
    if body is None:
        return PageResult(job.id, large=True)
    content_type = response.headers.get("Content-Type", "")
    page = parse_page(body, content_type=content_type, url=response.url, project=job.project)
    linked = None
    if job.links:
        from pypimirror.upstream.links import (
            parse_marked,
        )  # imported here because few indexes need it

        linked = parse_marked(body, content_type=content_type, url=response.url)
    return PageResult(
        job.id,
        page=page,
        etag=response.headers.get("ETag"),
        last_modified=dates.last_modified(response.headers, clock.now()),
        serial=serial,
        digest=hashlib.sha256(body).hexdigest(),
        linked=linked,
        at=at,
    )


def fetch_list(
    client: Client, job: FetchList, url: str, limit: int, received: Callable[[int], None]
) -> ListResult:
    """Ask for a project list and store it at the job's path; at most `limit` bytes, decompressed.

    `received` is called with the number of bytes as they come. Raises `FetchError`.
    """
    response = _ask(client, job, url)
    if response.status_code == 304:
        return ListResult(
            job.id,
            not_modified=True,
            url=response.url,
            etag=response.headers.get("ETag") or job.etag,
            last_modified=dates.last_modified(response.headers, clock.now()) or job.last_modified,
        )
    size = 0
    try:
        os.makedirs(os.path.dirname(job.path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
        with open(regular.create(job.path), "wb") as file:  # noqa: PTH123
            for piece in _pieces(response, limit):
                file.write(piece)
                size += len(piece)
                received(len(piece))
    except OSError as error:
        raise disk_failure(error, job.path) from error
    finally:
        response.raw.close()
    return ListResult(
        job.id,
        content_type=response.headers.get("Content-Type", ""),
        url=response.url,
        etag=response.headers.get("ETag"),
        last_modified=dates.last_modified(response.headers, clock.now()),
        size=size,
    )


def _ask(client: Client, job: FetchPage | FetchList, url: str) -> Answer:
    """Return an answer with status 200, or 304 if the request was conditional."""
    headers = page_headers(job.etag, job.last_modified)
    response = client.get(job.remote, url, headers)
    conditional = bool(job.etag or job.last_modified)
    if response.status_code == 200 or (response.status_code == 304 and conditional):
        return response
    raise failed_status(response)


def at_most(response: Answer, wanted: int | None, limit: int) -> bytes | None:
    """Return a decoded body of at most `limit` bytes; None if it has more than `wanted`."""
    try:
        return whole(response, min(limit, wanted or limit))
    except FetchError as error:
        if error.reason is not Reason.TOO_LARGE or (wanted or limit) >= limit:
            raise
        return None


def whole(response: Answer, limit: int) -> bytes:
    """Return a decoded body of at most `limit` bytes.

    Each piece is copied as it comes: the next one may be received into the same buffer.
    """
    body = bytearray()
    for piece in _pieces(response, limit):
        body += piece
    return bytes(body)


def _pieces(response: Answer, limit: int) -> Iterator[bytes | memoryview]:
    """Yield a decoded body, and let other jobs run in between."""
    raw = response.raw
    announced = content_length(response)
    if announced is not None and announced > limit:
        raw.close()
        raise FetchError(
            Reason.TOO_LARGE,
            f"{response.url} has {announced} bytes; no more than {limit} are allowed.",
        )
    since = 0
    for piece in decoded(raw, response.headers.get("Content-Encoding", ""), limit):
        yield piece
        since += len(piece)
        if since >= YIELD_EVERY:
            since = 0
            gevent.sleep(0)
    if raw.excess:
        raise FetchError(
            Reason.TOO_LARGE,
            f"{response.url} sent more bytes than it announced.",
            again=Again.ONCE,
        )
