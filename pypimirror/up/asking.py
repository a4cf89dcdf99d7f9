"""A request over HTTP that can be given up at any moment, for the supervisor's own questions.

Small answers only, no redirects and no proxies: those who are asked are parts of this machine, or
a Prefect API that is named outright.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import Any
from urllib.parse import urlsplit

from pypimirror.domain.addresses import redacted

#: Seconds that an answer may take.
TIMEOUT = 5.0
_LARGEST = 1 << 20


class NoAnswerError(Exception):
    """Nobody answered, or not as a web server does, or not with success."""


async def ask(url: str, document: object = None) -> Any:
    """GET a URL, or POST a JSON document to it; return the document that comes back.

    Raises `NoAnswerError` on anything but a success with a JSON document.
    """
    body = b"" if document is None else json.dumps(document).encode()
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await _exchange(url, "GET" if document is None else "POST", body)
        head, _, content = answer.partition(b"\r\n\r\n")
        status = int(head.split(None, 2)[1])
        if not 200 <= status < 300:
            raise NoAnswerError(f"{redacted(url)}: {status}")
        return json.loads(content)
    except (OSError, ValueError, IndexError, RecursionError) as error:
        raise NoAnswerError(f"{redacted(url)}: {error or type(error).__name__}") from error


async def answers(url: str) -> bool:
    """Whether a web server answers a GET of `url` at all, with success or without."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return (await _exchange(url, "GET", b"")).startswith(b"HTTP/")
    except OSError:
        return False


async def _exchange(url: str, method: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None
    )
    try:
        lines = [
            f"{method} {parts.path or '/'} HTTP/1.0",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *_authorization(),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        found = b""
        while len(found) < _LARGEST and (chunk := await reader.read(1 << 16)):
            found += chunk
        return found
    finally:
        writer.close()


def _authorization() -> list[str]:
    """Return how Prefect's clients are told to prove who they are, by the same variables."""
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        return [f"Authorization: Basic {base64.b64encode(login.encode()).decode()}"]
    if key := os.environ.get("PREFECT_API_KEY"):
        return [f"Authorization: Bearer {key}"]
    return []
