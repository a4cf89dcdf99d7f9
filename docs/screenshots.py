"""Pictures of the pages for README and docs: `python -m docs.screenshots [DIRECTORY]`.

A mirror of the tests' corpus is served on loopback, and the system's chromium looks at it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.browser.conftest import PATH
from tests.browser.showcase import fill
from tests.mirror import Mirror
from tests.serve.test_server import serving
from tests.simulator import Simulator

#: Each picture: the path of its page, colours, and width in pixels. "*" stands for the newest run.
PICTURES = {
    "front": ("", "light", 960),
    "search": ("search?q=pack", "light", 960),
    "project": ("project/click/", "light", 960),
    "status": ("status", "light", 960),
    "run": ("status/runs/*", "dark", 960),
}


def main(target: Path) -> None:
    """Write the pictures."""
    if PATH is None:
        sys.exit("screenshots: install chromium first, as with apt-get install chromium")
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as base, Simulator() as simulator:
        mirror = Mirror(Path(base), simulator)
        fill(mirror, simulator)
        with (
            serving(mirror.root, "--pages", str(mirror.file)) as server,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
            for name, (path, scheme, width) in PICTURES.items():
                page = browser.new_page(
                    viewport={"width": width, "height": 700}, color_scheme=scheme
                )
                page.goto(server.url + path.partition("/runs/")[0])
                if path.endswith("*"):
                    page.locator("a[href*='status/runs/']").first.click()
                page.screenshot(path=target / f"{name}.png")
                page.close()
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"))
