"""`/metrics` says what on demand does."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pypimirror.on_demand.messages import Away, Counted, Here, Refused
from tests.serve.demand.conftest import Serve, Site

START = "pypimirror_on_demand_"


def figures(site: Site) -> dict[tuple[str, ...], float]:
    text = site.server.get("/metrics")[1].decode()
    return {
        (sample.name.removeprefix(START), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.name.startswith(START)
    }


def test_hits_misses_and_failures_are_counted(serve: Serve, tmp_path: Path) -> None:
    site = serve("--metrics", str(tmp_path / "absent.toml"))
    site.server.get("/packages/six/six-1.16.0-py3-none-any.whl")
    page = site.ask("/simple/six/")
    site.puppet.say(Here(site.puppet.hears_page().id, seconds=600, warning="away"))
    page.getresponse().read()
    site.server.get("/simple/six/")
    file = site.ask("/packages/six/six-2.tar.gz")
    site.puppet.say(Refused(site.puppet.hears_file().id, "No."))
    file.getresponse().read()
    file = site.ask("/packages/six/six-2.tar.gz")
    site.puppet.say(Away(site.puppet.hears_file().id, "Away."))
    file.getresponse().read()
    found = figures(site)
    assert found["hits_total", "file"] == 1
    assert found["hits_total", "page"] == 1
    assert found["misses_total", "page"] == 1
    assert found["misses_total", "file"] == 2
    assert found["stale_total", "page"] == 2
    assert found["refused_total", "file"] == 1
    assert found["failed_total", "file"] == 1
    assert found["first_byte_seconds_bucket", "+Inf"] == 3


def test_the_fetchers_figures_are_passed_on(serve: Serve, tmp_path: Path) -> None:
    site = serve("--metrics", str(tmp_path / "absent.toml"))
    site.puppet.say(Counted({"upstream_requests_total": 7, "store_bytes": 9, 'no"name': 1}))
    page = site.ask("/simple/six/")  # what it says is heard in order
    site.puppet.say(Here(site.puppet.hears_page().id))
    page.getresponse().read()
    found = figures(site)
    assert found[("upstream_requests_total",)] == 7
    assert found[("store_bytes",)] == 9
    assert not [name for name in found if '"' in name[0]]
