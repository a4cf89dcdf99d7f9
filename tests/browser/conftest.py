"""A real browser, and pages as it sees them: the system's chromium, driven by Playwright.

`.ci/run` installs chromium on Debian. Without it, these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: The browser; None: there is none.
PATH = next((path for name in _NAMES if (path := shutil.which(name))), None)

#: Widths in pixels: of a desk and of a small phone.
WIDE, NARROW = 1280, 360


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module.

    Playwright's event loop stays the running one of this thread until it is stopped, so it must not
    outlive the module: tests of flows start loops of their own.
    """
    if PATH is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        # Root cannot use chromium's sandbox. It shows only pages of this test.
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        started = playwright.chromium.launch(executable_path=PATH, args=sandbox)
        yield started
        started.close()


class Visitor:
    """Opens pages of one server, and fails the test if a page does what it must not do."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self._foreign: list[str] = []
        self._said: list[str] = []
        self._context = browser.new_context(**options)
        self.page: Page = self._context.new_page()
        self.page.on("request", self._asked)
        self.page.on("console", lambda message: self._said.append(message.text))
        self.page.on("pageerror", lambda error: self._said.append(str(error)))

    def open(self, path: str) -> Page:
        """Open a page; it must be there, fit the width, and say nothing on the console."""
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == 200, path
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width <= self.page.evaluate("innerWidth"), f"{path} scrolls sideways"
        return self.page

    def barriers(self) -> list[str]:
        """What axe-core finds on the page that keeps somebody from using it; all parts are open."""
        self.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]

    def close(self) -> None:
        """End the visit, and look back at what the pages did."""
        self._context.close()
        assert not self._foreign
        # A browser repeats what a server says while something is away.
        assert not [text for text in self._said if "503" not in text]

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self._foreign.append(request.url)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Begins a visit: the address of a server, and options of Playwright's contexts."""
    with ExitStack() as visits:

        def begin(url: str, width: int = WIDE, **options: Any) -> Visitor:
            size = {"width": width, "height": 800}
            visitor = Visitor(browser, url, viewport=size, **options)
            visits.callback(visitor.close)
            return visitor

        yield begin
