"""`/metrics`: told by the web server, which needs no catalog for anything else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from werkzeug.test import Client

from pypimirror.serve import metrics as metrics_module
from pypimirror.serve.app import create_app
from pypimirror.serve.metrics import Metrics
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
    client = Client(create_app(root, Metrics(root / "nothing.toml")))
    assert client.get("/simple/six/").status_code == 200
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert read(answer.data)["pypimirror_catalog_up",] == 0


def test_many_who_ask_at_once_cost_one_look(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(_: Metrics) -> bytes:
        asked.append(1)
        return b""

    monkeypatch.setattr(Metrics, "_ask", ask)
    metrics = Metrics(root)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: metrics.render(), range(8)))
    assert len(asked) == 1
    monkeypatch.setattr(metrics_module, "FRESH", 0.0)
    metrics.render()
    assert len(asked) == 2
