"""`/metrics` of the web server: its own counters, and the output of `pypimirror metrics`.

`pypimirror metrics` runs as a process of its own: the server knows no catalog, and a slow query
must not hold up an answer. One such process runs at a time, and its output is used for `FRESH`
seconds. The client gets the form that it accepts: OpenMetrics, or the older text of Prometheus.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pypimirror.serve.direct.counts import AnswerCounts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: Seconds for which an output is used again, and seconds that the process may take at most.
FRESH = 10.0
PATIENCE = 20.0


class ServerMetrics:
    """The metrics of one server; `config` is the configuration file of its mirror.

    `counts` are those of all its processes. `more` yields further ones.
    """

    def __init__(
        self,
        config: Path,
        counts: AnswerCounts | None = None,
        more: Callable[[], Iterable[Metric]] = lambda: (),
    ) -> None:
        self._config = config
        self._more = more
        self._counts = counts or AnswerCounts()
        self._asking = threading.Lock()  # gevent's, in the server
        self._said = ""
        self._at = -FRESH

    def count(self, status: int) -> None:
        """Count an answer."""
        self._counts.answered(status)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics as a client accepts them, and their content type."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, for prometheus_client."""
        from prometheus_client.core import CounterMetricFamily
        from prometheus_client.parser import text_string_to_metric_families

        with self._asking:
            if time.monotonic() - self._at >= FRESH:
                self._said = self._ask()
                self._at = time.monotonic()
            said = self._said
        yield from text_string_to_metric_families(said) if said else (_away(),)
        told = "Requests that were answered, by status."
        answers = CounterMetricFamily("pypimirror_http_requests", told, labels=["code"])
        for status, number in sorted(self._counts.answers().items()):
            answers.add_metric([str(status)], number)
        yield answers
        yield from self._more()

    def _ask(self) -> str:
        """Return the output of `pypimirror metrics`, or nothing if it fails."""
        command = [sys.executable, "-P", "-m", "pypimirror", "metrics", "--quiet"]
        command += ["--config", str(self._config)]
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.decode()


def _away() -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    told = "Whether the catalog could be read."
    return GaugeMetricFamily("pypimirror_catalog_up", told, 0)
