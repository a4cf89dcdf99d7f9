"""Metrics of `[on_demand]`: counts of this server, and the figures of its fetcher."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from pypimirror.serve.direct.counts import AnswerCounts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Kind = Literal["page", "file"]

#: Upper bounds of the buckets of times, in seconds.
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 12.0)

_COUNTED = {
    "hits": "Answers with what was here already.",
    "misses": "Answers for which the fetcher was asked.",
    "stale": "Pages that may be old, because the upstream was slow or away.",
    "refused": "Requests that the configuration refuses.",
    "failed": "Requests that could not be answered, or whose answer was cut.",
}
_NAME = re.compile(r"[a-z][a-z_]*")


class Figures:
    """The figures of one server. `fetcher` are those that its fetcher sent last."""

    def __init__(self, direct: AnswerCounts) -> None:
        self._direct = direct
        self.counts: Counter[tuple[str, Kind]] = Counter()
        self.fetcher: dict[str, float] = {}
        self._times = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def took(self, seconds: float) -> None:
        """Note how long a client waited for the first byte of a file or page that was not here."""
        self._times[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def heard(self, figures: dict[str, float]) -> None:
        """Keep the figures of the fetcher."""
        self.fetcher = {name: value for name, value in figures.items() if _NAME.fullmatch(name)}

    def collect(self) -> Iterator[Metric]:
        """Yield all figures, for prometheus_client."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        start = "pypimirror_on_demand_"
        for name, told in _COUNTED.items():
            family = CounterMetricFamily(start + name, told, labels=["kind"])
            for kind in ("page", "file"):
                direct = self._direct.directly(is_page=kind == "page") if name == "hits" else 0
                family.add_metric([kind], self.counts[name, kind] + direct)
            yield family
        told = "Seconds until the first byte of an answer for which the fetcher was asked."
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._times), strict=True))
        yield HistogramMetricFamily(
            f"{start}first_byte_seconds", told, buckets=buckets, sum_value=self._seconds
        )
        for name, value in sorted(self.fetcher.items()):
            told = "A figure of the fetcher."
            if name.endswith("_total"):
                yield CounterMetricFamily(start + name, told, value=value)
            else:
                yield GaugeMetricFamily(start + name, told, value=value)
