"""`[delete] keep`: what the upstream deletes stays, marked so that installers take it only where it
is pinned; and nothing stays that the upstream withholds, or that nobody selects.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pypimirror.catalog.states import Cause
from pypimirror.cli.actions import history
from pypimirror.domain.model import ProjectStatus, Reason
from pypimirror.pipeline.preview.explain import explain
from tests.mirror import Mirror, offer
from tests.simulator import IndexFile, Simulator, Status


@pytest.fixture
def keeping(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror that keeps what is deleted, with two projects of two releases."""
    offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0", "1.1")
    mirror.configure(delete={"keep": True, "grace": "0s", "max_share": 0.5})
    mirror.sync()
    return mirror


def first(simulator: Simulator, project: str) -> IndexFile:
    return simulator.project(project).files[0]


def marks(mirror: Mirror, project: str) -> dict[str, bool]:
    """Which files a page has, and whether each is marked as deleted."""
    return {
        file["filename"]: "deleted upstream" in str(file["yanked"])
        for file in mirror.page(project)["files"]
    }


def test_a_deleted_file_stays_with_a_mark_and_its_version(
    keeping: Mirror, simulator: Simulator
) -> None:
    gone = first(simulator, "six")
    gone.remove()
    planned = keeping.plan()
    assert planned.withdraw == []
    assert list(planned.publish) == ["six"]
    for _ in range(2):
        result = keeping.sync()
        assert (result.state, result.counts["files_withdrawn"]) == ("completed", 0)
        assert marks(keeping, "six") == {
            "six-1.0-py3-none-any.whl": True,
            "six-1.1-py3-none-any.whl": False,
        }
        assert keeping.holds(gone)
        assert set(keeping.page("six")["versions"]) == {"1.0", "1.1"}
    html = (keeping.root / "simple" / "six" / "index.html").read_text()
    assert html.count("data-yanked") == 1


@pytest.mark.parametrize("select", [[], ["*"], ["six", "idna"]])
def test_a_deleted_project_stays_with_a_mark_and_is_asked_for_no_more(
    keeping: Mirror, simulator: Simulator, select: list[str]
) -> None:
    keeping.select(*select)
    keeping.sync()
    serial = keeping.page("six")["meta"]["_last-serial"]
    simulator.delete_project("six")
    result = keeping.sync()
    # What somebody has named is told once; from then on it is known.
    assert result.state == ("incomplete" if "six" in select else "completed")
    assert all(marks(keeping, "six").values())
    assert keeping.projects == ["idna", "six"]
    assert keeping.page("six")["meta"]["_last-serial"] > serial
    simulator.forget()
    assert keeping.sync().state == "completed"
    assert all(marks(keeping, "six").values())
    if "six" not in select:
        assert simulator.count("/simple/six/") == 0


def test_what_is_offered_again_loses_the_mark(keeping: Mirror, simulator: Simulator) -> None:
    rule = simulator.fault("/simple/six/", Status(404))
    simulator.project("six").touch()
    keeping.sync()
    assert all(marks(keeping, "six").values())
    simulator.heal(rule)
    simulator.forget()
    simulator.project("six").touch()
    assert keeping.sync().state == "completed"
    assert not any(marks(keeping, "six").values())
    assert simulator.count("/files/*") == 0, "its bytes were here"


def test_the_reason_of_an_earlier_yank_is_kept_too(keeping: Mirror, simulator: Simulator) -> None:
    file = first(simulator, "six")
    file.set(yanked="broken on Tuesdays")
    keeping.sync()
    file.remove()
    keeping.sync()
    (said,) = [f["yanked"] for f in keeping.page("six")["files"] if f["yanked"]]
    assert "deleted upstream" in said
    assert "broken on Tuesdays" in said


def test_what_is_quarantined_is_not_kept_even_once_it_is_deleted(
    keeping: Mirror, simulator: Simulator
) -> None:
    gone = first(simulator, "six")
    gone.remove()
    keeping.sync()
    simulator.project("six").set_status(ProjectStatus.QUARANTINED, moves_serial=True)
    keeping.sync()
    assert keeping.files("six") == []
    simulator.delete_project("six")
    keeping.sync()
    assert keeping.projects == ["idna"]
    assert not keeping.path(gone).exists()


def test_what_is_kept_is_mirrored_no_longer_than_it_is_selected(
    keeping: Mirror, simulator: Simulator
) -> None:
    gone = first(simulator, "six")
    gone.remove()
    simulator.delete_project("idna")
    keeping.configure(delete={"max_share": 1.0})
    keeping.sync()
    keeping.configure(select={"exclude": ["six==1.0", "idna==1.1"]})
    assert keeping.sync().state == "completed"
    assert keeping.files("six") == ["six-1.1-py3-none-any.whl"]
    assert keeping.files("idna") == ["idna-1.0-py3-none-any.whl"]
    assert not keeping.path(gone).exists()


def test_a_deleted_release_takes_no_place_of_those_that_are_offered(
    keeping: Mirror, simulator: Simulator
) -> None:
    keeping.configure(select={"latest": 1})
    keeping.sync()
    newest = simulator.project("six").files[1]
    newest.remove()
    keeping.sync()
    assert set(keeping.files("six")) == {"six-1.0-py3-none-any.whl", newest.filename}
    offer(simulator, "six", "2.0")
    keeping.sync()
    assert keeping.files("six") == ["six-2.0-py3-none-any.whl"]


def test_the_guard_counts_what_would_be_marked(keeping: Mirror, simulator: Simulator) -> None:
    keeping.configure(delete={"max_share": 0.1})
    rules = [simulator.fault(f"/simple/{name}/", Status(404)) for name in ("six", "idna")]
    for name in ("six", "idna"):
        simulator.project(name).touch()
    for _ in range(2):
        result = keeping.sync()
        assert result.state == "failed"
        assert "or marked" in (result.message or "")
        assert not any(marks(keeping, "six").values())
    for rule in rules:
        simulator.heal(rule)
    assert keeping.sync().state == "completed"
    assert not any(marks(keeping, "six").values())


def test_switched_on_it_keeps_what_the_guard_held_back(
    keeping: Mirror, simulator: Simulator
) -> None:
    keeping.configure(delete={"keep": False, "max_share": 0.1})
    keeping.sync()
    simulator.delete_project("six")
    first(simulator, "idna").remove()
    assert keeping.sync().state == "failed"
    keeping.configure(delete={"keep": True, "max_share": 1.0})
    assert keeping.sync().state == "completed"
    assert keeping.projects == ["idna", "six"]
    assert sorted(marks(keeping, "idna").values()) == [False, True]
    assert all(marks(keeping, "six").values())


def test_switched_off_all_that_was_kept_leaves(keeping: Mirror, simulator: Simulator) -> None:
    gone = first(simulator, "idna")
    simulator.delete_project("six")
    gone.remove()
    keeping.configure(delete={"max_share": 1.0})
    keeping.sync()
    keeping.configure(delete={"keep": False, "max_share": 0.1})
    assert keeping.sync().state == "failed", "that is a mass deletion"
    keeping.configure(delete={"max_share": 1.0})
    assert keeping.sync().state == "completed"
    assert keeping.projects == ["idna"]
    assert keeping.files("idna") == ["idna-1.1-py3-none-any.whl"]
    assert not keeping.path(gone).exists()
    assert keeping.query("SELECT id FROM files WHERE kept IS NOT NULL") == []


def test_a_release_that_is_named_and_kept_is_not_missed(
    keeping: Mirror, simulator: Simulator
) -> None:
    keeping.select("six==1.0", "idna")
    assert keeping.sync().state == "completed"
    first(simulator, "six").remove()
    keeping.sync()
    simulator.project("six").touch()
    assert keeping.sync().state == "completed"
    assert marks(keeping, "six") == {"six-1.0-py3-none-any.whl": True}


def test_other_bytes_under_a_kept_name_are_refused(keeping: Mirror, simulator: Simulator) -> None:
    gone = first(simulator, "six")
    before = bytes(gone.content)
    gone.remove()
    keeping.sync()
    simulator.add_file("six", gone.filename, before + b"\0")
    result = keeping.sync()
    assert {p.reason for p in result.failures} == {Reason.DIGEST_CHANGED}
    assert keeping.path(gone).read_bytes() == before
    assert marks(keeping, "six")[gone.filename]


def test_what_only_led_to_the_upstream_cannot_be_kept(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0", "1.1")
    mirror.configure(delete={"keep": True}, select={"metadata_only": ["six"]})
    mirror.sync()
    first(simulator, "six").remove()
    mirror.sync()
    assert mirror.files("six") == ["six-1.1-py3-none-any.whl"]


def test_status_and_explain_tell_what_is_kept(
    keeping: Mirror, simulator: Simulator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first(simulator, "idna").remove()
    simulator.delete_project("six")
    keeping.configure(delete={"max_share": 1.0})
    keeping.sync()
    history.status(keeping.config, [], as_json=True)
    assert json.loads(capsys.readouterr().out)["kept"] == {"files": 3, "projects": 2}
    history.status(keeping.config, [], as_json=False)
    assert "3 files of 2 projects stay here" in capsys.readouterr().out
    history.status(keeping.config, ["six"], as_json=True)
    (project,) = json.loads(capsys.readouterr().out)["projects"]
    assert project["kept"] is not None
    assert all(file["kept"] is not None for file in project["files"])
    for name in ("six", "idna"):
        told = explain(keeping.config, name)
        kept = [file for file in told.files if file.verdict.rule == "delete.keep"]
        assert len(kept) == (2 if name == "six" else 1)
        assert all(file.verdict.selected and file.state == "published" for file in kept)
    assert explain(keeping.config, "six").verdict.rule == "delete.keep"


def test_without_it_what_is_deleted_goes(keeping: Mirror, simulator: Simulator) -> None:
    keeping.configure(delete={"keep": False})
    first(simulator, "six").remove()
    keeping.sync()
    assert keeping.files("six") == ["six-1.1-py3-none-any.whl"]
    assert keeping.query("SELECT id FROM files WHERE removal_cause = ?", Cause.KEPT) == []
