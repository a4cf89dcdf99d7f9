"""The status in a real browser: bright and dark, wide and narrow, by keyboard, without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import NARROW, WIDE, Visitor
from tests.mirror import Mirror, offer
from tests.serve.test_server import serving
from tests.simulator import Simulator, Status

Visit = Callable[..., Visitor]


@pytest.fixture
def url(tmp_path: Path, simulator: Simulator) -> Iterator[str]:
    """The address of a mirror of which the last run failed."""
    mirror = Mirror(tmp_path, simulator)
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.fault(offer(simulator, "six", "1.0", "2.0")[1], Status(404))
    mirror.sync()
    with serving(mirror.root, "--pages", str(mirror.file)) as server:
        yield server.url


@pytest.mark.slow
def test_the_status_is_for_everybody(url: str, visit: Visit) -> None:
    backs = set()
    for scheme in ("light", "dark"):
        for width in (WIDE, NARROW):
            visitor = visit(url, width, color_scheme=scheme)
            page = visitor.open("status")
            assert visitor.barriers() == []
            backs.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            chart = page.get_by_role("img", name="Failures by reason")
            box = chart.bounding_box()
            assert box is not None
            assert 200 < box["width"] <= width
            column = chart.locator("rect").first.bounding_box()
            assert column is not None
            assert column["height"] == pytest.approx(box["height"], abs=4)  # it is the highest
    assert len(backs) == 2


@pytest.mark.slow
def test_a_table_and_a_failed_run_are_reached_by_keyboard(url: str, visit: Visit) -> None:
    visitor = visit(url)
    page = visitor.open("status")
    table = page.get_by_role("region", name="Failures by reason")
    assert not table.is_visible()
    page.get_by_text("Table: Failures by reason").focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    assert "1 missing" in table.inner_text()
    page.get_by_role("region", name="Newest runs").get_by_role("link").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/status/runs/*")
    assert "Incomplete." in page.inner_text("main")
    assert "What to do:" in page.inner_text("main")
    assert visitor.barriers() == []


@pytest.mark.slow
def test_the_status_needs_no_script(url: str, visit: Visit) -> None:
    page = visit(url, java_script_enabled=False).page
    page.goto(f"{url}status")
    assert "Fresh." in page.inner_text("main")
    page.get_by_text("Table: Downloaded").click()
    assert page.get_by_role("region", name="Downloaded").is_visible()
