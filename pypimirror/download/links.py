"""Fetching plain pages of links, and the names of downloads. One call is one attempt.

The child parses the page. If a link to a page leads to a file, the answer is the file's name, and
its body is not read: only a `FetchFile` fetches files.
"""

from __future__ import annotations

import hashlib

from pypimirror.domain.filenames import is_distribution
from pypimirror.download.http.client import Client, discard, failed_status
from pypimirror.download.http.transport import Answer
from pypimirror.download.page_answers import at_most
from pypimirror.download.protocol import FetchLinks, LinksResult
from pypimirror.upstream.links import name_of, parse_links
from pypimirror.upstream.read import charset_of

_PAGE_HEADERS = {
    "Accept": "text/html, application/xhtml+xml;q=0.9, */*;q=0.1",
    "Accept-Encoding": "gzip, deflate",
}
_FILE_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}


def fetch_links(client: Client, job: FetchLinks, url: str, limit: int) -> LinksResult:
    """Ask for a page of at most `limit` bytes, decompressed, or for a file's name.

    Raises `FetchError`.
    """
    if job.name_only:
        return _name(client, job, url)
    response = client.get(job.remote, url, _PAGE_HEADERS)
    if response.status_code != 200:
        raise failed_status(response)
    name = _stated_name(response)
    if name or not _is_html(response):
        response.raw.close()
        return LinksResult(job.id, filename=name, url=response.url)
    body = at_most(response, job.max_size, limit)
    if body is None:
        return LinksResult(job.id, large=True)
    charset = charset_of(response.headers.get("Content-Type", ""))
    return LinksResult(
        job.id,
        page=parse_links(body, url=response.url, charset=charset),
        url=response.url,
        digest=hashlib.sha256(body).hexdigest(),
    )


def _name(client: Client, job: FetchLinks, url: str) -> LinksResult:
    """Ask for the name of a file by HEAD, or by GET if HEAD is refused."""
    response = client.get(job.remote, url, _FILE_HEADERS, method="HEAD")
    if response.status_code != 200:
        discard(response)
        response = client.get(job.remote, url, _FILE_HEADERS)
        if response.status_code != 200:
            raise failed_status(response)
    response.raw.close()
    return LinksResult(job.id, filename=_stated_name(response), url=response.url)


def _stated_name(response: Answer) -> str:
    """Return the file name of a distribution in an answer, "" if it seems to be none."""
    name = name_of(response.headers.get("Content-Disposition", ""), response.url)
    return name if is_distribution(name) else ""


def _is_html(response: Answer) -> bool:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")
