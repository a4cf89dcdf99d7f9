"""A selection that changes takes effect at the next sync, both ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, offer, offer_sdist
from tests.simulator import Simulator
from tests.simulator.index import EPOCH


@pytest.mark.parametrize("first", [("six",), ("s*",)], ids=["named", "glob"])
def test_a_project_selected_later_is_fetched(
    mirror: Mirror, simulator: Simulator, first: tuple[str, ...]
) -> None:
    offer(simulator, "six", "1.0")
    (new,) = offer(simulator, "idna", "1.0")
    mirror.select(*first)
    mirror.sync()
    assert mirror.projects == ["six"]
    mirror.select(*first, "idna")
    mirror.sync()
    assert mirror.projects == ["idna", "six"]
    assert mirror.holds(new)


@pytest.mark.parametrize("second", [("six",), ("s*",)], ids=["named", "glob"])
def test_a_project_deselected_leaves_pages_and_disk(
    mirror: Mirror, simulator: Simulator, second: tuple[str, ...]
) -> None:
    offer(simulator, "six", "1.0")
    (gone,) = offer(simulator, "idna", "1.0")
    mirror.sync()
    mirror.select(*second)
    result = mirror.sync()
    assert result.state == "completed"
    assert result.counts["files_withdrawn"] == 1
    assert mirror.projects == ["six"]
    assert not mirror.has_page("idna")
    assert not mirror.path(gone).exists()


def test_a_deselected_project_stays_on_disk_for_the_grace_period(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    offer(simulator, "six", "1.0")
    (gone,) = offer(simulator, "idna", "1.0")
    mirror.sync()
    mirror.select("six")
    mirror.sync()
    assert not mirror.has_page("idna")
    assert mirror.holds(gone)
    mirror.select()
    mirror.sync()
    assert mirror.files("idna") == [gone.filename]
    assert simulator.downloads(gone.filename) == 1


def test_many_projects_may_be_deselected_without_the_deletion_guard(
    mirror: Mirror, simulator: Simulator
) -> None:
    for name in ("a", "b", "c", "six"):
        offer(simulator, name, "1.0")
    mirror.sync()
    mirror.select("six")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["six"]


def test_files_deselected_leave_and_files_selected_come_though_the_page_is_unchanged(
    mirror: Mirror, simulator: Simulator
) -> None:
    (wheel,) = offer(simulator, "six", "1.0")
    sdist = offer_sdist(simulator, "six", "1.0")
    mirror.select("six", files=["*.whl"])
    mirror.sync()
    assert mirror.files("six") == [wheel.filename]
    mirror.select("six", files=["*.tar.gz"])
    mirror.sync()
    assert mirror.files("six") == [sdist.filename]
    assert mirror.holds(sdist)
    assert not mirror.path(wheel).exists()
    mirror.select("six")
    mirror.sync()
    assert sorted(mirror.files("six")) == sorted([wheel.filename, sdist.filename])


def test_in_list_mode_a_changed_file_glob_reaches_unchanged_projects(
    mirror: Mirror, simulator: Simulator
) -> None:
    (wheel,) = offer(simulator, "six", "1.0")
    sdist = offer_sdist(simulator, "six", "1.0")
    mirror.sync()
    mirror.select(exclude_files=["*.whl"])
    mirror.sync()
    assert mirror.files("six") == [sdist.filename]
    assert not mirror.path(wheel).exists()


def test_a_requirement_takes_only_files_of_matching_versions_and_drops_their_versions(
    mirror: Mirror, simulator: Simulator
) -> None:
    old, new, pre = offer(simulator, "six", "1.0", "2.0", "2.1rc1")
    mirror.select("six>=2")
    mirror.sync()
    assert mirror.files("six") == [new.filename, pre.filename]
    assert mirror.page("six")["versions"] == ["2.0", "2.1rc1"]
    assert simulator.downloads(old.filename) == 0
    mirror.select("six<2")
    mirror.sync()
    assert mirror.files("six") == [old.filename]


def test_a_version_glob_in_a_requirement_is_no_glob_of_names(
    mirror: Mirror, simulator: Simulator
) -> None:
    _, new = offer(simulator, "six", "1.0", "2.5")
    mirror.select("six==2.*")
    mirror.sync()
    assert mirror.files("six") == [new.filename]
    assert simulator.count("/simple/") == 0


def test_a_file_never_fetched_is_forgotten_when_it_is_deselected(
    mirror: Mirror, simulator: Simulator
) -> None:
    from tests.simulator import Status

    offer(simulator, "six", "1.0")
    (bad,) = offer(simulator, "idna", "1.0")
    simulator.fault(bad, Status(500))
    assert mirror.sync().state == "incomplete"
    mirror.select("six")
    assert mirror.sync().state == "completed"
    assert mirror.state(bad.filename) is None


def test_a_project_deselected_before_its_first_page_leaves_the_disk_too(
    mirror: Mirror, simulator: Simulator
) -> None:
    """A run that dies between verify and publish leaves verified bytes that no page names."""
    from pypimirror.domain.model import Stage
    from pypimirror.pipeline import sequence

    class Die(KeyboardInterrupt):
        pass

    def die(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.PUBLISH:
            raise Die
        sequence.perform(run, stage, batch)

    offer(simulator, "six", "1.0")
    (gone,) = offer(simulator, "idna", "1.0")
    result = mirror.sync(work=lambda run: sequence.sync(run, die))
    assert result.state == "cancelled"
    assert mirror.holds(gone)
    mirror.select("six")
    mirror.sync()
    mirror.sync()
    assert not mirror.path(gone).exists()
    assert mirror.query("SELECT name FROM projects WHERE has_work") == []


def test_a_selection_given_back_before_the_next_sync_changes_nothing(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    mirror.select("idna")
    mirror.select()
    simulator.forget()
    mirror.sync()
    assert [request.status for request in simulator.requests] == [304]


def test_another_form_of_pages_replaces_the_old_one_everywhere(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.configure(publish={"formats": ["html"]})
    mirror.sync()
    assert not (mirror.root / "simple/six/index.v1_json").exists()
    mirror.configure(publish={"formats": ["json"]})
    mirror.sync()
    names = sorted(path for path in mirror.served() if path.startswith("simple"))
    assert names == ["simple/index.v1_json", "simple/six/index.v1_json"]


# Rules


DAY = 86400.0


def at(days: float) -> Callable[[Run], None]:
    """A sync that takes place so many days after the first file's upload."""

    def work(run: Run) -> None:
        sequence.sync(replace(run, now=EPOCH.timestamp() + days * DAY))

    return work


@pytest.mark.parametrize("projects", [["six"], []], ids=["named", "listed"])
def test_a_file_comes_and_goes_by_its_age_though_nothing_changes_upstream(
    mirror: Mirror, simulator: Simulator, projects: list[str]
) -> None:
    mirror.select(*projects, older_than="7d", younger_than="30d")
    (file,) = offer(simulator, "six", "1.0")
    for day, offered in ((1, []), (6, []), (8, [file.filename]), (29, [file.filename]), (31, [])):
        result = mirror.sync(work=at(day))
        assert result.state == "completed"
        assert mirror.files("six") == offered
        assert mirror.path(file).exists() == bool(offered)
    assert simulator.downloads(file.filename) == 1


def test_nothing_is_asked_for_before_time_changes_a_choice(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.select(older_than="7d")
    offer(simulator, "six", "1.0")
    mirror.sync(work=at(1))
    simulator.empty_log()
    mirror.sync(work=at(2))
    assert simulator.count("/simple/six/") == 0


def test_pages_without_upload_times_drop_nothing_that_is_known_to_be_old_enough(
    mirror: Mirror, simulator: Simulator
) -> None:
    """An index, or an alternate, that falls back to HTML tells no times."""
    mirror.select(older_than="7d")
    (old,) = offer(simulator, "six", "1.0")
    mirror.sync(work=at(8))
    simulator.formats = ("html",)
    for version, day in (("2.0", 9), ("3.0", 10)):
        offer(simulator, "six", version)
        mirror.sync(work=at(day))
        assert mirror.files("six") == [old.filename]


def test_rules_that_are_set_and_lifted_take_files_out_and_back_without_a_download(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    files = offer(simulator, "six", "1.0", "2.0rc1", "2.0", "3.0")
    mirror.sync()
    mirror.select(latest=1, prereleases=False, exclude_versions=["3.*"])
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [files[2].filename]
    mirror.select()
    mirror.sync()
    assert sorted(mirror.files("six")) == sorted(file.filename for file in files)
    assert [simulator.downloads(file.filename) for file in files] == [1, 1, 1, 1]


def test_the_versions_of_a_page_are_those_of_the_files_that_are_left(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0", "2.0", "3.0")
    mirror.select(latest=2)
    mirror.sync()
    assert mirror.page("six")["versions"] == ["2.0", "3.0"]


# What changes without a serial


def test_a_status_that_moves_no_serial_is_seen_within_the_recheck_time(
    mirror: Mirror, simulator: Simulator
) -> None:
    names = [f"project-{number}" for number in range(8)]
    for name in names:
        offer(simulator, name, "1.0")
    mirror.sync(work=at(0))
    for name in names:
        simulator.project(name).archive("done")
    archived: list[set[str]] = []
    for day in (0.1, 1, 2, 3, 4, 5, 6, 7, 8):
        assert mirror.sync(work=at(day)).state == "completed"
        pages = {name: mirror.page(name).get("project-status", {}) for name in names}
        archived.append({n for n, status in pages.items() if status.get("status") == "archived"})
    assert archived[0] == set()
    assert 0 < len(archived[1]) < len(names)  # a share in each run, not all at once
    assert archived == sorted(archived, key=len)
    assert archived[-1] == set(names)


def test_nothing_is_rechecked_where_that_is_switched_off(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.upstreams[0]["recheck"] = "0s"
    mirror.configure()
    offer(simulator, "six", "1.0")
    mirror.sync(work=at(0))
    simulator.project("six").archive()
    mirror.sync(work=at(1000))
    assert mirror.page("six")["project-status"]["status"] == "active"


def test_a_clock_that_was_set_back_stops_no_recheck(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync(work=at(100))
    simulator.project("six").archive()
    for day in (0, 5, 10):
        mirror.sync(work=at(day))
    assert mirror.page("six")["project-status"]["status"] == "archived"
