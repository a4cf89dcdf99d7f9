"""Metrics for Prometheus, read from the catalog and the disk. It changes nothing.

`docs/operations.md` explains the names. Most figures are computed when somebody asks. Figures that
take long to count come from the end of an earlier run, and one figure says when that was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from pypimirror import __version__
from pypimirror.catalog import inspection
from pypimirror.catalog.database import CatalogError
from pypimirror.catalog.queries import entries, statistics, totals, withdrawals
from pypimirror.catalog.queries.history import failing
from pypimirror.catalog.states import COMPLETED
from pypimirror.config.settings import Config
from pypimirror.domain.model import Reason
from pypimirror.system import clock, space

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily

    from pypimirror.catalog.database import Connection

log = logging.getLogger(__name__)

_PREFIX = "pypimirror_"


def write_textfile(config: Config, path: Path) -> None:
    """Write the metrics to a file, in one atomic step. Raises `OSError`."""
    content = render(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
        fresh = Path(stream.name)
        try:
            stream.write(content)
            stream.flush()
            fresh.chmod(0o644)  # the node exporter runs as another user
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


def render(config: Config) -> bytes:
    """Return all metrics in the text format of Prometheus."""
    from prometheus_client import generate_latest

    return generate_latest(collect(config))


def collect(config: Config) -> CollectorRegistry:
    """Return all metrics. If the catalog cannot be read, `catalog_up` is 0."""
    from prometheus_client import CollectorRegistry

    figures = _Figures()
    figures.set("info", "The version, as a label.", 1, version=__version__)
    _disk(figures, config)
    try:
        with inspection.reading_rows(config.catalog_url) as connection:
            _catalog(figures, connection)
        up = 1
    except CatalogError as error:
        log.warning("%s", error)
        up = 0
    figures.set("catalog_up", "Whether the catalog could be read.", up)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    return registry


class _Figures:
    """Collects gauges; a collector of prometheus_client."""

    def __init__(self) -> None:
        self._gauges: dict[str, GaugeMetricFamily] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return all gauges."""
        return self._gauges.values()

    def set(self, name: str, told: str, value: float | None, **labels: str) -> None:
        """Set a metric, unless its value is None."""
        from prometheus_client.core import GaugeMetricFamily

        if value is None:
            return
        if name not in self._gauges:
            self._gauges[name] = GaugeMetricFamily(_PREFIX + name, told, labels=list(labels))
        # Booleans become numbers. Labels become text: a damaged catalog may hold any type.
        self._gauges[name].add_metric([str(label) for label in labels.values()], float(value))

    def set_each(self, name: str, told: str, label: str, values: Mapping[str, float]) -> None:
        """Set a metric for each key of `values`, which becomes the label's value."""
        for key, value in values.items():
            self.set(name, told, value, **{label: key})


def _disk(figures: _Figures, config: Config) -> None:
    try:
        free = space.free(config.directory)
    except OSError:
        free = None
    figures.set("free_bytes", "Free bytes on the mirror root's file system.", free)
    reserve = int(config.mirror.reserve)
    figures.set("reserve_bytes", "Bytes that downloads leave free.", reserve)


def _catalog(figures: _Figures, connection: Connection) -> None:
    now = clock.now()
    if (complete := statistics.last_complete_sync(connection)) is not None:
        started = complete.started_at
        ended = complete.ended_at or started
        name = "last_complete_sync_timestamp_seconds"
        told = "When the last sync without failures ended; 0 if unknown."
        figures.set(name, told, clock.believed(ended, now))
        told = "Seconds since that sync ended, when this was written."
        figures.set("last_complete_sync_age_seconds", told, clock.since(ended, now))
        told = "Seconds since that sync began; later changes upstream may be missing here."
        figures.set("lag_seconds", told, clock.since(started, now))
    told = "The highest serial in an upstream's project list when it was last read."
    figures.set_each("upstream_serial", told, "upstream", statistics.serials(connection))
    told = "The highest serial among the mirror's own pages."
    figures.set("serial", told, entries.newest_serial(connection))
    told = (
        "Files with open work, by state, and others that wait for another try; each is counted up "
        "to a million."
    )
    left = statistics.backlog(connection) | {"waiting": statistics.waiting(connection)}
    figures.set_each("backlog_files", told, "state", left)
    told = "Projects with work left to do."
    figures.set("backlog_projects", told, statistics.backlog_projects(connection))
    told = "Runs that have not ended."
    figures.set("runs_in_progress", told, statistics.running(connection))
    _runs(figures, connection, now)
    _held(figures, connection, now)


def _runs(figures: _Figures, connection: Connection, now: float) -> None:
    for command in ("sync", "verify"):
        row = statistics.last_ended(connection, command)
        if row is None:
            continue
        told = "When the last run of a command ended."
        ended = clock.believed(row.ended_at, now)
        figures.set("last_run_timestamp_seconds", told, ended, command=command)
        told = "Whether that run did all of its work."
        figures.set("last_run_success", told, row.state == COMPLETED, command=command)
        told = "Seconds that the run took."
        took = max(0.0, (row.ended_at or row.started_at) - row.started_at)
        figures.set("last_run_seconds", told, took, command=command)
        counts = json.loads(row.counts) if row.counts else {}
        told = "Bytes that the run downloaded."
        size = counts.get("bytes_downloaded", 0)
        figures.set("last_run_downloaded_bytes", told, size, command=command)
        found = failing.by_reason(connection, [row.id])
        denied = counts.get("files_denied", 0)
        told = "Files that a policy of the upstream keeps back; they are no failures."
        figures.set("last_run_denied", told, denied, command=command)
        found[Reason.DENIED] = max(0, found.get(Reason.DENIED, 0) - denied)
        told = "Failures in the run, by reason."
        for reason in Reason:
            number = found.get(reason.value, 0)
            figures.set("last_run_failures", told, number, command=command, reason=reason.value)


def _held(figures: _Figures, connection: Connection, now: float) -> None:
    states, size = totals.by_state(connection)
    figures.set_each("files", "Files, by state.", "state", states)
    figures.set("held_bytes", "Bytes of all files that are verified or published.", size)
    told = "Files that are kept though the upstream deleted them."
    figures.set("kept_files", told, withdrawals.count_kept(connection)[0])
    held = statistics.last(connection)
    if held is None:
        return
    told = "When a run counted the figures on proofs."
    figures.set("counted_timestamp_seconds", told, clock.believed(held.at, now))
    told = "Oldest among the times at which each file was last found right."
    oldest = held.oldest_proof
    figures.set("oldest_proof_timestamp_seconds", told, clock.believed(oldest, now))
    told = "Share of files that were found right within this many days before that."
    shares: Iterable[tuple[int, int]] = held.proven_within.items() if held.proven else ()
    for days, number in shares:
        figures.set("proven_share", told, number / held.proven, days=str(days))
