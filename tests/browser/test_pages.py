"""Front page, search and projects in a real browser, also with hostile metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import NARROW, WIDE, Visitor
from tests.browser.showcase import fill
from tests.mirror import Mirror
from tests.serve.test_server import serving
from tests.simulator import Simulator

Visit = Callable[..., Visitor]

PATHS = ("", "projects", "search?q=pack", "project/click/", "project/idna/3.7/", "project/evil/")

pytestmark = [pytest.mark.thorough, pytest.mark.sqlite]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    with Simulator() as simulator:
        mirror = Mirror(tmp_path_factory.mktemp("pages"), simulator)
        fill(mirror, simulator)
    return mirror


@pytest.fixture(scope="module")
def url(mirror: Mirror) -> Iterator[str]:
    with serving(mirror.root, "--pages", str(mirror.file)) as server:
        yield server.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_for_everybody(url: str, visit: Visit, scheme: str) -> None:
    for width in (WIDE, NARROW):
        visitor = visit(url, width, color_scheme=scheme)
        for path in PATHS:
            visitor.open(path)
            assert visitor.barriers() == [], path


def test_hostile_metadata_shows_as_text(url: str, visit: Visit) -> None:
    visitor = visit(url)
    for path in ("project/evil/", "project/evil/1.0/", "search?q=evil"):
        page = visitor.open(path)
        assert "owned" not in page.title()
        assert page.locator("main script, main img, main [onerror]").count() == 0
        assert page.locator("main a[href^='javascript:']").count() == 0
        assert "<script>" in (page.text_content("main") or "")


def test_somebody_finds_a_project_by_keyboard(url: str, visit: Visit) -> None:
    page = visit(url).open("")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "q":
            break
    page.keyboard.type("clic")
    page.wait_for_selector("datalist option[value=click]", state="attached")
    page.keyboard.type("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=click")
    assert page.locator(".hits a").first.inner_text() == "click"


def test_the_pages_need_no_script(url: str, visit: Visit) -> None:
    page = visit(url, java_script_enabled=False).page
    page.goto(url)
    page.fill("#q", "clck")
    page.get_by_role("button", name="Search").click()
    page.locator(".hits a", has_text="click").first.click()
    assert page.inner_text("h1").startswith("click")


def test_a_first_visit_loads_little(url: str, visit: Visit) -> None:
    page = visit(url).page
    for path in PATHS:
        context = page.context.browser.new_context()
        tab = context.new_page()
        answers: list[Any] = []
        tab.on("response", lambda answer, to=answers: to.append(answer))
        tab.goto(url + path)
        assert sum(len(answer.body()) for answer in answers if answer.ok) < 50_000, path
        context.close()


def test_without_the_catalog_pages_say_so_and_projects_are_served(
    mirror: Mirror, visit: Visit, tmp_path: Path
) -> None:
    mirror.configure(mirror={"catalog": f"sqlite:///{tmp_path}/away.sqlite"})
    with serving(mirror.root, "--pages", str(mirror.file)) as server:
        page = visit(server.url).page
        page.goto(server.url)
        assert "The catalog cannot be read" in page.inner_text("main")
        assert "pip install" in page.inner_text("main")
        for path, status in (("project/click/", 503), ("simple/click/", 200)):
            assert page.request.get(server.url + path).status == status
