"""The simulator's log of requests, and waiting for requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from tests.simulator.index import IndexFile, IndexProject
from tests.simulator.wire import Request, split_target

#: A path, a glob of paths, a file, or a project for its page.
Where = str | IndexFile | IndexProject


def matches(pattern: str, path: str) -> bool:
    """Whether the path is the pattern, or is matched by it as a glob."""
    return pattern == path or fnmatchcase(path, pattern)


def path_of(where: Where) -> str:
    """The path of a file or of a project's page; a string is one already."""
    return where if isinstance(where, str) else where.path


class RequestLog:
    """All requests in the order of their arrival, with their results."""

    def __init__(self) -> None:
        self._log: list[Request] = []
        self._changed = threading.Condition()
        self.active = 0  #: requests that are being answered
        self.peak_requests = 0

    def new_request(
        self, connection: int, method: str, target: str, headers: dict[str, str]
    ) -> Request:
        """Note a new request."""
        path, query = split_target(target)
        with self._changed:
            request = Request(len(self._log) + 1, connection, method, target, path, query, headers)
            self._log.append(request)
            self.active += 1
            self.peak_requests = max(self.peak_requests, self.active)
            self._changed.notify_all()
        return request

    def end_request(self, request: Request) -> None:
        """Note that a request has ended."""
        request.ended = time.monotonic()
        with self._changed:
            self.active -= 1
            self._changed.notify_all()

    def empty_log(self) -> None:
        """Forget all requests so far."""
        with self._changed:
            self._log.clear()
            self.peak_requests = self.active

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order of their arrival."""
        with self._changed:
            return list(self._log)

    def find(
        self, path: Where = "*", *, method: str | None = None, status: int | None = None
    ) -> list[Request]:
        """The requests for a path, which may be a glob."""
        pattern = path_of(path)
        return [
            request
            for request in self.requests
            if matches(pattern, request.path)
            and method in (None, request.method)
            and status in (None, request.status)
        ]

    def count(self, path: Where = "*", **which: Any) -> int:
        """How many requests for a path there were."""
        return len(self.find(path, **which))

    def downloads(self, filename: str) -> int:
        """How many requests for a file's bytes there were, complete or not."""
        return sum(
            request.path.rpartition("/")[2] == filename and request.method == "GET"
            for request in self.find("/packages/*")
        )

    def bytes_sent(self, path: Where = "*") -> int:
        """Bytes of bodies that were sent for a path."""
        return sum(request.sent for request in self.find(path))

    def wait_for(self, condition: Callable[[], bool], timeout: float = 30) -> None:
        """Wait until the condition holds; it is checked whenever a request comes or ends."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError("the condition was not met")

    def wait_requests(self, path: Where, number: int = 1, timeout: float = 30) -> None:
        """Wait until that many requests for a path were answered completely."""
        self.wait_for(lambda: sum(r.finished for r in self.find(path)) >= number, timeout)
