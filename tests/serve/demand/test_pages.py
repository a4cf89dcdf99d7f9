"""Pages: believed for a time, asked for once, old ones with a warning, and never a wrong 404."""

from __future__ import annotations

import http.client

import pytest
from msgspec.structs import replace

from pypimirror.on_demand.messages import Absent, Away, Failed, Here, IndexQuestion, Refused
from tests.serve.demand.conftest import LONG, Serve, Site
from tests.serve.tree import add_project, add_root_index, wheel

PAGE = "/simple/six/"


def put_page(site: Site, project: str = "six") -> str:
    """Put a page into the store, as the fetcher does; return its directory."""
    add_project(site.puppet.store, project, wheel(project, "9.9"))
    return str(site.puppet.store / "simple" / project)


def answered(site: Site, project: str = "six", seconds: float = 600) -> http.client.HTTPResponse:
    """Ask for a page, which the fetcher has in its store."""
    client = site.ask(f"/simple/{project}/")
    asked = site.puppet.hears_page()
    site.puppet.say(Here(asked.id, put_page(site, project), seconds))
    return client.getresponse()


def ends_without_a_question(site: Site) -> bool:
    site.server.process.terminate()
    return site.puppet.hears_nothing_more()


def test_the_fetchers_page_is_served_and_believed(serve: Serve) -> None:
    site = serve()
    assert b"six-9.9" in answered(site).read()
    again, _ = site.get(PAGE, Accept="application/vnd.pypi.simple.v1+json")
    assert b"six-9.9" in again.read()
    assert "Warning" not in again.headers
    assert ends_without_a_question(site)


def test_a_page_has_an_etag_for_conditions(serve: Serve) -> None:
    site = serve()
    etag = answered(site).headers["ETag"]
    again, _ = site.get(PAGE, **{"If-None-Match": etag})
    assert again.status == 304


def test_the_page_of_a_project_that_is_not_held_is_served(serve: Serve) -> None:
    assert b"new-9.9" in answered(serve(), "new").read()


def test_a_page_that_is_not_believed_any_more_is_asked_for_again(serve: Serve) -> None:
    site = serve()
    answered(site, seconds=0).read()
    client = site.ask(PAGE)
    asked = site.puppet.hears_page()
    site.puppet.say(Here(asked.id))  # the mirror's own
    assert b"six-1.16.0" in client.getresponse().read()


def test_clients_that_ask_for_the_same_page_share_one_question(serve: Serve) -> None:
    site = serve()
    clients = [site.ask("/simple/new/") for _ in range(50)]
    site.puppet.say(Here(site.puppet.hears_page().id, put_page(site, "new"), 600))
    assert {client.getresponse().status for client in clients} == {200}
    # Requests that the server reads while it gets the answer ask once more, and no other.
    site.server.process.terminate()
    assert len(site.puppet.input.readlines()) <= 1


def test_an_older_page_goes_out_when_the_upstream_is_slow(serve: Serve) -> None:
    """The one that lists what may be fetched, if there is one."""
    site = serve(pages_SOON=0)
    answer, _ = site.get(PAGE)
    assert (answer.status, answer.headers["Warning"]) == (
        200,
        '110 - "The fetcher has not answered yet."',
    )
    assert b"six-1.16.0" in answer.read()
    site.puppet.say(Here(site.puppet.hears_page().id, put_page(site), 600))
    assert answered(site, "new").status == 200  # so the server has heard the answer before, too
    site.ask(PAGE)
    assert site.puppet.hears_page().project == "six"  # it came too late for anybody


def test_a_client_without_an_older_page_may_ask_again_meanwhile(
    serve: Serve,
) -> None:
    site = serve(pages_PATIENCE=0.05)
    answer, _ = site.get("/simple/new/")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert b"has not answered" in answer.read()


AWAY = Away(0, 'pypi: "refused"\n\\ the connection ☹')


@pytest.mark.parametrize("answer", [AWAY, Failed(0, "A login page.")], ids=["away", "failed"])
def test_what_is_held_is_listed_when_the_upstream_is_away(
    serve: Serve, answer: Away | Failed
) -> None:
    """And not what the store's page lists, because some of that cannot be had now."""
    site = serve()
    answered(site, seconds=0).read()
    client = site.ask(PAGE)
    site.puppet.say(replace(answer, id=site.puppet.hears_page().id))
    page = client.getresponse()
    assert b"six-1.16.0" in page.read()
    if answer is AWAY:
        assert page.headers["Warning"] == '111 - "pypi: refused the connection"'


def test_the_stores_page_is_served_when_nothing_is_held_and_the_upstream_is_away(
    serve: Serve,
) -> None:
    site = serve()
    answered(site, "new", seconds=0).read()
    client = site.ask("/simple/new/")
    site.puppet.say(replace(AWAY, id=site.puppet.hears_page().id))
    page = client.getresponse()
    assert b"new-9.9" in page.read()
    assert page.headers["Warning"].startswith("111 ")


def test_the_fetcher_may_say_that_only_what_is_held_is_to_be_listed(serve: Serve) -> None:
    site = serve()
    for project, listed in (("six", b"six-1.16.0"), ("new", b"new-9.9")):
        client = site.ask(f"/simple/{project}/")
        asked = site.puppet.hears_page()
        here = Here(asked.id, put_page(site, project), 600, "The upstream is away.", held_only=True)
        site.puppet.say(here)
        page = client.getresponse()
        assert listed in page.read()
        assert page.headers["Warning"] == '111 - "The upstream is away."'


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Away(0, "pypi refused the connection."), 502),
        (Failed(0, "A login page."), 502),
        (Absent(0, "No upstream has it.", 300), 404),
        (Refused(0, "[select] excludes it."), 404),
    ],
    ids=["away", "failed", "absent", "refused"],
)
def test_a_page_that_cannot_be_had_is_404_only_if_it_is_absent_or_left_out(
    serve: Serve, answer: Away | Failed | Absent | Refused, status: int
) -> None:
    site = serve()
    client = site.ask("/simple/new/")
    site.puppet.say(replace(answer, id=site.puppet.hears_page().id))
    page = client.getresponse()
    assert (page.status, page.read().decode()) == (status, f"{answer.reason}\n")
    if status == 404:  # remembered
        assert site.get("/simple/new/")[0].status == 404
        assert ends_without_a_question(site)


@pytest.mark.parametrize("answer", [Absent(0, "x", 300), Refused(0, "x")], ids=["absent", "out"])
def test_what_is_held_stays_although_it_may_not_be_fetched(
    serve: Serve, answer: Absent | Refused
) -> None:
    """Syncs decide what is selected, and whether what upstreams have removed goes."""
    site = serve()
    client = site.ask(PAGE)
    site.puppet.say(replace(answer, id=site.puppet.hears_page().id))
    assert b"six-1.16.0" in client.getresponse().read()
    assert site.server.get(PAGE)[0] == 200
    assert ends_without_a_question(site)


def test_a_page_that_left_the_store_is_asked_for_again(serve: Serve) -> None:
    site = serve()
    answered(site, "new").read()
    for file in (site.puppet.store / "simple" / "new").iterdir():
        file.unlink()
    assert answered(site, "new").status == 200


def test_the_number_of_remembered_pages_and_absences_is_bounded(serve: Serve) -> None:
    site = serve(pages_MOST=1)
    for project in ("aa", "bb", "aa"):
        client = site.ask(f"/simple/{project}/")
        site.puppet.say(Absent(site.puppet.hears_page().id, "No.", 300))
        assert client.getresponse().status == 404


@pytest.mark.parametrize("name", ["six!", "-", "%2e%2e", "a" * 300, "a--b-"])
def test_nobody_is_asked_for_what_cannot_be_a_project(serve: Serve, name: str) -> None:
    site = serve()
    answer, _ = site.get(f"/simple/{name}/")
    assert answer.status in (301, 404)
    assert ends_without_a_question(site)


def test_the_list_of_projects_is_the_fetchers(serve: Serve) -> None:
    site = serve()
    client = site.ask("/simple/")
    asked = site.puppet.hears()
    assert isinstance(asked, IndexQuestion)
    add_root_index(site.puppet.store, "six", "one-that-only-the-upstream-has")
    site.puppet.say(Here(asked.id, str(site.puppet.store / "simple"), 600))
    assert b"one-that-only" in client.getresponse().read()
    assert b"one-that-only" in site.server.get("/simple/")[1]
    assert ends_without_a_question(site)


def test_the_list_of_projects_is_the_mirrors_if_not_all_may_be_fetched(serve: Serve) -> None:
    site = serve()
    client = site.ask("/simple/")
    site.puppet.say(Refused(site.puppet.hears().id, "Not all projects may be fetched."))
    assert b">six<" in client.getresponse().read()


def test_what_is_held_is_served_while_no_fetcher_runs(serve: Serve) -> None:
    site = serve(keeping_FIRST=LONG)
    site.puppet.kill()
    assert site.puppet.hears_nothing_more()
    held, _ = site.get(PAGE)
    assert b"six-1.16.0" in held.read()
    assert held.headers["Warning"].startswith('111 - "The fetcher')
    other, _ = site.get("/simple/new/")
    assert (other.status, other.headers["Retry-After"]) == (503, "2")
