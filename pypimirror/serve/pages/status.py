"""The status of the mirror and its runs, as pages and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from pypimirror.domain.durations import took
from pypimirror.domain.sizes import amount
from pypimirror.serve.pages import charts
from pypimirror.serve.pages.charts import Chart
from pypimirror.serve.pages.site import Site, number
from pypimirror.serve.pages.visit import Made, Visit, document, redirect
from pypimirror.status import history, overview
from pypimirror.status.documents import DayFigures, MirrorStatus, RunPage
from pypimirror.status.trends import each_day

Read = Callable[[DayFigures], float | None]
Draw = Callable[[str, str, Mapping[str, float | None], charts.Show, str], Chart | None]

#: Fewer months than this make no chart.
_MONTHS = 3


def page(site: Site, visit: Visit) -> Made:
    """Make the page of the mirror, or of a run. Raises `CatalogAwayError`."""
    match visit.parts:
        case ["status"]:
            found = _read(site, visit)
            return site.page(visit, "status.html", mirror=found, charts=_charts(found))
        case ["status", ""]:
            return redirect("../status")
        case ["status", "runs", name]:
            return _run(site, visit, name)
    return site.missing(visit)


def whole(value: float) -> str:
    """Return a whole number as text."""
    return number(int(value))


#: Charts of the last days: name, title, how it is drawn, its figure, how that is shown, its name.
_CHARTS: tuple[tuple[str, str, Draw, Read, charts.Show, str], ...] = (
    ("seconds", "Longest sync", charts.columns, lambda day: day["seconds"], took, "Duration"),
    ("downloaded", "Downloaded", charts.columns, lambda day: day["downloaded"], amount, "Amount"),
    (
        *("age", "Highest age of the last complete sync", charts.columns),
        *(lambda day: day["oldest_age"], took, "Age"),
    ),
    ("backlog", "Files with work left", charts.columns, lambda day: day["backlog"], whole, "Files"),
    ("files", "Files", charts.area, lambda day: day["files"], whole, "Files"),
    ("bytes", "Size", charts.area, lambda day: day["bytes"], amount, "Size"),
    ("free", "Free space", charts.area, lambda day: day["free"], amount, "Free"),
)


def as_json(site: Site, visit: Visit) -> Made:
    """Make `/status.json`. Raises `CatalogAwayError`."""
    if visit.parts != ["status.json"]:
        return site.missing(visit)
    return document(msgspec.json.encode(_read(site, visit)))


def _read(site: Site, visit: Visit) -> MirrorStatus:
    with site.reader.read() as connection:
        return overview.read(connection, site.config, site.now(), details=visit.sees_details)


def _run(site: Site, visit: Visit, name: str) -> Made:
    with site.reader.read() as connection:
        found = history.read(connection, name, details=visit.sees_details)
    if found is None:
        return site.missing(visit, "There is no such run, or it is no longer in the history.")
    counts = [(name.replace("_", " "), number(value)) for name, value in found["counts"].items()]
    return site.page(visit, "run.html", run=found, spans=_spans(found), counts=counts)


def _charts(found: MirrorStatus) -> dict[str, Chart]:
    days = dict(each_day(found["days"], found["at"]))
    drawn = {
        name: draw(name, title, _values(days, read), show, unit)
        for name, title, draw, read, show, unit in _CHARTS
    }
    failed = {day: None if row is None else row["failures"] for day, row in days.items()}
    title = "Failures by reason"
    drawn["failures"] = charts.stack("failures", title, failed, whole, "Failures")
    if len(found["months"]) >= _MONTHS:
        sizes: dict[str, float | None] = {row["day"]: row["bytes"] for row in found["months"]}
        drawn["months"] = charts.area("months", "Size, month by month", sizes, amount, "Size")
    return {name: chart for name, chart in drawn.items() if chart is not None}


def _values(days: Mapping[str, DayFigures | None], read: Read) -> dict[str, float | None]:
    return {day: None if row is None else read(row) for day, row in days.items()}


@dataclass(frozen=True)
class Span:
    """The time in which a stage of a run was at work, in seconds since the first stage began."""

    stage: str
    begin: float
    end: float
    x: float  #: the same as shares of the whole, in percent
    width: float


def _spans(run: RunPage) -> list[Span]:
    """Return when each stage was at work; nothing before one has ended."""
    ended = [stage["ended_at"] for stage in run["stages"] if stage["ended_at"] is not None]
    if not ended:
        return []
    start, last = min(stage["started_at"] for stage in run["stages"]), max(ended)
    share = 100 / max(last - start, 1e-3)
    found = []
    for stage in run["stages"]:
        begin = stage["started_at"] - start
        end = (stage["ended_at"] or last) - start
        width = max(1.0, (end - begin) * share)
        x = min(begin * share, 99.0)
        found.append(Span(stage["stage"], begin, end, round(x, 1), round(width, 1)))
    return found
