"""The web server asks another process for pages; whatever that does, `/simple/` is served."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request

from pypimirror.serve.app import create_app
from pypimirror.serve.pages import asking
from pypimirror.serve.pages.asking import PagesForPeople
from pypimirror.serve.pages.messages import PageRequest
from pypimirror.serve.pages.program import LOW
from tests.catalog.test_reading import unwritable
from tests.mirror import Mirror, offer
from tests.powerless import prefix
from tests.serve.test_server import serving
from tests.simulator import Simulator


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[PagesForPeople]:
    made = PagesForPeople(Mirror(tmp_path / "other").file)
    yield made
    made.close()


@pytest.fixture
def browser(root: Path, pages: PagesForPeople) -> Client:
    return Client(create_app(root, pages=pages))


def test_the_server_shows_pages(tmp_path: Path, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    with serving(mirror.root, "--pages", str(mirror.file)) as server:
        status, body = server.get("/")
        assert status == 200
        assert b"Fresh." in body
        style = re.search(rb'href="(?:\./)?(static/style-\w+\.css)"', body)
        assert style
        assert server.get(f"/{style[1].decode()}")[0] == 200
        assert server.get("/simple/six/")[0] == 200


def test_the_process_stands_back_behind_the_web_server(
    pages: PagesForPeople, browser: Client
) -> None:
    assert browser.get("/").status_code == 200
    assert pages._child is not None
    assert os.getpriority(os.PRIO_PROCESS, pages._child.pid) == os.nice(0) + LOW


def test_a_page_loads_nothing_from_elsewhere_and_cannot_be_framed(browser: Client) -> None:
    answer = browser.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"]


def test_a_page_that_has_not_changed_is_not_sent_again(browser: Client) -> None:
    etag = browser.get("/").headers["ETag"]
    assert browser.get("/", headers={"If-None-Match": etag}).status_code == 304


def test_a_page_is_sent_compressed_to_who_accepts_that(browser: Client) -> None:
    plain = browser.get("/")
    packed = browser.get("/", headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    refused = browser.get("/", headers={"Accept-Encoding": "gzip;q=0"})
    assert refused.data == plain.data


def test_an_answer_is_used_again_for_a_while(browser: Client, pages: PagesForPeople) -> None:
    assert browser.get("/").status_code == 200
    pages._command = ["/bin/false"]
    pages.close()
    assert browser.get("/").status_code == 200
    assert browser.get("/?other").status_code == 503


def test_a_process_that_fails_is_started_again(browser: Client, pages: PagesForPeople) -> None:
    good, pages._command = pages._command, ["/bin/false"]
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "/simple/ is not affected" in answer.text
    assert browser.get("/simple/six/").status_code == 200
    pages._command = good
    assert browser.get("/").status_code == 200


def test_a_process_that_never_answers_is_ended(
    browser: Client, pages: PagesForPeople, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.05)
    pages._command = ["/bin/sh", "-c", "exec tail -f /dev/null"]
    assert browser.get("/").status_code == 503


@pytest.mark.sqlite
def test_what_a_run_does_meanwhile_is_seen_by_who_cannot_write(
    tmp_path: Path, simulator: Simulator
) -> None:
    """SQLite opens such a catalog as a file that does not change, so it must not stay open."""
    offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    pages = PagesForPeople(mirror.file)
    pages._command = [*prefix(), *pages._command]
    asked = PageRequest("/", "", "http://h/", True)
    with closing(pages):
        with unwritable(mirror.root / ".pypimirror"):
            assert b"<dt>Projects</dt><dd>1</dd>" in gzip.decompress(pages._ask(asked)[1])
        offer(simulator, "idna", "1.0")
        mirror.sync()
        with unwritable(mirror.root / ".pypimirror"):
            assert b"<dt>Projects</dt><dd>2</dd>" in gzip.decompress(pages._ask(asked)[1])


def test_who_would_wait_behind_many_others_is_sent_away(
    browser: Client, pages: PagesForPeople
) -> None:
    pages._waiting = asking.WAITING
    assert browser.get("/").status_code == 503
    assert browser.get("/simple/six/").status_code == 200


def test_an_address_that_is_too_long_is_refused(browser: Client) -> None:
    assert browser.get(f"/search?q={'x' * 600}").status_code == 414


def test_kept_answers_have_a_bound(
    browser: Client, pages: PagesForPeople, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "KEPT", 4000)
    for number in range(6):
        assert browser.get(f"/?{number}").status_code == 200
    assert 0 < pages._size <= 4000
    assert sum(len(page.body) for page in pages._kept.values()) == pages._size


@pytest.mark.parametrize(
    ("address", "host", "headers", "is_local"),
    [
        ("127.0.0.1", "localhost:8000", {}, True),
        ("127.0.0.9", "127.0.0.1", {}, True),
        ("::1", "[::1]:8000", {}, True),
        ("::ffff:127.0.0.1", "LOCALHOST", {}, True),
        ("192.0.2.1", "localhost", {}, False),
        ("127.0.0.1", "localhost", {"X-Forwarded-For": "192.0.2.1"}, False),
        ("127.0.0.1", "localhost", {"Forwarded": "for=192.0.2.1"}, False),
        ("127.0.0.1", "localhost", {"Via": "1.1 proxy"}, False),
        ("127.0.0.1", "mirror.example.org", {}, False),  # a proxy, or a name that leads here
        ("127.0.0.1", "localhost.example.org", {}, False),
    ],
)
def test_only_a_client_on_this_machine_without_a_proxy_is_local(
    address: str, host: str, headers: dict[str, str], is_local: bool
) -> None:
    environ = {"REMOTE_ADDR": address, "HTTP_HOST": host}
    request = Request(EnvironBuilder(headers=headers, environ_base=environ).get_environ() | environ)
    assert asking._is_local(request) is is_local


def test_without_pages_the_root_says_how_to_install(client: Client) -> None:
    answer = client.get("/")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "pip install --index-url http://localhost/simple/ PROJECT" in answer.text
    assert client.get("/project/six/").status_code == 404
