"""Answers of the fetcher that come soon go out directly, and are those of the long way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.on_demand.messages import Away, Failed, Here
from tests.serve.demand.conftest import Serve
from tests.serve.demand.test_figures import figures
from tests.serve.demand.test_pages import PAGE, answered, ends_without_a_question, put_page

FILE = "/packages/six/six-1.17.0.tar.gz"
OF_THE_MOMENT = {"Date", "ETag", "Last-Modified"}  #: each server gets a file of its own
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (PAGE, JSON),
        (PAGE, "text/html"),
        (PAGE, "image/png"),
        (FILE, "*/*"),
        (f"{FILE}.metadata", "*/*"),
        (f"{FILE}?x=1", "*/*"),
    ],
)
def test_both_ways_give_the_same_answer(serve: Serve, method: str, path: str, accept: str) -> None:
    answers = []
    for soon in (60.0, 0.0):
        site = serve(demand_SOON=soon)
        client = site.ask(path, method, Accept=accept)
        if path == PAGE:
            asked = site.puppet.hears_page().id
            site.puppet.say(Here(asked, put_page(site), 600))
        else:
            site.arriving(b"small").is_here()
        answer = client.getresponse()
        told = {k: v for k, v in answer.headers.items() if k not in OF_THE_MOMENT}
        answers.append((answer.status, told, answer.read()))
        assert ends_without_a_question(site)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", [PAGE.replace("six", "new"), FILE])
@pytest.mark.parametrize("answer", [Away(1, "It is away."), Failed(1, "It is wrong.")])
def test_a_failure_is_asked_for_once_by_a_request(
    serve: Serve, path: str, answer: Away | Failed
) -> None:
    site = serve(demand_SOON=60)
    client = site.ask(path)
    assert site.puppet.hears().id == answer.id  # type: ignore[union-attr]
    site.puppet.say(answer)
    assert client.getresponse().status == 502
    assert ends_without_a_question(site)


def test_a_page_with_a_warning_is_believed_with_its_warning(serve: Serve) -> None:
    """So that the fetcher is not asked again and again while the upstream is away."""
    site = serve(demand_SOON=60)
    client = site.ask(PAGE)
    asked = site.puppet.hears_page().id
    site.puppet.say(Here(asked, put_page(site), 600, warning="The upstream is away."))
    for answer in (client.getresponse(), site.get(PAGE)[0]):
        assert answer.headers["Warning"] == '111 - "The upstream is away."'
    assert ends_without_a_question(site)


def test_the_wait_for_a_direct_answer_counts(serve: Serve, tmp_path: Path) -> None:
    site = serve("--metrics", str(tmp_path / "absent.toml"), demand_SOON=0.2, pages_SOON=0)
    assert site.get(PAGE)[0].headers["Warning"].startswith("110 ")
    site.puppet.say(Here(site.puppet.hears_page().id, put_page(site), 600))
    assert answered(site, "new").status == 200
    found = figures(site)
    assert found["misses_total", "page"] == 2
    assert found["first_byte_seconds_count",] >= 2
    assert found["first_byte_seconds_sum",] >= 0.2
