"""Promise 10: a mass deletion upstream stops before it is applied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from pypimirror.domain.model import Reason
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import IndexFile, Simulator


@pytest.fixture
def files(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """A mirror of five projects with two files each."""
    found = [file for n in range(5) for file in offer(simulator, f"p{n}", "1.0", "1.1")]
    mirror.sync()
    return found


def test_a_mass_deletion_is_refused_and_nothing_is_removed(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    for name in ("p0", "p1", "p2"):
        simulator.delete_project(name)
    result = mirror.sync()
    assert result.state == "failed"
    (problem,) = result.failures
    assert problem.reason is Reason.DELETION_GUARD
    assert "6 of 10 files" in problem.message
    assert "PYPIMIRROR_DELETE__MAX_SHARE" in problem.message, "the way out"
    assert result.counts["files_withdrawn"] == 0
    assert mirror.projects == [f"p{n}" for n in range(5)]
    assert all(mirror.path(file).exists() for file in files)


def test_what_is_new_is_published_although_the_guard_refuses(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    for name in ("p0", "p1", "p2"):
        simulator.delete_project(name)
    (new,) = offer(simulator, "p4", "1.2")
    (other,) = offer(simulator, "p9", "1.0")
    files[6].remove()  # of p3, which also gets a new file
    (third,) = offer(simulator, "p3", "1.2")
    result = mirror.sync()
    assert result.state == "failed"
    assert new.filename in mirror.files("p4")
    assert mirror.files("p9") == [other.filename]
    assert len(mirror.files("p3")) == 3
    assert third.filename in mirror.files("p3")
    assert mirror.projects == ["p0", "p1", "p2", "p3", "p4", "p9"]


def test_the_guard_refuses_again_until_the_limits_allow_it(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    for name in ("p0", "p1", "p2"):
        simulator.delete_project(name)
    for _ in range(2):
        assert mirror.sync().state == "failed"
    mirror.configure(delete={"max_share": 1.0})
    result = mirror.sync()
    assert result.state == "completed"
    assert result.counts["files_withdrawn"] == 6
    assert mirror.projects == ["p3", "p4"]
    assert not any(mirror.path(file).exists() for file in files[:6])


def test_a_deletion_that_is_taken_back_ends_the_refusal(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    kept = [simulator.index.projects[f"p{n}"] for n in range(3)]
    for name in ("p0", "p1", "p2"):
        del simulator.index.projects[name]
    simulator.index.serial += 1
    assert mirror.sync().state == "failed"
    for project in kept:
        simulator.index.projects[project.normalized] = project
        project.touch()
    result = mirror.sync()
    assert result.state == "completed"
    assert result.counts["files_downloaded"] == result.counts["files_withdrawn"] == 0


def test_deleting_one_project_never_trips_the_share(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    simulator.delete_project("p0")
    assert mirror.sync().state == "completed"
    assert "p0" not in mirror.projects


def test_the_count_trips_on_one_project_too(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    mirror.configure(delete={"max_count": 1})
    simulator.delete_project("p0")
    assert mirror.sync().state == "failed"
    assert "p0" in mirror.projects
    mirror.configure(delete={"max_count": 2})
    assert mirror.sync().state == "completed"


def test_a_change_of_form_while_the_guard_refuses_keeps_every_page_whole(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    mirror.configure(publish={"formats": ["html"]})
    mirror.sync()
    for name in ("p0", "p1", "p2"):
        simulator.delete_project(name)
    mirror.configure(publish={"formats": ["json"]})
    assert mirror.sync().state == "failed"
    assert mirror.projects == [f"p{n}" for n in range(5)]
    assert len(mirror.files("p0")) == 2


def test_much_that_the_upstream_withholds_is_taken_from_pages_told_and_offered_again(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    """It may be malware, so it is not held back; it may be a fault, so it is not silent."""
    for name in ("p0", "p1", "p2"):
        simulator.project(name).quarantine()
    result = mirror.sync()
    assert result.state == "incomplete"
    (problem,) = result.failures
    assert problem.reason is Reason.QUARANTINED_UPSTREAM
    assert "6 of 10 files, of 3 projects (p0 (2), p1 (2), p2 (2))" in problem.message
    assert [mirror.files(f"p{n}") for n in range(3)] == [[], [], []]
    assert all(mirror.path(file).exists() for file in files)

    assert mirror.sync().state == "completed", "it is told once"
    assert all(mirror.path(file).exists() for file in files), "whatever the grace is"

    for name in ("p0", "p1", "p2"):
        simulator.project(name).set_status("active", None, moves_serial=True)
    result = mirror.sync()
    assert result.state == "completed"
    assert result.counts["files_downloaded"] == 0
    assert [len(mirror.files(f"p{n}")) for n in range(5)] == [2] * 5


def empty(simulator: Simulator, name: str) -> None:
    project = simulator.project(name)
    project.files.clear()
    project.set_status("active", None, moves_serial=True)


@pytest.mark.parametrize("drop", [Simulator.delete_project, empty])
def test_what_is_withheld_first_and_dropped_then_is_a_deletion(
    mirror: Mirror,
    simulator: Simulator,
    files: list[IndexFile],
    drop: Callable[[Simulator, str], None],
) -> None:
    """Else two steps, each of them allowed, would take all bytes that no single one may."""
    names = ("p0", "p1", "p2")
    for name in names:
        simulator.project(name).quarantine()
    mirror.sync()
    for name in names:
        drop(simulator, name)
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "failed"
        assert "6 of 10 files" in result.message
        assert all(mirror.path(file).exists() for file in files)
    mirror.configure(delete={"max_share": 1.0, "grace": "24h"})
    assert mirror.sync().state == "completed"
    assert all(mirror.path(file).exists() for file in files), "its grace begins now"
    mirror.configure(delete={"grace": "0s"})
    assert mirror.sync().state == "completed"
    assert [mirror.path(file).exists() for file in files] == [False] * 6 + [True] * 4


def test_what_is_withheld_dropped_and_offered_again_needs_no_download(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    for name in ("p0", "p1", "p2"):
        simulator.project(name).quarantine()
    mirror.sync()
    kept = [simulator.index.projects.pop(name) for name in ("p0", "p1", "p2")]
    simulator.index.serial += 1
    assert mirror.sync().state == "failed"
    for project in kept:
        simulator.index.projects[project.normalized] = project
        project.set_status("active", None, moves_serial=True)
    result = mirror.sync()
    assert result.state == "completed"
    assert result.counts["files_downloaded"] == 0
    assert [len(mirror.files(f"p{n}")) for n in range(5)] == [2] * 5


def test_one_project_that_the_upstream_withholds_is_daily_life(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    simulator.project("p0").quarantine()
    assert mirror.sync().state == "completed"
    assert mirror.files("p0") == []
    simulator.delete_project("p0")
    assert mirror.sync().state == "completed"
    assert [mirror.path(file).exists() for file in files] == [False] * 2 + [True] * 8


def test_what_is_withheld_adds_nothing_to_what_is_deleted(
    mirror: Mirror, simulator: Simulator, files: list[IndexFile]
) -> None:
    """Each is held against the limits for itself."""
    mirror.configure(delete={"max_share": 0.4})
    for name in ("p0", "p1"):
        simulator.project(name).quarantine()
    for name in ("p2", "p3"):
        simulator.delete_project(name)
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["p0", "p1", "p4"]


CLAIMS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "yanked": ({"yanked": False}, {"yanked": ""}),
    "upload-time": ({"older_than": "3d"}, {"upload_time": "2999-01-01T00:00:00Z"}),
    "requires-python": ({"python": ["3.11"]}, {"requires_python": ">=4"}),
    "size": ({"max_file_size": "1 MiB"}, {"size": 10**9}),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_leaves_because_the_upstream_says_other_things_counts(
    mirror: Mirror, simulator: Simulator, claim: str
) -> None:
    select, then = CLAIMS[claim]
    mirror.configure(select=select)
    found = [file for n in range(5) for file in offer(simulator, f"p{n}", "1.0", "1.1")]
    for file in found:
        file.set(upload_time="2025-01-01T00:00:00Z")
    mirror.sync()
    for file in found[:6]:
        file.set(**then)
    for _ in range(2):
        assert mirror.sync().state == ("incomplete" if claim == "size" else "failed")
        assert sum(len(mirror.files(f"p{n}")) for n in range(5)) == 10
    marks = [file["yanked"] for file in mirror.page("p0")["files"]]
    assert marks == [claim == "yanked"] * 2, "its mark goes onto the page at once"
    for file in found[:6]:
        file.set(yanked=None, requires_python=None, size=len(file.content))
        file.set(upload_time="2025-01-01T00:00:00Z")
    assert mirror.sync().state == "completed"
    assert sum(len(mirror.files(f"p{n}")) for n in range(5)) == 10


def test_one_file_that_the_upstream_yanks_leaves_as_the_selection_says(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(select={"yanked": False})
    found = [file for n in range(5) for file in offer(simulator, f"p{n}", "1.0", "1.1")]
    mirror.sync()
    found[0].yank("bad")
    assert mirror.sync().state == "completed"
    assert mirror.files("p0") == [found[1].filename]


def test_what_leaves_by_the_configuration_alone_does_not_count(
    mirror: Mirror, simulator: Simulator
) -> None:
    found = [file for n in range(5) for file in offer(simulator, f"p{n}", "1.0", "1.1")]
    for file in found:
        file.yank("bad")
    mirror.sync()
    mirror.configure(select={"yanked": False})
    assert mirror.sync().state == "completed"
    assert not any(mirror.files(f"p{n}") for n in range(5))


@pytest.mark.parametrize("limit", [{"max_versions": 2}, {"max_project_size": "1 MiB"}])
def test_what_leaves_since_the_upstream_offers_more_counts(
    mirror: Mirror, simulator: Simulator, limit: dict[str, object]
) -> None:
    mirror.configure(select=limit)
    for n in range(5):
        offer(simulator, f"p{n}", "1.0", "1.1")
    mirror.sync()
    more = [file for n in range(5) for file in offer(simulator, f"p{n}", "2.0")]
    for file in more:
        file.set(size=10**9)
    for _ in range(2):
        assert mirror.sync().state == "failed"
        assert sum(len(mirror.files(f"p{n}")) for n in range(5)) == 10
    mirror.configure(select={next(iter(limit)): 1})
    for file in more:
        file.remove()
    assert mirror.sync().state == "completed", "now the configuration alone leaves it out"
    assert sum(len(mirror.files(f"p{n}")) for n in range(5)) == 0


@pytest.mark.parametrize("rule", [{"latest": 1}, {"younger_than": "3d", "at_least": 1}])
def test_what_a_new_release_takes_the_place_of_stays_until_that_is_here(
    mirror: Mirror, simulator: Simulator, rule: dict[str, object]
) -> None:
    """Else a release that nobody can fetch would leave every page without a file."""
    mirror.configure(select=rule)
    old = [file for n in range(3) for file in offer(simulator, f"p{n}", "1.0")]
    for file in old:
        file.set(upload_time="2025-01-01T00:00:00Z")
    mirror.sync()
    new = [file for n in range(3) for file in offer(simulator, f"p{n}", "2.0")]
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    true = dict(new[0].digests)
    new[0].set(digests={"sha256": "ab" * 32})
    for file in new:
        file.set(upload_time=now)
    for _ in range(2):
        result = mirror.sync()
        assert [mirror.files(f"p{n}") for n in range(3)] == [
            [old[0].filename],
            [new[1].filename],
            [new[2].filename],
        ]
        assert [failure.file for failure in result.failures] == [new[0].filename]
        simulator.project("p0").touch()  # its page is read again, and nothing is new there
    new[0].set(digests=true)
    assert mirror.sync().state == "completed"
    assert mirror.files("p0") == [new[0].filename]


@pytest.fixture(params=["replaced", "given late"])
def other_digests(
    mirror: Mirror, simulator: Simulator, request: pytest.FixtureRequest
) -> list[IndexFile]:
    """A mirror of five projects whose files get digests that none of their bytes have."""
    late = {"digests": None, "core_metadata": None} if request.param == "given late" else {}
    found = [f for n in range(5) for f in offer(simulator, f"p{n}", "1.0", "1.1", **late)]
    mirror.configure(verify={"on_changed": "refuse" if late else "replace"})
    assert mirror.sync().state == "completed"
    for file in found:
        file.set(digests={"sha256": "ab" * 32})
    return found


def test_files_that_get_other_digests_en_masse_stay_on_their_pages(
    mirror: Mirror, other_digests: list[IndexFile]
) -> None:
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        assert {problem.reason for problem in result.failures} == {Reason.DELETION_GUARD}
        assert {problem.file for problem in result.failures} == {f.filename for f in other_digests}
        assert "PYPIMIRROR_DELETE__MAX_SHARE" in result.failures[0].message, "the way out"
        assert [len(mirror.files(f"p{n}")) for n in range(5)] == [2] * 5


def test_files_that_get_other_digests_are_replaced_once_the_limits_allow_it(
    mirror: Mirror, simulator: Simulator, other_digests: list[IndexFile]
) -> None:
    for file in other_digests:
        version = file.filename.split("-")[1]
        file.replace(make_wheel(file.project.name, version, padding=99)[1])
    assert mirror.sync().state == "incomplete"
    mirror.configure(delete={"max_share": 1.0})
    assert mirror.sync().state == "completed"
    assert all(mirror.holds(file) for file in other_digests)


def test_files_of_one_project_are_replaced_whatever_their_share_but_not_beyond_the_count(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(verify={"on_changed": "replace"}, delete={"max_count": 1})
    first, second = offer(simulator, "six", "1.0", "1.1")
    mirror.sync()
    for file in (first, second):
        file.replace(make_wheel("six", file.filename.split("-")[1], padding=99)[1])
    assert mirror.sync().state == "incomplete"
    assert len(mirror.files("six")) == 2
    mirror.configure(delete={"max_count": 2})
    assert mirror.sync().state == "completed"
    assert mirror.holds(first) and mirror.holds(second)
