"""Whole lists: which projects a run looks at, and that a list alone never removes anything."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Problem, Reason
from pypimirror.download.protocol import ListResult
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, offer, offer_sdist, reasons
from tests.simulator import HtmlError, Simulator, Status


def test_an_empty_selection_mirrors_the_whole_list(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "Zope.Interface", "1.0")
    result = mirror.sync()
    assert result.counts["projects_seen"] == 2
    assert mirror.projects == ["six", "zope-interface"]


def test_with_serials_only_changed_projects_are_looked_at(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    offer(simulator, "six", "1.1")
    simulator.forget()
    result = mirror.sync()
    assert simulator.count("/simple/six/") == 1
    assert simulator.count("/simple/idna/") == 0
    assert result.counts["projects_seen"] == 2
    assert result.counts["projects_changed"] == 1


def test_an_unchanged_list_is_one_request(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    before = mirror.served()
    simulator.forget()
    result = mirror.sync()
    assert [(r.path, r.status) for r in simulator.requests] == [("/simple/", 304)]
    assert mirror.served() == before
    assert result.state == "completed"


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("formats", [("json",), ("html",)])
def test_without_serials_pages_are_compared_by_etag_or_digest(
    mirror: Mirror, simulator: Simulator, etags: bool, formats: tuple[str, ...]
) -> None:
    simulator.serials, simulator.etags, simulator.formats = False, etags, formats
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    before = mirror.served()
    idle = mirror.sync()
    assert idle.counts["projects_changed"] == idle.counts["pages_written"] == 0
    assert mirror.served() == before
    (new,) = offer(simulator, "six", "1.1")
    result = mirror.sync()
    assert result.counts["projects_changed"] == result.counts["files_downloaded"] == 1
    assert new.filename in mirror.files("six")


def test_without_serials_a_change_that_the_list_does_not_show_is_found(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Such a list stays the same, ETag and all, when a project gets a new file."""
    simulator.serials = False
    offer(simulator, "six", "1.0")
    mirror.sync()
    (new,) = offer(simulator, "six", "1.1")
    mirror.sync()
    assert new.filename in mirror.files("six")


@pytest.mark.parametrize("serials", [True, False])
def test_a_deleted_project_goes_once_its_own_page_is_gone(
    mirror: Mirror, simulator: Simulator, serials: bool
) -> None:
    simulator.serials = serials
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("six")
    result = mirror.sync()
    assert result.state == "completed"
    assert mirror.projects == ["idna"]
    assert not mirror.has_page("six")
    assert mirror.query("SELECT name FROM projects WHERE has_work OR needs_fetch") == []


def test_an_empty_list_removes_nothing(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    for project in simulator.index.projects.values():
        project.listed = False
    mirror.sync()
    assert mirror.projects == ["idna", "six"]
    assert mirror.holds(file)


def test_a_list_that_shrank_by_half_removes_nothing_whose_page_answers(
    mirror: Mirror, simulator: Simulator
) -> None:
    for number in range(6):
        offer(simulator, f"p{number}", "1.0")
    mirror.sync()
    for number in range(3):
        simulator.project(f"p{number}").listed = False
    result = mirror.sync()
    assert result.state == "completed"
    assert len(mirror.projects) == 6


@pytest.mark.parametrize(
    "fault", [Status(500), Status(404), HtmlError()], ids=["500", "404", "html"]
)
def test_a_list_that_cannot_be_read_stops_the_run_and_changes_nothing(
    mirror: Mirror, simulator: Simulator, fault: Status
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    before = mirror.served()
    offer(simulator, "six", "1.1")
    simulator.fault("/simple/", fault)
    result = mirror.sync()
    assert result.state == "failed"
    assert "sim0" in result.message
    assert "[[upstream]]" in result.message  # the way out
    assert result.failures, "the JSON document must say why, too"
    assert mirror.served() == before
    simulator.heal()
    assert mirror.sync().state == "completed"
    assert len(mirror.files("six")) == 2


@pytest.mark.parametrize("serials", [True, False])
def test_a_listed_project_without_a_page_is_a_stale_list_and_no_misspelling(
    mirror: Mirror, simulator: Simulator, serials: bool
) -> None:
    simulator.serials = serials
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    simulator.freeze()
    simulator.delete_project("idna")
    result = mirror.sync()
    assert result.state == "completed"
    assert mirror.projects == ["six"]
    assert mirror.sync().state == "completed"


def test_a_page_older_than_the_list_is_taken_and_looked_at_again_next_time(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.freeze("/simple/six/")
    (new,) = offer(simulator, "six", "1.1")
    offer(simulator, "idna", "1.1")
    result = mirror.sync()
    assert result.state == "completed"
    assert len(mirror.files("six")) == 1
    assert len(mirror.files("idna")) == 2
    simulator.thaw()
    simulator.forget()
    mirror.sync()
    assert simulator.count("/simple/six/") == 1
    assert simulator.count("/simple/idna/") == 0
    assert new.filename in mirror.files("six")


def test_a_page_newer_than_the_list_is_taken(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    offer(simulator, "six", "1.1")
    simulator.freeze("/simple/")
    offer(simulator, "six", "1.2")
    mirror.sync()
    assert len(mirror.files("six")) == 3
    simulator.thaw()
    assert mirror.sync().counts["projects_changed"] == 0


def test_a_serial_that_goes_backwards_is_looked_at_and_stops_nothing(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    (new,) = offer(simulator, "six", "1.1")
    offer(simulator, "idna", "1.0")
    simulator.project("six").serial = 7
    result = mirror.sync()
    assert result.state == "completed"
    assert new.filename in mirror.files("six")
    assert mirror.projects == ["idna", "six"]


def test_a_quarantined_project_is_not_deleted_and_offers_nothing(
    mirror: Mirror, simulator: Simulator
) -> None:
    """It vanishes from the list, and its page says why."""
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.project("six").quarantine("malware")
    result = mirror.sync()
    assert result.state == "completed"
    page = mirror.page("six")
    assert page["files"] == []
    assert page["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert mirror.holds(file), "withheld for now: no grace period runs"
    simulator.project("six").activate(moves_serial=True)
    mirror.sync()
    assert mirror.files("six") == [file.filename]
    assert simulator.downloads(file.filename) == 1


def test_a_quarantine_reaches_readers_even_while_the_deletion_guard_refuses(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    for name in ("a", "b"):
        offer(simulator, name, "1.0")
    mirror.sync()
    simulator.project("six").quarantine()
    simulator.delete_project("a")
    simulator.delete_project("b")
    assert mirror.sync().state == "failed"
    assert mirror.page("six")["files"] == []


def test_a_quarantined_release_is_taken_out(mirror: Mirror, simulator: Simulator) -> None:
    _, kept = offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.project("six").remove_release("1.0")
    mirror.sync()
    assert mirror.files("six") == [kept.filename]


def test_one_page_that_fails_stops_no_other_and_is_asked_again_though_the_list_stays(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    (file,) = offer(simulator, "idna", "1.0")
    simulator.fault("/simple/idna/", Status(500), nth=1)
    result = mirror.sync()
    assert result.state == "incomplete"
    assert mirror.projects == ["six"]
    assert mirror.sync().state == "completed"
    assert mirror.files("idna") == [file.filename]


def test_the_only_changed_page_failing_does_not_mean_that_no_upstream_answers(
    mirror: Mirror, simulator: Simulator
) -> None:
    """The list was answered, so other work (here: a file that failed before) must go on."""
    (late,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    simulator.fault(late, Status(500), nth=1)
    mirror.sync()
    offer(simulator, "idna", "1.1")
    simulator.fault("/simple/idna/", Status(500))
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {"idna": Reason.HTTP_STATUS}
    assert mirror.files("six") == [late.filename]


def test_a_failed_file_is_tried_again_though_the_list_is_unchanged(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    simulator.fault(file, Status(500), nth=1)
    assert mirror.sync().state == "incomplete"
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [file.filename]


def test_globs_read_the_list_and_take_what_they_match(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select("zope.*", "six", exclude=["zope-secret"])
    for name in ("zope.interface", "zope.event", "zope-secret", "zopeless", "six", "idna"):
        offer_sdist(simulator, name, "1.0")
    mirror.sync()
    assert mirror.projects == ["six", "zope-event", "zope-interface"]
    offer_sdist(simulator, "zope_schema", "1.0")
    mirror.sync()
    assert "zope-schema" in mirror.projects
    assert simulator.count("/simple/idna/") == simulator.count("/simple/zope-secret/") == 0


def test_a_glob_that_matches_nothing_is_told_by_each_run(
    mirror: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.select("zope.*", "/^acme-/", "zpoe.*", "six")
    offer(simulator, "zope.event", "1.0")
    offer(simulator, "six", "1.0")

    def told() -> list[str]:
        caplog.clear()
        assert mirror.sync().state == "completed"
        return [r.getMessage() for r in caplog.records if "matches no project" in r.getMessage()]

    for _ in range(2):  # the second time, the list is unchanged
        first, second = told()
        assert "select.projects: '/^acme-/' matches no project" in first
        assert "'zpoe.*'" in second
    offer(simulator, "acme-tools", "1.0")
    assert ["zpoe" in text for text in told()] == [True]


def test_of_a_list_that_cannot_be_read_no_glob_is_called_unmatched(
    mirror: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.select("zope.*", "six")
    offer(simulator, "six", "1.0")
    simulator.fault("/simple/", Status(500))
    mirror.sync()
    assert "matches no project" not in caplog.text


def test_a_disk_that_takes_no_list_is_named_and_no_upstream_is_blamed(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    before = mirror.served()
    offer(simulator, "six", "1.1")
    blocked = mirror.root / ".pypimirror/staging/list.sim0"
    blocked.mkdir()
    result = mirror.sync()
    assert result.state == "failed"
    assert [problem.reason for problem in result.failures] == [Reason.FOREIGN]
    assert str(blocked) in result.message
    assert "no upstream" not in result.message
    assert mirror.served() == before
    blocked.rmdir()
    assert mirror.sync().state == "completed"


@pytest.mark.parametrize("reason", [Reason.DISK, Reason.WORKER])
def test_what_is_wrong_here_comes_before_what_upstreams_answer(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, reason: Reason
) -> None:
    problem = Problem(reason, "/staging/list.sim0 cannot be written: no space.")
    monkeypatch.setattr(Run, "fetch", lambda *_: iter([ListResult(0, problem=problem)]))
    result = mirror.sync()
    assert (result.state, [each.reason for each in result.failures]) == ("failed", [reason])
    assert problem.message in result.message
    assert "no upstream" not in result.message


def test_a_run_that_dies_before_it_marked_what_is_missing_reads_the_list_again(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the list counts as read, and what it no longer names is never asked for."""
    from pypimirror.catalog.queries import projects

    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("idna")
    original = projects.to_look

    def die(connection: object, names: list[str]) -> None:
        if names:
            raise KeyboardInterrupt
        original(connection, names)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(projects, "to_look", die)
        assert mirror.sync().state == "cancelled"
    mirror.sync()
    assert mirror.projects == ["six"]
