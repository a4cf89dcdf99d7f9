"""The status pages: what they say, to whom, and that nobody's words become HTML."""

from __future__ import annotations

import json
import re
import time
from datetime import date, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from pypimirror.serve.pages.messages import PageRequest
from pypimirror.serve.pages.program import answer
from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import Visit
from pypimirror.system.clock import DAY
from tests.cli.test_documents import check
from tests.mirror import Mirror, offer
from tests.serve.pages.conftest import Ask
from tests.simulator import Corrupt, Simulator, Status

#: The ages of the days behind `failed`, in days. How many months they touch depends on today.
AGES = (1, 2, 5, 40, 70)

SCRIPT = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """What is on a page: tags with their attributes, text, and whether all tags are closed."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(body.decode())
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def failed(mirror: Mirror, simulator: Simulator) -> str:
    """A mirror with days behind it; the name of its last run, in which files failed."""
    offer(simulator, "idna", "1.0")
    mirror.sync()
    files = offer(simulator, "six", "1.0", "2.0", "3.0")
    simulator.fault(files[1], Status(404))
    simulator.fault(files[2], Corrupt())
    name = mirror.sync().run
    today = int(time.time() // DAY)
    (row,) = mirror.query("SELECT * FROM days")
    for ago in AGES:
        past = dict(row) | {"day": today - ago, "free": row["free"] + ago * 10**9}
        names, places = ", ".join(past), ", ".join("?" * len(past))
        mirror.query(f"INSERT INTO days ({names}) VALUES ({places})", *past.values())
    return name


def test_the_status_says_what_failed_why_and_what_to_do(failed: str, ask: Ask) -> None:
    made = ask("/status")
    page = Page(made.body)
    assert made.head.status == 200
    assert "Fresh." in page.text
    assert "1 \N{MULTIPLICATION SIGN} missing" in page.text
    assert "The upstream does not have what its page names (404 or 410)." in page.text
    assert "What to do: If the configuration names it, check the name" in page.text
    assert "1 \N{MULTIPLICATION SIGN} digest-mismatch" in page.text
    links = [each["href"] for each in page.all("a")]
    assert f"./status/runs/{failed}" in links
    assert "./project/six/" in links
    assert "is used up on" in page.text


def test_each_chart_has_a_title_a_description_and_a_table(failed: str, ask: Ask) -> None:
    page = Page(ask("/status").body)
    pictures = [each for each in page.all("svg") if "aria-hidden" not in each]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert len(page.all("figure")) == len(page.all("details")) == 9
    for picture in pictures:
        assert picture["role"] == "img"
        assert set((picture["aria-labelledby"] or "").split()) <= ids
    found = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(found) == len(set(found))


def test_no_attribute_needs_what_the_policy_forbids(failed: str, ask: Ask) -> None:
    for path in ("/status", f"/status/runs/{failed}"):
        for tag, attributes in Page(ask(path).body).tags:
            assert "style" not in attributes, tag
            assert not any(name.startswith("on") for name in attributes), tag


def test_the_json_is_what_its_schema_says(failed: str, ask: Ask, site: Site) -> None:
    made = ask("/status.json")
    assert made.head.content_type == "application/json"
    document = json.loads(made.body)
    check("status-page", document)
    assert len(document["days"]) == 4
    today = date.fromisoformat(document["days"][-1]["day"])
    touched = {(today - timedelta(days=ago)).isoformat()[:7] for ago in (0, *AGES)}
    assert [each["day"][:7] for each in document["months"]] == sorted(touched)


def test_a_run_has_a_page_with_its_stages_and_files(failed: str, ask: Ask) -> None:
    page = Page(ask(f"/status/runs/{failed}").body)
    assert "Incomplete." in page.text
    for word in ("discover", "download", "verify", "publish", "six-1.0-py3-none-any.whl"):
        assert word in page.text
    assert "1 \N{MULTIPLICATION SIGN} missing" in page.text


#: Paths that lead to no page of the status.
ELSEWHERE = (
    *("/status/runs", "/status/runs/", "/status/runs/last", "/status/runs/a/b", "/status.json/x"),
    *("/status/x", "/status/runs/%", "/status/runs/20"),
)


def test_other_paths_lead_nowhere(failed: str, ask: Ask) -> None:
    for path in ELSEWHERE:
        assert ask(path).head.status == 404, path
    made = ask("/status/")
    assert (made.head.status, made.head.location) == (301, "../status")


def private(run: str) -> tuple[str, ...]:
    """The paths of all that belongs to the status."""
    return "/status", "/status.json", f"/status/runs/{run}"


def test_a_public_page_names_no_path_no_machine_and_no_address(
    failed: str, mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    host = mirror.query("SELECT host FROM runs")[0]["host"]
    for path in private(failed):
        text = ask(path).body.decode()
        assert str(mirror.base) not in text
        assert simulator.root not in text
        assert not re.search(rf"\b{re.escape(host)}\b", text)


def test_the_configuration_says_who_sees_the_status_and_how_much(
    failed: str, mirror: Mirror
) -> None:
    for status, local, is_seen, is_quoted in (
        ("public", False, True, False),
        ("public", True, True, False),
        ("local", True, True, True),
        ("local", False, False, False),
        ("off", True, False, False),
    ):
        mirror.configure(serve={"status": status})
        site = Site(mirror.config, mirror.file)
        for path in private(failed):
            asked = PageRequest(path, "", "http://h/", local)
            made = answer(site, Visit(asked, site.config.serve.status))
            assert made.head.status == (200 if is_seen else 404), (status, local, path)
            assert (b"is not there" in made.body) is is_quoted, (status, local, path)


def test_hostile_texts_are_shown_as_text(failed: str, mirror: Mirror) -> None:
    for column in ("project", "file", "message"):
        mirror.query(f"UPDATE failures SET {column} = {column} || ?", SCRIPT)
    for column in ("message", '"trigger"', "version", "host"):
        mirror.query(f"UPDATE runs SET {column} = ?", SCRIPT)
    mirror.query("UPDATE files SET filename = filename || ? WHERE state = 3", "<script>x")
    mirror.configure(serve={"status": "local"})
    site = Site(mirror.config, mirror.file)
    for path in ("/status", f"/status/runs/{failed}"):
        made = answer(site, Visit(PageRequest(path, "", "http://h/", True), "local"))
        assert made.head.status == 200
        page = Page(made.body)
        assert page.text.count(SCRIPT) >= 4
        assert len(page.all("script")) == 1  # that of the page itself
        for link in page.all("a"):
            assert "<" not in (link["href"] or "")
        mirror.query("UPDATE runs SET arguments = ?", json.dumps([SCRIPT]))


@pytest.mark.sqlite
def test_without_a_catalog_the_status_says_so(failed: str, mirror: Mirror, ask: Ask) -> None:
    (mirror.root / ".pypimirror/catalog.sqlite").unlink()
    for path in private("x"):
        made = ask(path)
        assert made.head.status == 503
        assert b"The catalog cannot be read" in made.body


def test_a_mirror_before_its_first_run_has_a_status(mirror: Mirror, ask: Ask) -> None:
    from pypimirror.pipeline.lifecycle import open_mirror

    with open_mirror(mirror.config):
        pass
    text = Page(ask("/status").body).text
    assert "Empty." in text
    assert "No run has begun yet." in text


def test_a_run_that_is_under_way_has_a_page(failed: str, mirror: Mirror, ask: Ask) -> None:
    undo: Any = "UPDATE {} SET state = 'running', ended_at = NULL, counts = NULL"
    for table in ("runs", "stages"):
        mirror.query(undo.format(table))
    page = Page(ask(f"/status/runs/{failed}").body)
    assert "Running." in page.text
    assert ask("/status").head.status == 200
