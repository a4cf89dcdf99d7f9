"""Fetching the first bytes of a file, which prove nothing."""

from __future__ import annotations

from http import HTTPStatus

from pypimirror.download.failure import bad_response, disk_failure
from pypimirror.download.files import labelled
from pypimirror.download.http.client import Client, failed_status
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.system import regular


def fetch_head(client: Client, job: FetchFile, url: str) -> FileResult:
    """Write the first `job.head` bytes to the path. Raises `FetchError`.

    If an upstream sends the whole file, the connection ends when those bytes are here.
    """
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Range": f"bytes=0-{job.head - 1}",
    }
    response = client.get(job.remote, url, headers)
    if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise failed_status(response, of_file=True)
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        span = response.headers.get("Content-Range", "")
        if not span.strip().startswith("bytes 0-"):
            response.raw.close()
            raise bad_response(f"{response.url} sent another part than its beginning: {span!r}.")
    try:
        if label := labelled.encoding_of(response.headers):
            raise labelled.unasked(response.url, label)
        data = b""
        while len(data) < job.head and (piece := response.raw.next_piece()):
            data += piece
    finally:
        response.raw.close()
    data = data[: job.head]
    try:
        with open(regular.create(job.path), "wb") as file:  # noqa: PTH123
            file.write(data)
    except OSError as error:
        raise disk_failure(error, job.path) from error
    return FileResult(job.id, size=len(data), transferred=len(data), url=response.url)
