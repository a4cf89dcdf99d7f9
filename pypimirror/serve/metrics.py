"""`/metrics` of the web server: what it counted itself, and what `pypimirror metrics` says.

That is asked in a process of its own: the server knows no catalog, and no query may hold up an
answer. It is asked one at a time, and what it said is good for `FRESH` seconds.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

#: Seconds for which an answer is told again; for which one is waited.
FRESH = 10.0
PATIENCE = 20.0

_AWAY = b"""\
# HELP pypimirror_catalog_up Whether the catalog could be read.
# TYPE pypimirror_catalog_up gauge
pypimirror_catalog_up 0.0
"""


class Metrics:
    """The metrics of one server, whose mirror has the configuration in `config`."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, config: Path) -> None:
        self._config = config
        self._answers: Counter[int] = Counter()
        self._asking = threading.Lock()  # gevent's, in the server
        self._said = b""
        self._at = -FRESH

    def count(self, status: int) -> None:
        """Count an answer."""
        self._answers[status] += 1

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        with self._asking:
            if time.monotonic() - self._at >= FRESH:
                self._said = self._ask()
                self._at = time.monotonic()
        return self._said + "".join(self._own()).encode()

    def _ask(self) -> bytes:
        command = [sys.executable, "-P", "-m", "pypimirror", "metrics", "--quiet"]
        command += ["--config", str(self._config)]
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return _AWAY
        return done.stdout

    def _own(self) -> Iterator[str]:
        yield "# HELP pypimirror_http_requests_total Requests that were answered, by status.\n"
        yield "# TYPE pypimirror_http_requests_total counter\n"
        for status, number in sorted(self._answers.items()):
            yield f'pypimirror_http_requests_total{{code="{status}"}} {number}\n'
