"""`/metrics`: told by the web server, which needs no catalog for anything else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from werkzeug.test import Client

from pypimirror.serve import metrics as metrics_module
from pypimirror.serve.app import create_app
from pypimirror.serve.metrics import ServerMetrics
from tests.metrics.test_exposition import read
from tests.mirror import Mirror, offer
from tests.serve.test_server import serving
from tests.simulator import Simulator


def test_the_server_tells_of_the_mirror_and_of_itself(tmp_path: Path, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    with serving(mirror.root, "--metrics", str(mirror.file)) as server:
        assert server.get("/simple/six/")[0] == 200
        assert server.get("/simple/absent/")[0] == 404
        status, body = server.get("/metrics")
        again = server.get("/metrics")[1]
    assert status == 200
    found = read(body)
    assert found["pypimirror_files", "published"] == 1
    assert found["pypimirror_catalog_up",] == 1
    assert found["pypimirror_http_requests_total", "200"] == 1
    assert found["pypimirror_http_requests_total", "404"] == 1
    assert read(again)["pypimirror_http_requests_total", "200"] == 2


def test_it_is_there_only_where_it_is_asked_for(client: Client) -> None:
    assert client.get("/metrics").status_code == 404


def test_without_a_configuration_that_can_be_read_pages_are_served(root: Path) -> None:
    client = Client(create_app(root, ServerMetrics(root / "nothing.toml")))
    assert client.get("/simple/six/").status_code == 200
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert read(answer.data)["pypimirror_catalog_up",] == 0


def test_the_form_is_the_one_that_the_client_accepts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "# HELP pypimirror_files Files, by state.\n# TYPE pypimirror_files gauge\n"
    said = f'{told}pypimirror_files{{state="a \\"b\\""}} 1.5e+09\n'
    monkeypatch.setattr(ServerMetrics, "_ask", lambda _: said)
    client = Client(create_app(root, ServerMetrics(root / "nothing.toml")))
    client.get("/simple/six/")
    old = client.get("/metrics")
    new = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert old.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert new.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0;")
    assert read(old.data)["pypimirror_files", 'a "b"'] == 1.5e9
    families = list(openmetrics.text_string_to_metric_families(new.data.decode()))
    found = {(s.name, *s.labels.values()): s.value for each in families for s in each.samples}
    assert found["pypimirror_files", 'a "b"'] == 1.5e9
    assert found["pypimirror_http_requests_total", "200"] == 2


def test_many_who_ask_at_once_cost_one_look(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(_: ServerMetrics) -> str:
        asked.append(1)
        return ""

    monkeypatch.setattr(ServerMetrics, "_ask", ask)
    metrics = ServerMetrics(root)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: metrics.render(""), range(8)))
    assert len(asked) == 1
    monkeypatch.setattr(metrics_module, "FRESH", 0.0)
    metrics.render("")
    assert len(asked) == 2
