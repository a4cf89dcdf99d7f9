"""Whole syncs against one upstream whose projects are named: what comes in, what goes out."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline.summary import COUNTS
from tests.mirror import Mirror, offer, offer_sdist, reasons
from tests.simulator import Simulator, Status


@pytest.fixture(autouse=True)
def named(mirror: Mirror) -> None:
    mirror.select("six", "idna")


def test_a_first_sync_downloads_verifies_and_publishes(
    mirror: Mirror, simulator: Simulator
) -> None:
    wheels = offer(simulator, "six", "1.0", "1.1", requires_python=">=3.8")
    sdist = offer_sdist(simulator, "six", "1.0")
    other = offer(simulator, "idna", "3.0")
    result = mirror.sync()
    assert result.state == "completed"
    assert result.failures == []
    assert mirror.projects == ["idna", "six"]
    assert sorted(mirror.files("six")) == sorted(f.filename for f in [*wheels, sdist])
    assert all(mirror.holds(file) for file in [*wheels, sdist, *other])
    files = [*wheels, sdist, *other]
    assert result.counts == {
        "projects_seen": 2,
        "projects_changed": 2,
        "projects_needed": 0,
        "files_found": 4,
        "files_downloaded": 4,
        "files_linked": 0,
        "files_reused": 0,
        "files_verified": 4,
        "files_failed": 0,
        "files_denied": 0,
        "files_evicted": 0,
        "files_quarantined": 0,
        "files_withdrawn": 0,
        "pages_written": 6,
        "bytes_downloaded": sum(len(file.content) for file in files),
    }
    assert tuple(result.counts) == COUNTS["sync"]


def test_named_projects_are_asked_for_one_by_one_and_never_the_list(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    offer(simulator, "other", "1.0")
    mirror.sync()
    assert simulator.count("/simple/") == 0
    assert simulator.count("/simple/other/") == 0
    assert simulator.count("/simple/*/") == 2


def test_a_second_sync_asks_conditionally_downloads_nothing_and_writes_nothing(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    before = mirror.served()
    simulator.forget()
    result = mirror.sync()
    assert result.state == "completed"
    assert [request.status for request in simulator.requests] == [304, 304]
    assert mirror.served() == before
    assert result.counts["files_downloaded"] == result.counts["pages_written"] == 0
    assert mirror.query("SELECT count(*) AS n FROM projects WHERE has_work")[0]["n"] == 0


def test_without_validators_an_unchanged_page_is_told_by_its_digest(
    mirror: Mirror, simulator: Simulator
) -> None:
    simulator.etags = False
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    before = mirror.served()
    result = mirror.sync()
    assert simulator.count("*", status=304) == 0
    assert mirror.served() == before
    assert result.counts["projects_changed"] == 0


def test_a_new_file_is_added_and_what_is_here_is_not_downloaded_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    (old,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    page = mirror.served()["simple/idna/index.html"]
    (new,) = offer(simulator, "six", "1.1")
    result = mirror.sync()
    assert mirror.files("six") == [old.filename, new.filename]
    assert simulator.downloads(old.filename) == 1
    assert result.counts["files_downloaded"] == result.counts["files_reused"] == 1
    assert mirror.served()["simple/idna/index.html"] == page


def test_a_removed_file_leaves_page_and_disk_and_its_metadata_too(
    mirror: Mirror, simulator: Simulator
) -> None:
    gone, kept = offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    gone.remove()
    result = mirror.sync()
    assert result.counts["files_withdrawn"] == 1
    assert mirror.files("six") == [kept.filename]
    left = {path.name for path in mirror.path(kept).parent.iterdir()}
    assert left == {kept.filename, kept.filename + ".metadata"}
    assert mirror.state(gone.filename) == "withdrawn"


def test_a_removed_file_stays_on_disk_for_the_grace_period(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    gone, kept = offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    gone.remove()
    mirror.sync()
    assert mirror.files("six") == [kept.filename]
    assert mirror.holds(gone)
    mirror.query("UPDATE files SET withdrawn_at = withdrawn_at - 3601 WHERE withdrawn_at > 0")
    mirror.sync()
    assert not mirror.path(gone).exists()


@pytest.mark.parametrize("reason", ['<b>bad</b> & "worse"', True])
def test_a_yank_and_an_unyank_reach_the_page_without_a_download(
    mirror: Mirror, simulator: Simulator, reason: str | bool
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    file.yank(reason)
    mirror.sync()
    assert mirror.page("six")["files"][0]["yanked"] == reason
    file.unyank()
    mirror.sync()
    assert mirror.page("six")["files"][0]["yanked"] is False
    assert simulator.downloads(file.filename) == 1


def test_changed_metadata_reaches_the_page_without_a_download(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    file.set(requires_python=">=3.9,<4", upload_time="2020-02-02T02:02:02Z", extra={"future": [1]})
    simulator.project("six").extra["tracks"] = ["x"]
    mirror.sync()
    page = mirror.page("six")
    (said,) = page["files"]
    assert said["requires-python"] == ">=3.9,<4"
    assert said["upload-time"] == "2020-02-02T02:02:02Z"
    assert said["future"] == [1]
    assert page["tracks"] == ["x"]
    assert simulator.downloads(file.filename) == 1


def test_archiving_reaches_the_page_although_no_serial_moves(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    serial = mirror.page("six")["meta"]["_last-serial"]
    simulator.project("six").archive("moved elsewhere")
    mirror.sync()
    page = mirror.page("six")
    assert page["project-status"] == {"status": "archived", "reason": "moved elsewhere"}
    # Our page changed, so whoever follows this mirror must see a new serial.
    assert page["meta"]["_last-serial"] > serial


def test_a_deleted_project_leaves_root_index_page_and_disk(
    mirror: Mirror, simulator: Simulator
) -> None:
    (gone,) = offer(simulator, "six", "1.0")
    (kept,) = offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("six")
    result = mirror.sync()
    assert result.counts["files_withdrawn"] == 1
    assert mirror.projects == ["idna"]
    assert not mirror.has_page("six")
    assert not mirror.path(gone).parent.exists()
    assert mirror.holds(kept)


def test_a_deleted_project_is_done_with_afterwards(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("six")
    mirror.sync()
    mirror.sync()
    rows = mirror.query("SELECT name FROM projects WHERE has_work OR needs_fetch")
    assert [row["name"] for row in rows] == []


def test_a_project_that_comes_back_within_grace_is_verified_again_and_not_downloaded(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("six")
    mirror.sync()
    assert not mirror.has_page("six")
    simulator.add_file("six", file.filename, bytes(file.content), core_metadata=True)
    result = mirror.sync()
    assert mirror.files("six") == [file.filename]
    assert simulator.downloads(file.filename) == 1
    assert result.counts["files_verified"] == 1
    mirror.query("UPDATE files SET withdrawn_at = withdrawn_at - 3601 WHERE withdrawn_at > 0")
    mirror.sync()
    assert mirror.holds(file)


def test_bytes_that_rotted_within_grace_are_downloaded_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("six")
    mirror.sync()
    mirror.path(file).write_bytes(b"x" * len(file.content))
    simulator.add_file("six", file.filename, bytes(file.content), core_metadata=True)
    mirror.sync()
    assert mirror.holds(file)
    assert simulator.downloads(file.filename) == 2


def test_a_project_that_comes_back_after_grace_is_downloaded(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    simulator.delete_project("six")
    mirror.sync()
    assert not mirror.path(file).exists()
    simulator.add_file("six", file.filename, bytes(file.content), core_metadata=True)
    mirror.sync()
    assert mirror.holds(file)
    assert mirror.files("six") == [file.filename]
    assert simulator.downloads(file.filename) == 2


def test_a_digest_that_changed_is_refused_and_said_again_in_every_run(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    before = bytes(file.content)
    page = mirror.page("six")["files"]
    file.replace(before + b"changed")
    first = mirror.sync()
    simulator.forget()
    second = mirror.sync()
    for result in (first, second):
        assert result.state == "incomplete"
        assert reasons(result.failures) == {file.filename: Reason.DIGEST_CHANGED}
        assert result.counts["files_failed"] == 1
    # What is refused is asked for without conditions: it may be the page that is wrong.
    assert sorted(request.status for request in simulator.requests) == [200, 304]
    assert mirror.path(file).read_bytes() == before
    assert mirror.page("six")["files"] == page
    assert simulator.downloads(file.filename) == 0


def test_a_failing_file_costs_the_others_nothing_and_is_tried_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    bad, good = offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0")
    rule = simulator.fault(bad, Status(404))
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {bad.filename: Reason.MISSING}
    assert mirror.files("six") == [good.filename]
    assert mirror.projects == ["idna", "six"]
    simulator.heal(rule)
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [bad.filename, good.filename]
    assert simulator.downloads(good.filename) == 1


def test_a_failing_page_keeps_what_is_published_and_is_asked_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    (new,) = offer(simulator, "six", "1.1")
    simulator.fault("/simple/six/", Status(500), nth=1)
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {"six": Reason.HTTP_STATUS}
    assert len(mirror.files("six")) == 1
    mirror.sync()
    assert new.filename in mirror.files("six")


def test_a_name_that_no_upstream_has_is_reported(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {"idna": Reason.MISSING}
    assert "select.projects" in result.failures[0].message
    assert mirror.projects == ["six"]


def test_a_file_without_digest_that_is_no_archive_is_refused_and_reported(
    mirror: Mirror, simulator: Simulator
) -> None:
    file = simulator.add_file("six", "six-1.0.tar.gz", b"bytes", digests=None)
    offer(simulator, "idna", "1.0")
    result = mirror.sync()
    assert reasons(result.failures) == {file.filename: Reason.BAD_ARCHIVE}
    assert mirror.files("six") == []


def test_bad_bytes_go_to_quarantine_with_a_report_and_are_never_served(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    good = dict(file.digests)
    file.set(digests={"sha256": "0" * 64})
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {file.filename: Reason.DIGEST_MISMATCH}
    assert result.counts["files_quarantined"] == 1
    quarantine = mirror.root / ".pypimirror" / "quarantine"
    report, held = sorted(quarantine.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert held.read_bytes() == file.content
    assert "0" * 64 in report.read_text()
    assert file.filename in report.read_text()
    assert mirror.files("six") == []
    assert not mirror.path(file).exists()
    file.set(digests=good)
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [file.filename]


def test_announced_metadata_that_is_not_the_wheels_own_is_reported_and_not_announced(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0", core_metadata={"sha256": "0" * 64})
    offer(simulator, "idna", "1.0")
    result = mirror.sync()
    assert reasons(result.failures) == {file.filename: Reason.METADATA_MISMATCH}
    assert mirror.files("six") == [file.filename]
    assert "core-metadata" not in mirror.page("six")["files"][0]


def test_a_sync_of_one_project_leaves_the_others_alone(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    offer(simulator, "six", "1.1")
    offer(simulator, "idna", "1.1")
    simulator.forget()
    result = mirror.sync("Six")
    assert result.state == "completed"
    assert simulator.count("/simple/idna/") == 0
    assert len(mirror.files("six")) == 2
    assert len(mirror.files("idna")) == 1


def test_our_serials_follow_the_upstream_and_never_go_back(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    assert mirror.page("six")["meta"]["_last-serial"] == simulator.project("six").serial
    offer(simulator, "six", "1.1")
    simulator.project("six").serial = 5
    mirror.sync()
    assert mirror.page("six")["meta"]["_last-serial"] > 1000
    assert len(mirror.files("six")) == 2


def test_no_temporary_file_is_left_behind(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    (bad,) = offer(simulator, "idna", "1.0")
    simulator.fault(bad, Status(500))
    mirror.sync()
    private = mirror.root / ".pypimirror"
    assert list((private / "staging").iterdir()) == []
    assert {path.name for path in private.iterdir() if path.is_file()} <= {
        "lock", "catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "identity",
        "generation",
    }  # fmt: skip


def test_variants_of_wheels_are_left_out_and_harm_nobody(
    mirror: Mirror, simulator: Simulator
) -> None:
    """`packaging` raises on their names, and variants.json may change its bytes."""
    mirror.select("six")
    (file,) = offer(simulator, "six", "1.0")
    names = "six-1.0-variants.json", "six-1.0-py3-none-any-x86_64_v3.whl"
    odd = [simulator.add_file("six", name, bytes(file.content)) for name in names]
    for _ in range(2):
        assert mirror.sync().state == "completed"
        assert mirror.files("six") == [file.filename]
        odd[0].content = b"{}"
        simulator.project("six").touch()
