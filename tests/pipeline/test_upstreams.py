"""Several upstreams: the first that has a project owns it; never a merge, never a hand-over to the
next because one is down."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from pypimirror.storage.opening import has_pages
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer, reasons
from tests.pipeline.conftest import MakeMirror
from tests.simulator import Simulator, Status

LISTS = pytest.mark.parametrize("projects", [[], ["six", "idna"]], ids=["list", "named"])
SERIALS = pytest.mark.parametrize("serials", [True, False], ids=["serials", "no-serials"])


@LISTS
def test_the_first_upstream_that_has_a_project_owns_it_and_nothing_is_merged(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    (own,) = offer(simulator, "six", "1.0")
    (foreign,) = offer(second, "six", "9.9")
    offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second, select={"projects": projects})
    result = mirror.sync()
    assert result.state == "completed"
    assert mirror.files("six") == [own.filename]
    assert mirror.projects == ["idna", "six"]
    assert second.downloads(foreign.filename) == 0


@LISTS
@SERIALS
def test_an_unreachable_first_upstream_never_hands_its_projects_to_the_second(
    make_mirror: MakeMirror,
    simulator: Simulator,
    second: Simulator,
    projects: list[str],
    serials: bool,
) -> None:
    simulator.serials = second.serials = serials
    (own,) = offer(simulator, "six", "1.0")
    offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second, select={"projects": projects}, delete={"grace": "0s"})
    mirror.sync()
    offer(second, "six", "9.9")
    with simulator.refusing():
        result = mirror.sync()
        assert result.state in ("incomplete", "failed")
        assert result.failures
    assert mirror.files("six") == [own.filename]
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [own.filename]


@LISTS
def test_a_name_never_seen_is_not_taken_from_the_second_while_the_first_is_down(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    (own,) = offer(simulator, "six", "1.0")
    offer(second, "six", "9.9")
    offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second, select={"projects": projects})
    with simulator.refusing():
        mirror.sync()
    assert "six" not in mirror.projects
    mirror.sync()
    assert mirror.files("six") == [own.filename]


@SERIALS
def test_what_the_second_list_offered_while_the_first_was_down_comes_later(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, serials: bool
) -> None:
    """The second list must not count as read while its new names were passed over."""
    simulator.serials = second.serials = serials
    offer(simulator, "six", "1.0")
    (new,) = offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second)
    rule = simulator.fault("/simple/", Status(500))
    assert mirror.sync().state == "incomplete"
    assert "idna" not in mirror.projects
    simulator.heal(rule)
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert mirror.holds(new)


def test_the_seconds_own_projects_go_on_while_the_first_is_down(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second)
    mirror.sync()
    (new,) = offer(second, "idna", "1.1")
    with simulator.refusing():
        result = mirror.sync()
    assert result.state == "incomplete"
    assert new.filename in mirror.files("idna")
    assert mirror.projects == ["idna", "six"]


@LISTS
def test_when_no_upstream_answers_the_run_has_failed_and_says_the_way_out(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second, select={"projects": projects})
    mirror.sync()
    before = mirror.served()
    with simulator.refusing(), second.refusing():
        result = mirror.sync()
    assert result.state == "failed"
    assert "[[upstream]]" in result.message
    assert result.failures
    assert mirror.served() == before


@LISTS
def test_a_first_run_without_an_upstream_does_not_publish_an_empty_index(
    make_mirror: MakeMirror, simulator: Simulator, projects: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror = make_mirror(simulator, select={"projects": projects})
    with simulator.refusing():
        result = mirror.sync(sound=False)
    assert (result.state, result.counts["pages_written"]) == ("failed", 0)
    assert not has_pages(mirror.root, None)
    assert mirror.sync().state == "completed"
    assert has_pages(mirror.root, None)


@LISTS
def test_a_project_that_leaves_the_first_is_taken_over_by_the_second(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    (foreign,) = offer(second, "six", "9.9")
    mirror = make_mirror(simulator, second, select={"projects": projects}, delete={"grace": "0s"})
    mirror.sync()
    simulator.delete_project("six")
    mirror.sync()
    assert mirror.files("six") == [foreign.filename]


@LISTS
def test_a_taken_over_file_name_with_another_digest_is_refused(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    (own,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror = make_mirror(simulator, second, select={"projects": projects})
    mirror.sync()
    second.add_file("six", own.filename, b"evil")
    simulator.delete_project("six")
    result = mirror.sync()
    assert reasons(result.failures) == {own.filename: Reason.DIGEST_CHANGED}
    assert mirror.path(own).read_bytes() == own.content


@LISTS
def test_a_project_that_appears_in_the_first_is_the_firsts_from_then_on(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    offer(simulator, "idna", "1.0")
    offer(second, "six", "1.0")
    mirror = make_mirror(simulator, second, select={"projects": projects}, delete={"grace": "0s"})
    mirror.sync()
    (own,) = offer(simulator, "six", "2.0")
    mirror.sync()
    assert mirror.files("six") == [own.filename]


@LISTS
def test_the_same_page_at_another_upstream_is_read_again_as_its_links_lead_elsewhere(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, projects: list[str]
) -> None:
    """Equal bytes, equal ETags: what was not fetched from one must come from the other."""
    offer(simulator, "idna", "1.0")
    (file,) = offer(second, "six", "1.0")
    rule = second.fault(file, Status(500))
    mirror = make_mirror(simulator, second, select={"projects": projects})
    mirror.sync()
    page = second.project("six")
    offer(simulator, "six", "1.0")
    simulator.project("six").serial = page.serial
    simulator.file(file.filename).upload_time = file.upload_time
    result = mirror.sync()
    assert result.failures == []
    assert mirror.files("six") == [file.filename]
    assert simulator.downloads(file.filename) == 1
    second.heal(rule)


def test_projects_of_an_upstream_that_left_the_configuration_leave_too(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(second, "idna", "1.0")
    mirror = make_mirror(simulator, second, delete={"grace": "0s"})
    mirror.sync()
    assert mirror.projects == ["idna", "six"]
    mirror.upstreams.pop()
    mirror.configure()
    mirror.sync()
    assert mirror.projects == ["six"]


# Reserved names


@pytest.fixture
def guarded(make_mirror: MakeMirror, simulator: Simulator, second: Simulator) -> Mirror:
    """A mirror whose second upstream is the only one for names that begin with acme."""
    mirror = make_mirror(simulator, second, delete={"grace": "0s"})
    mirror.upstreams[1]["reserved"] = ["acme-*"]
    mirror.configure()
    return mirror


@pytest.mark.parametrize("projects", [[], ["acme-tools", "six"]], ids=["list", "named"])
@SERIALS
def test_a_reserved_name_is_never_taken_from_another_upstream(
    guarded: Mirror, simulator: Simulator, second: Simulator, projects: list[str], serials: bool
) -> None:
    simulator.serials = second.serials = serials
    (confused,) = offer(simulator, "acme-tools", "99.0")
    offer(simulator, "six", "1.0")
    guarded.select(*projects)
    guarded.sync()
    assert "acme-tools" not in guarded.projects  # ours does not have it yet
    (own,) = offer(second, "acme-tools", "1.0")
    guarded.sync()
    assert guarded.files("acme-tools") == [own.filename]
    assert guarded.files("six")
    assert simulator.downloads(confused.filename) == 0
    assert simulator.count("/simple/acme-tools/") == 0  # nobody learns the name


def test_a_name_that_is_reserved_later_leaves_the_upstream_that_had_it(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    mirror = make_mirror(simulator, second, delete={"grace": "0s"})
    offer(simulator, "acme-tools", "99.0")
    (own,) = offer(second, "acme-tools", "1.0")
    offer(second, "acme-other", "1.0")
    mirror.sync()
    assert mirror.files("acme-tools") != [own.filename]
    mirror.upstreams[1]["reserved"] = ["acme-*"]
    mirror.configure()
    mirror.sync()
    assert mirror.files("acme-tools") == [own.filename]
    assert mirror.projects == ["acme-other", "acme-tools"]


def test_no_other_upstream_is_asked_for_digests_of_a_reserved_project(
    guarded: Mirror, simulator: Simulator, second: Simulator
) -> None:
    guarded.upstreams[0]["reserved"] = ["acme-*"]
    del guarded.upstreams[1]["reserved"]
    guarded.configure()
    offer(simulator, "acme-tools", "1.0")
    offer(simulator, "six", "1.0")
    guarded.select("acme-tools", "six")
    guarded.sync()
    assert second.count("/simple/acme-tools/") == 0
    assert second.count("/simple/six/") == 1


# What is refused


def test_what_was_refused_of_a_project_is_silent_once_the_project_is_gone(
    make_mirror: MakeMirror, simulator: Simulator
) -> None:
    mirror = make_mirror(simulator, delete={"grace": "0s", "max_share": 1.0})
    offer(simulator, "six", "1.0", digests={"sha256": "short"})
    offer(simulator, "six", "2.0")
    offer(simulator, "idna", "1.0")
    assert mirror.sync().state == "incomplete"
    simulator.delete_project("six")
    assert mirror.sync().state == "completed"
    assert mirror.sync().state == "completed"


def test_a_file_that_changed_while_its_project_was_withheld_does_not_come_back(
    make_mirror: MakeMirror, simulator: Simulator
) -> None:
    mirror = make_mirror(simulator, delete={"grace": "0s", "max_share": 1.0})
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    simulator.project("six").quarantine()
    mirror.sync()
    assert mirror.path(file).exists()  # for the day on which the quarantine ends
    file.replace(make_wheel("six", "1.0", files={"other": b""})[1])
    simulator.project("six").activate(moves_serial=True)
    assert reasons(mirror.sync().failures) == {file.filename: "digest-changed"}
    assert mirror.files("six") == []
    assert not mirror.path(file).exists()
