"""`[select] check`: a mirror from which an application does not install is a failure of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.catalog.marks import OPEN
from pypimirror.catalog.states import COMPLETED, INCOMPLETE
from pypimirror.domain.model import Reason, Stage
from pypimirror.pipeline import checking
from pypimirror.resolve import uv
from pypimirror.resolve.child import ResolveError
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


@pytest.fixture
def mirror(simulator: Simulator, tmp_path: Path) -> Mirror:
    """A mirror of an application that needs `base`, and checks itself."""
    offer(simulator, "base", "1.0")
    name, content = make_wheel("app", "1.0", requires=["base"])
    simulator.add_file("app", name, content, core_metadata=True)
    mirror = Mirror(tmp_path, simulator)
    mirror.select("app", python=["3.12"], platforms=["manylinux_2_28_x86_64", "any"])
    mirror.configure(select={"check": True})
    return mirror


def test_what_cannot_be_installed_fails_the_run_and_names_who_needs_it(mirror: Mirror) -> None:
    summary = mirror.sync()
    (problem,) = summary.failures
    assert summary.state == INCOMPLETE
    assert (problem.reason, problem.project) == (Reason.INCOMPLETE, "base")
    assert "needed by app 1.0" in problem.message
    assert "Python 3.12, manylinux_2_28_x86_64" in problem.message
    assert summary.stages == [Stage.PUBLISH]
    # It is no less missing in the next run, which finds nothing to do.
    assert mirror.sync().failures == [problem]


def test_what_is_complete_is_not_checked_again_until_a_page_changes(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    find = uv.find.__wrapped__
    monkeypatch.setattr(uv, "find", lambda: asked.append(1) or find())
    mirror.configure(select={"projects": ["app", "base"]})
    assert mirror.sync().state == COMPLETED
    assert len(asked) == 1
    assert mirror.sync().state == COMPLETED
    assert len(asked) == 1
    offer(simulator, "base", "2.0")
    assert mirror.sync().state == COMPLETED
    assert len(asked) == 2
    mirror.configure(select={"python": ["3.13"]})
    assert mirror.sync().state == COMPLETED
    assert len(asked) == 3


def test_a_requirements_file_is_checked_as_one(mirror: Mirror) -> None:
    (mirror.base / "wanted.txt").write_text("app\nbase>=2\n")
    mirror.configure(select={"projects": ["-r wanted.txt", "base==1.0"]})
    summary = mirror.sync()
    # The other failure is the upstream's: it has no such release.
    (problem,) = [each for each in summary.failures if each.reason is Reason.INCOMPLETE]
    assert problem.project == "base" and "base>=2" in problem.message
    assert "wanted.txt" in problem.message


def test_entries_of_projects_need_not_go_together(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "base", "2.0")
    mirror.configure(select={"projects": ["app", "base==1.0", "base==2.0", "ba*"]})
    assert mirror.sync().state == COMPLETED


def test_where_it_cannot_be_checked_the_run_says_so(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> uv.Uv:
        raise ResolveError("uv is needed for this and is not here")

    monkeypatch.setattr(uv, "find", absent)
    (problem,) = mirror.sync().failures
    assert problem.reason is Reason.CONFIGURATION and "uv is needed" in problem.message


def test_the_gate_is_closed_after_a_check_that_failed(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that went on beside the end of the run left a doubt about the mirror."""

    def fails() -> str:
        assert is_open()
        raise ResolveError("no uv")

    def is_open() -> bool:
        return bool(mirror.query("SELECT * FROM marks WHERE name = ?", OPEN.name))

    seen: list[bool] = []
    told = checking._not_checked
    monkeypatch.setattr(uv, "find", fails)
    monkeypatch.setattr(
        checking, "_not_checked", lambda *given: (seen.append(is_open()), told(*given))
    )
    mirror.configure(on_demand={"projects": ["*"]})
    assert mirror.sync().state == INCOMPLETE
    assert seen == [False]
