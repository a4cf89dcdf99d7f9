"""Ask Prefect's API, and parts on this machine. Each question has `TIMEOUT` seconds.

Answers are small documents, and redirects are not followed. A Prefect API elsewhere is asked
through the environment's proxies, as Prefect's own clients do; this machine is asked directly. A
task that waits for an answer can be cancelled at any moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from pypimirror.domain.addresses import basic, login_of, redacted, without_login

#: Seconds that an answer may take.
TIMEOUT = 5.0
_LARGEST = 1 << 20
#: A compressed answer could unpack to any size, so none is asked for.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_HERE = ("127.0.0.1", "localhost", "::1")


class NoAnswerError(Exception):
    """There was no answer, or an answer that is no HTTP, or one without success."""

    def __init__(self, url: str, why: str, status: int | None = None) -> None:
        super().__init__(f"{redacted(url)}: {why}")
        self.why = why
        self.status = status  #: the HTTP status, if there was an answer


async def ask(url: str, document: object = None) -> Any:
    """GET a URL, or POST a JSON document to it; return the document that comes back.

    Raises `NoAnswerError` on anything but a success with a JSON document.
    """
    try:
        async with _exchange(url, document) as answer:
            if not answer.is_success:
                status = answer.status_code
                raise NoAnswerError(url, f"HTTP {status}", status)
            return json.loads(await _content(answer))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as error:
        raise NoAnswerError(url, redacted(str(error)) or type(error).__name__) from error


async def answers(url: str) -> bool:
    """Whether a web server answers a GET of `url` at all, with success or without."""
    try:
        async with _exchange(url):
            return True
    except (httpx.HTTPError, OSError):
        return False


@asynccontextmanager
async def _exchange(url: str, document: object = None) -> AsyncIterator[httpx.Response]:
    """Ask. Within the block, the head of the answer is known and its body can be read."""
    parts = urlsplit(url)
    method = "GET" if document is None else "POST"
    content = None if document is None else json.dumps(document).encode()
    async with (
        asyncio.timeout(TIMEOUT),
        httpx.AsyncClient(
            # Without this, httpx reads all CA certificates for each client.
            verify=ssl.create_default_context() if parts.scheme == "https" else False,
            trust_env=parts.hostname not in _HERE,
            timeout=None,  # noqa: S113 - the whole exchange has one, above
            headers={**_HEADERS, **_authorization(url)},
        ) as client,
        client.stream(method, without_login(url), content=content) as answer,
    ):
        yield answer


async def _content(answer: httpx.Response) -> bytes:
    found = b""
    async for chunk in answer.aiter_raw():
        found += chunk
        if len(found) > _LARGEST:
            raise ValueError(f"the answer has more than {_LARGEST} bytes")
    return found


def _authorization(url: str) -> dict[str, str]:
    """Return the header that Prefect's own clients would send, by the same variables."""
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    given = login_of(url)
    return {"Authorization": basic(*given)} if given else {}
