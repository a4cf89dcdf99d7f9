"""Check that an upstream answers, at a low cost. One call is one attempt.

A project's page is fetched and parsed, which shows that the address is that of an index. A project
list is parsed if it is short; those of public indexes have 40 MB. For all else, the head of the
answer is enough.
"""

from __future__ import annotations

import time
from urllib.parse import quote

from pypimirror.domain.model import Reason
from pypimirror.download import dates
from pypimirror.download.failure import FetchError
from pypimirror.download.http.client import Client, discard
from pypimirror.download.http.transport import Answer
from pypimirror.download.page_answers import whole
from pypimirror.download.protocol import Hello, Probe, Probed
from pypimirror.system import clock
from pypimirror.upstream.headers import ACCEPT
from pypimirror.upstream.listing import parse_list
from pypimirror.upstream.read import parse_page

#: Most bytes of a list that is parsed, and most of its projects in the result.
_LONG = 2 << 20
_SHOWN = 5000


def probe(client: Client, job: Probe, url: str, hello: Hello) -> Probed:
    """Ask once. Raises `FetchError`, and `ReadError` if the answer is no page of this project."""
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip, deflate"}
    started = time.monotonic()
    reads = bool(job.project or job.listing)
    response = client.get(job.remote, url, headers, "GET" if reads else "HEAD")
    listed = None
    seconds, ahead = time.monotonic() - started, seconds_ahead(response)
    if job.project and response.status_code == 200:
        body = whole(response, hello.max_page_size)
        content_type = response.headers.get("Content-Type", "")
        parse_page(body, content_type=content_type, url=response.url, project=job.project)
    elif job.listing and response.status_code == 200:
        listed = _listed(response)
    else:
        discard(response)
    login = client.login_source(job.remote)
    return Probed(job.id, response.status_code, response.url, seconds, ahead, listed, login)


def _listed(response: Answer) -> dict[str, str] | None:
    try:
        body = whole(response, _LONG)
    except FetchError as error:
        if error.reason is not Reason.TOO_LARGE:
            raise
        return None
    content_type = response.headers.get("Content-Type", "")
    found = parse_list(body, content_type, response.url)
    first = found.projects[:_SHOWN]
    return {p.name: found.links.get(p.name) or f"{quote(p.name)}/" for p in first}


def seconds_ahead(response: Answer) -> float | None:
    """Return the seconds by which the server's clock is ahead of ours."""
    made = dates.made(response.headers)
    return None if made is None else made - clock.now()
