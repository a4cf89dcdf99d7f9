"""Serials and validators are believed by what they do, and no longer than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer, reasons
from tests.sampling import sample
from tests.simulator import NotModified, SetHeaders, Simulator, pages
from tests.simulator.index import Index, IndexProject

#: What a list and a page say in the place of a serial.
Lie = Callable[[int, str], Any]
LIES: dict[str, tuple[Lie, Lie]] = {
    "constant": (lambda n, _: 10**9, lambda n, _: 10**9),
    "constant text": (lambda n, _: "7", lambda n, _: "7"),
    "text": (lambda n, _: str(n), lambda n, _: str(n)),
    "floats": (lambda n, _: float(n), lambda n, _: n + 0.5),
    "negative": (lambda n, _: -n, lambda n, _: -n),
    "backwards": (lambda n, _: 10**6 - n, lambda n, _: 10**6 - n),
    "huge": (lambda n, _: 2**63 - 1 + n, lambda n, _: 10**400),
    "missing for some": (lambda n, name: n if name == "aa" else None, lambda n, _: n),
    "of the page alone": (lambda n, _: None, lambda n, _: 5),
    "0 in the list": (lambda n, _: 0, lambda n, _: n),
    "0 everywhere": (lambda n, _: 0, lambda n, _: 0),
    "another in the page": (lambda n, _: n + 1000, lambda n, _: 3),
    "no number": (lambda n, _: [n], lambda n, _: {"n": n}),
}


@pytest.mark.parametrize("name", sample(LIES, *list(LIES)[::3]))
def test_an_index_whose_serials_lie_is_mirrored_all_the_same(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    of_list, of_page = LIES[name]

    def json_list(index: Index, style: pages.Style) -> bytes:
        rows = [{"name": p.name, "_last-serial": of_list(p.serial, p.name)} for p in listed(index)]
        return pages.encode({"meta": {"api-version": "1.4"}, "projects": rows})

    def json_project(project: IndexProject, style: pages.Style) -> bytes:
        files = [pages.json_file(file, style) for file in project.shown_files]
        meta = {"api-version": "1.4", "_last-serial": of_page(project.serial, project.name)}
        return pages.encode({"meta": meta, "name": project.normalized, "files": files})

    listed = pages.listed
    monkeypatch.setattr(pages, "json_list", json_list)
    monkeypatch.setattr(pages, "json_project", json_project)
    simulator.fault("/simple/aa/", SetHeaders({"X-PyPI-Last-Serial": None}))
    simulator.fault("/simple/bb/", SetHeaders({"X-PyPI-Last-Serial": None}))
    offer(simulator, "aa", "1.0")
    (old,) = offer(simulator, "bb", "1.0")
    assert mirror.sync().state == "completed"
    for round_ in ("2.0", "3.0"):
        (new,) = offer(simulator, "aa", round_)
        assert mirror.sync().state == "completed"
        assert new.filename in mirror.files("aa")
    old.yank("bad")
    assert mirror.sync().state == "completed"
    assert mirror.page("bb")["files"][0]["yanked"] == "bad"


def test_a_list_that_is_never_modified_is_read_whole_in_the_end(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(simulator, "aa", "1.0")
    mirror.sync()
    simulator.fault("/simple/", NotModified())
    offer(simulator, "bb", "1.0")
    mirror.sync(sound=False)
    simulator.heal()
    mirror.query("UPDATE lists SET read_at = read_at - 86400")
    mirror.sync()
    assert mirror.projects == ["aa", "bb"]


def test_a_page_whose_serial_moved_is_asked_for_without_conditions(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "aa", "1.0")
    mirror.sync()
    (new,) = offer(simulator, "aa", "2.0")
    simulator.forget()
    mirror.sync()
    assert new.filename in mirror.files("aa")
    (asked,) = [r for r in simulator.requests if r.path == "/simple/aa/"]
    assert "if-none-match" not in asked.headers


@pytest.mark.parametrize("again", ["sync", "named", "retry"])
def test_what_makes_a_refusal_end_ends_it_though_the_page_stays_the_same(
    mirror: Mirror, simulator: Simulator, again: str
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    file.replace(make_wheel("six", "1.0", padding=99)[1])
    failed = mirror.sync()
    assert reasons(failed.failures) == {file.filename: "digest-changed"}
    mirror.configure(verify={"on_changed": "replace"})
    names = ("six",) if again == "named" else ()
    result = mirror.sync(*names, retry=failed.run if again == "retry" else None)
    assert result.state == "completed"
    assert mirror.holds(file)
