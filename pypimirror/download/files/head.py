"""Fetching the first bytes of a file, which prove nothing."""

from __future__ import annotations

from pypimirror.download.failure import disk_failure
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
    if response.status_code not in (200, 206):
        raise failed_status(response, of_file=True)
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
