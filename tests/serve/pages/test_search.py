"""Search finds names and summaries, beginnings of words, and names with a wrong letter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from pypimirror.catalog.mapping import fulltext
from pypimirror.serve.pages import search
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.serve.pages.conftest import Ask
from tests.simulator import Simulator

SUMMARIES = {
    "requests": "Python HTTP for Humans.",
    "requests-mock": "Mock out responses",
    "httpx": "The next generation client",
    "six": "",
    "zope-event": "Very basic publishing",
}

Find = Callable[..., list[str]]


@pytest.fixture
def filled(mirror: Mirror, simulator: Simulator) -> Mirror:
    for name, summary in SUMMARIES.items():
        wheel = make_wheel(name, "1.0", summary=summary)
        simulator.add_file(name, *wheel, core_metadata=True)
    mirror.sync()
    return mirror


@pytest.fixture
def find(ask: Ask, filled: Mirror) -> Find:
    def find(question: str, **more: Any) -> list[str]:
        made = ask("/search.json", f"q={question}" + "".join(f"&{k}={v}" for k, v in more.items()))
        assert made.head.status == 200
        return [hit["name"] for hit in json.loads(made.body)["results"]]

    return find


BEST = {
    "requests": "requests",
    "Requests": "requests",
    "zope.event": "zope-event",
    "reque": "requests",
    "mock": "requests-mock",
    "requsts": "requests",
    "reqeusts": "requests",
    "rrequests": "requests",
    "humans": "requests",
    "gener+client": "httpx",
    "publish+basic": "zope-event",
    "h+t+t+p": "",
    "requests+2.0": "requests",
    "requests==2.0": "requests",
    "requests[socks]>=2;+python_version>'3'": "requests",
    "zope.event+@+https://e.example/": "zope-event",
    "zope.event+(>=4)": "zope-event",
    "requests+(mock)": "requests-mock",
    "requests+~+mock": "requests-mock",
    "requests;+mock": "requests-mock",
    "requests+@+mock": "requests-mock",
}
ODD = ["", "%20", '"', "*", "a%22b", "-", "NEAR(", "name:", "%00", "%FF", "'", "x:*%20|", "&amp"]


def test_the_best_project_is_first(find: Find) -> None:
    assert {question: find(question)[:1] for question in BEST} == {
        question: [name] if name else [] for question, name in BEST.items()
    }


def test_no_question_breaks_the_search(find: Find) -> None:
    for question in ODD:
        find(question)


def test_a_version_that_was_asked_for_has_a_link(ask: Ask, filled: Mirror) -> None:
    for question in ("six==1.0", "six 1.0", "six (==1.0)", "six == v1.0 ; python_version > '3'"):
        assert re.search(
            rb'project/six/v?1.0/">Version', ask("/search", f"q={quote(question)}").body
        )
    for question in ("six>=1.0", "six==1.*", "six"):
        assert b"Version" not in ask("/search", f"q={quote(question)}").body
    assert b'project/absent/">see why' in ask("/search", "q=absent%3D%3D1.0").body


def test_results_have_a_limit(find: Find) -> None:
    assert find("requests", limit=1) == ["requests"]
    assert len(find("requests", limit="x")) == 2


def test_the_page_shows_what_was_asked_as_text(ask: Ask, filled: Mirror) -> None:
    text = ask("/search", "q=%3Cscript%3Ealert(1)%3C/script%3E").body.decode()
    assert "<script>alert" not in text
    text = ask("/search", "q=http").body.decode()
    assert "Python HTTP for Humans." in text


def test_a_project_that_has_left_is_not_found(
    find: Find, filled: Mirror, simulator: Simulator
) -> None:
    filled.select("six")
    filled.configure(delete={"max_share": 1.0, "grace": "0s"})
    filled.sync()
    assert find("requests") == []
    assert find("humans") == []


def test_a_changed_summary_is_found_and_the_old_one_is_not(
    find: Find, filled: Mirror, simulator: Simulator
) -> None:
    wheel = make_wheel("requests", "2.0", summary="Something else")
    simulator.add_file("requests", *wheel, core_metadata=True)
    filled.sync()
    assert find("humans") == []
    assert find("something") == ["requests"]


@pytest.mark.sqlite
def test_without_an_index_of_words_names_are_found(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "is_there", lambda _: False)
    assert find("reque") == ["requests", "requests-mock"]
    assert find("humans") == []


def test_feeds_say_what_is_new(ask: Ask, filled: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "2.0")
    filled.sync()
    made = ask("/feed/updates.xml", root="http://m.example/")
    items = ElementTree.fromstring(made.body).findall("channel/item")
    assert [item.findtext("title") for item in items][:1] == ["six 2.0"]
    assert items[0].findtext("link") == "http://m.example/project/six/"
    one = ElementTree.fromstring(ask("/feed/project/six.xml").body)
    assert [i.findtext("title") for i in one.findall("channel/item")] == ["six 2.0", "six 1.0"]
    assert ask("/feed/project/absent.xml").head.status == 404


@pytest.mark.sqlite
def test_without_a_catalog_pages_say_so(mirror: Mirror, simulator: Simulator, ask: Ask) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    (mirror.root / ".pypimirror/catalog.sqlite").unlink()
    for path in ("/search", "/search.json", "/project/six/", "/feed/updates.xml"):
        made = ask(path, "q=six")
        assert made.head.status == 503
        assert b"The catalog cannot be read" in made.body


def test_all_projects_are_listed_while_a_page_can_hold_them(
    filled: Mirror, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask("/projects").body.decode()
    assert re.findall(r'<li><a href="\./project/([^/"]*)/">', made) == sorted(SUMMARIES)
    assert 'href="./projects">All projects<' in ask("/").body.decode()
    monkeypatch.setattr(search, "LISTED", len(SUMMARIES) - 1)
    made = ask("/projects").body.decode()
    assert "./project/" not in made
    assert "5 projects, which are too many for one page" in made
    assert ask("/projects/x").head.status == 404


def test_a_mirror_without_projects_says_so(mirror: Mirror, ask: Ask) -> None:
    mirror.sync()
    assert "No project is here yet." in ask("/projects").body.decode()
