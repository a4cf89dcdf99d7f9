"""The transport as an adapter of requests: mounted on a session, and compared with requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from pypimirror.download.failure import FetchError
from pypimirror.download.http.adapter import Adapter
from tests import simulator as faults
from tests.download.conftest import BODY
from tests.simulator import IndexFile, Simulator


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        adapter = Adapter(timeout=10.0)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        yield session


def test_session(session: requests.Session, simulator: Simulator, six: IndexFile) -> None:
    response = session.get(simulator.root + six.path)
    assert isinstance(response, requests.Response)
    assert (response.status_code, response.reason, response.content) == (200, "OK", BODY)
    assert response.headers["CONTENT-length"] == str(len(BODY))
    assert response.ok
    assert response.url == simulator.root + six.path
    assert session.get(simulator.root + six.path).content == BODY
    assert simulator.connections == 1


def test_session_json_and_redirect(
    session: requests.Session, simulator: Simulator, six: IndexFile
) -> None:
    simulator.redirect("/moved", simulator.url)
    response = session.get(
        simulator.root + "/moved", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    assert response.json()["projects"][0]["name"] == "six"
    assert len(response.history) == 1


def test_session_stream(session: requests.Session, simulator: Simulator, six: IndexFile) -> None:
    with session.get(simulator.root + six.path, stream=True) as response:
        assert b"".join(response.iter_content(1000)) == BODY
    with session.get(simulator.root + six.path, stream=True) as response:
        assert response.raw.read(10) + response.raw.read() == BODY


@pytest.mark.parametrize(
    ("method", "options"),
    [("POST", {"data": b"x"}), ("GET", {"data": b"x"}), ("GET", {"verify": False})],
)
def test_what_a_mirror_never_sends_is_refused(
    session: requests.Session, simulator: Simulator, method: str, options: dict[str, Any]
) -> None:
    with pytest.raises(FetchError, match="GET and HEAD"):
        session.request(method, simulator.url, **options)
    assert simulator.connections == 0


def test_headers_that_repeat(
    session: requests.Session, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(
        six, faults.Raw(b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n")
    )
    response = session.get(simulator.root + six.path)
    assert response.headers["A"] == "1, 2"
    assert dict(response.headers) == {"a": "1, 2", "content-length": "0"}
    assert len(response.headers) == 2
    assert "A" in response.headers
    assert response.headers.get("B") is None


def test_request_header_with_a_line_break(simulator: Simulator) -> None:
    request = requests.Request("GET", simulator.url).prepare()
    request.headers["X"] = "a\r\nHost: b"
    with pytest.raises(FetchError):
        Adapter(timeout=1.0).send(request)


def test_abandoned_body_closes_its_connection(
    session: requests.Session, simulator: Simulator, six: IndexFile
) -> None:
    response = session.get(simulator.root + six.path, stream=True)
    response.raw.read(1)
    response.close()
    session.get(simulator.root + six.path)
    assert simulator.connections == 2


def test_connection_close_is_kept_to(
    session: requests.Session, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.SetHeaders({"Connection": "Close"}))
    for _ in range(2):
        assert session.get(simulator.root + six.path).content == BODY
    assert simulator.connections == 2


def test_http_1_0(session: requests.Session, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Raw(b"HTTP/1.0 200 OK\r\n\r\nold"))
    assert session.get(simulator.root + six.path).content == b"old"


def test_no_more_idle_connections_than_wanted(simulator: Simulator, six: IndexFile) -> None:
    with Simulator() as other:
        adapter = Adapter(timeout=10.0, keep=1)
        for url in (simulator.url, other.url) * 3:
            request = requests.Request("GET", url).prepare()
            assert adapter.send(request).status_code == 200
            assert sum(len(idle) for idle in adapter.transport._idle.values()) == 1
        adapter.close()
        assert adapter.transport._idle == {}
