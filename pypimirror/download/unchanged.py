"""Ask an upstream from the parent whether something has changed. Most runs need only this answer.

A run that finds nothing new takes less time than the start of a worker. So the parent itself sends
one simple, conditional HEAD to the upstream's own address. Only a plain "not modified" counts. In
all other cases (another status, a redirect, an error, a proxy, a login, an unusual address), the
answer is unknown, and a worker asks as usual. docs/decisions/0003-questions-to-prefect-by-httpx.md
says why no library does this.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

#: Seconds for each of the host's addresses, for the handshake and for the head of the answer. A
#: worker asks a slow upstream.
PATIENCE = 5.0
_MAX_HEAD = 16 << 10  #: bytes
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(/[!-\"$->@-~]*)", re.ASCII)
_HEADER_VALUE = re.compile(r"[ -~]+")
_NOT_MODIFIED = re.compile(rb"HTTP/1\.[01] 304[ \r\n]")

#: Seconds for which an early answer counts.
_FRESH = 5.0


class ConditionalRequest(NamedTuple):
    """Whether an address is unchanged; see `is_unchanged`."""

    url: str
    headers: tuple[tuple[str, str], ...]
    timeout: float
    ca_file: str = ""
    direct: bool = False

    def ask(self) -> bool:
        """Ask now."""
        headers = dict(self.headers)
        return is_unchanged(
            self.url, headers, self.timeout, ca_file=self.ca_file, direct=self.direct
        )


class _Early(threading.Thread):
    """A question that a thread asks while the program does other things."""

    def __init__(self, question: ConditionalRequest, otherwise: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.asked_at = time.monotonic()
        self.answer = False
        self._question, self._otherwise = question, otherwise

    def run(self) -> None:
        self.answer = self._question.ask()
        if not self.answer:
            self._otherwise()


#: The questions that were asked early and not yet repeated.
_early: dict[ConditionalRequest, _Early] = {}


def ask_early(questions: Iterable[ConditionalRequest], otherwise: Callable[[], None]) -> None:
    """Ask each question in a thread. Call `otherwise` there if the answer is no or unknown."""
    for question in questions:
        thread = _early[question] = _Early(question, otherwise)
        thread.start()


def answer(question: ConditionalRequest) -> bool:
    """Ask a question, or take the answer if it was asked early."""
    early = _early.pop(question, None)
    if early is None or time.monotonic() > early.asked_at + _FRESH:
        return question.ask()
    early.join()
    return early.answer


def is_unchanged(
    url: str,
    headers: dict[str, str],
    timeout: float,
    *,
    ca_file: str = "",
    direct: bool = False,
) -> bool:
    """Whether `url` answers "not modified" to the conditions in `headers`.

    `timeout` is in seconds, with `PATIENCE` as its upper bound. `ca_file` names CA certificates to
    trust in place of the environment's. With `direct`, proxies of the environment are ignored.
    Raises nothing.
    """
    match = _URL.fullmatch(url)
    if match is None or not all(map(_HEADER_VALUE.fullmatch, headers.values())):
        return False
    if _needs_more(direct):
        return False
    scheme, host, port, target = match.groups()
    number = int(port) if port else {"http": 80, "https": 443}[scheme]
    lines = [f"HEAD {target} HTTP/1.1", f"Host: {host}{f':{port}' if port else ''}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("ascii")
    try:
        head = _exchange(scheme, host, number, request, min(timeout, PATIENCE), ca_file)
    except (OSError, ValueError, OverflowError):
        return False
    return _NOT_MODIFIED.match(head) is not None


def _needs_more(direct: bool) -> bool:
    """Whether the environment has proxies or logins, which only workers use."""
    if not direct and (sys.platform == "darwin" or _has_proxies()):
        return True  # macOS has proxies in its settings, too
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    return any(os.path.exists(os.path.expanduser(file)) for file in files)  # noqa: PTH110, PTH111


def _has_proxies() -> bool:
    return any(name.lower() in _PROXIES and value for name, value in os.environ.items())


def _exchange(
    scheme: str, host: str, port: int, request: bytes, patience: float, ca_file: str
) -> bytes:
    """Send a request and return the head of the answer; raises `OSError` and `ValueError`."""
    deadline = time.monotonic() + patience
    # As bytes: for a text, Python imports its codec for names in other scripts, in 5 ms.
    address = (host.encode("ascii"), port)
    connection = socket.create_connection(address, patience)  # type: ignore[arg-type]
    try:
        if scheme == "https":
            import ssl

            from pypimirror.download.http.authorities import authorities, trusted

            context = ssl.create_default_context(**trusted(authorities(ca_file)))
            connection = context.wrap_socket(connection, server_hostname=host)
        connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(_MAX_HEAD)
            head += piece
            if not piece or len(head) > _MAX_HEAD:
                raise ValueError("no head of an answer")
        return head
    finally:
        connection.close()
