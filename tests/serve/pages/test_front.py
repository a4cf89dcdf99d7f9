"""The front page says what this mirror is, whether it is fresh, and how to install from it."""

from __future__ import annotations

import re
import shutil

import pytest

from pypimirror.serve.pages.site import Site
from pypimirror.serve.pages.visit import Made
from tests.mirror import Mirror, offer
from tests.serve.pages.conftest import Ask
from tests.simulator import Simulator


def body(made: Made) -> str:
    return made.body.decode()


def test_it_says_what_is_here_and_how_fresh_it_is(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0", "2.0")
    mirror.sync()
    text = ask("/").body.decode()
    assert "Fresh." in text
    assert "<dt>Projects</dt><dd>1</dd>" in text
    assert "<dt>Files</dt><dd>2</dd>" in text


def test_it_says_how_to_install_with_each_tool(ask: Ask) -> None:
    text = ask("/", root="http://mirror.example/x/").body.decode()
    for line in (
        "pip install --index-url http://mirror.example/x/simple/ --trusted-host mirror.example P",
        "uv pip install --default-index http://mirror.example/x/simple/ PROJECT",
        "poetry source add --priority=primary mirror http://mirror.example/x/simple/",
        "pdm config --local pypi.url http://mirror.example/x/simple/",
        "pipenv install --pypi-mirror http://mirror.example/x/simple/ PROJECT",
    ):
        assert line in text


@pytest.mark.sqlite
def test_before_the_first_sync_it_says_so_and_how_to_install(ask: Ask) -> None:
    made = ask("/")
    assert made.head.status == 200
    assert "No sync of this mirror has begun yet." in body(made)
    assert "http://h/simple/ PROJECT" in body(made)
    for path in ("/status", "/search", "/project/six/"):
        made = ask(path)
        assert made.head.status == 503
        assert "No sync of this mirror has begun yet." in body(made)


@pytest.mark.sqlite
def test_without_a_catalog_it_says_so_and_still_how_to_install(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    (mirror.root / ".pypimirror/catalog.sqlite").unlink()
    made = ask("/")
    assert made.head.status == 200
    assert b"The catalog cannot be read." in made.body
    assert b"pip install" in made.body


def test_its_commands_install_something_that_is_here(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "a-first", "1.0")
    mirror.sync()
    assert "pip install --index-url http://h/simple/ --trusted-host h a-first" in body(ask("/"))
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert "pip install --index-url http://h/simple/ --trusted-host h six" in body(ask("/"))


def test_it_says_what_it_mirrors(mirror: Mirror, simulator: Simulator, ask: Ask) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert "from the index that it mirrors: sim0." in body(ask("/"))


@pytest.mark.sqlite
def test_a_catalog_that_goes_away_and_comes_back_is_noticed(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert b"Fresh." in ask("/").body
    file = mirror.root / ".pypimirror/catalog.sqlite"
    file.rename(mirror.base / "aside")
    assert b"The catalog cannot be read." in ask("/").body
    (mirror.base / "aside").rename(file)
    assert b"Fresh." in ask("/").body


@pytest.mark.sqlite
def test_another_catalog_in_its_place_is_noticed(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    file = mirror.root / ".pypimirror/catalog.sqlite"
    shutil.copy(file, mirror.base / "backup")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    assert b"<dt>Projects</dt><dd>2</dd>" in ask("/").body
    for log in file.parent.glob("catalog.sqlite-*"):
        log.unlink()
    (mirror.base / "backup").rename(file)
    assert b"<dt>Projects</dt><dd>1</dd>" in ask("/").body


@pytest.mark.sqlite
def test_the_catalog_is_left_alone_when_nobody_looks(
    mirror: Mirror, simulator: Simulator, site: Site, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    ask("/")
    opened = site.reader._catalog
    ask("/status")
    assert site.reader._catalog is opened is not None
    site.reader.rest()
    assert site.reader._catalog is None


def test_it_tells_no_path_and_no_host_of_this_machine(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert str(mirror.base).encode() not in ask("/", local=False).body


def test_it_has_an_icon_also_for_browsers_that_guess_its_address(ask: Ask) -> None:
    found = re.search(r'rel="icon" type="image/svg\+xml" href="\./(static/[^"]+)"', body(ask("/")))
    assert found
    icon = ask(f"/{found[1]}")
    assert (icon.head.status, icon.head.content_type) == (200, "image/svg+xml")
    guessed = ask("/favicon.ico").head
    assert (guessed.status, guessed.location) == (301, found[1])


def test_what_is_not_a_page_is_not_there(ask: Ask) -> None:
    for path in ("/static/style.css", "/static/../program.py", "/feed", "/project"):
        assert ask(path).head.status == 404, path


@pytest.mark.sqlite
def test_robots_read_the_front_page_and_nothing_else(ask: Ask) -> None:
    made = ask("/robots.txt")
    assert made.head.status == 200
    rules = [line.partition(": ") for line in body(made).splitlines()]
    assert rules[0] == ("User-agent", ": ", "*")
    assert [place for what, _, place in rules if what == "Allow"] == ["/$", "/static/"]
    assert [place for what, _, place in rules if what == "Disallow"] == ["/"]
    assert ask("/robots.txt/x").head.status == 404
