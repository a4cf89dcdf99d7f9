"""The pages of a mirror, made in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pypimirror.serve.pages.messages import PageRequest
from pypimirror.serve.pages.program import answer
from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import Made, Visit
from tests.mirror import Mirror
from tests.simulator import Simulator

Ask = Callable[..., Made]


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, database: str) -> Mirror:
    return Mirror(tmp_path, simulator)


@pytest.fixture
def site(mirror: Mirror) -> Site:
    return Site(mirror.config, mirror.file)


@pytest.fixture
def ask(site: Site) -> Ask:
    """Ask for a page."""

    def ask(path: str, query: str = "", *, root: str = "http://h/", local: bool = True) -> Made:
        asked = PageRequest(path, query, root, local)
        return answer(site, Visit(asked, site.config.serve.status))

    return ask
