"""Attestations (PEP 740): mirrored beside their files, and never in the way of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.catalog.states import LONGEST_WAIT
from pypimirror.pipeline.audit import unknown_files
from pypimirror.verify import attestations
from tests.corpus.build import make_provenance, make_wheel
from tests.mirror import Mirror, attest, offer, reasons
from tests.pipeline.audit.test_audit import verify
from tests.pipeline.test_backoff import later
from tests.simulator import IndexFile, Simulator


def held(mirror: Mirror, file: IndexFile) -> bytes | None:
    """What the page of a file leads to."""
    entries = {entry["filename"]: entry for entry in mirror.page(file.project.normalized)["files"]}
    if "provenance" not in entries[file.filename]:
        return None
    path = mirror.root / "simple" / file.project.normalized / entries[file.filename]["provenance"]
    content: bytes = path.read_bytes()
    return content


@pytest.fixture
def wheel(simulator: Simulator) -> IndexFile:
    (file,) = offer(simulator, "six", "1.0")
    return file


def test_attestations_are_kept_byte_for_byte(mirror: Mirror, wheel: IndexFile) -> None:
    body = attest(wheel)
    assert mirror.sync().state == "completed"
    assert held(mirror, wheel) == body
    assert mirror.path(wheel).with_name(f"{wheel.filename}.provenance").read_bytes() == body


def test_attestations_that_come_later_need_no_download_of_the_file(
    mirror: Mirror, simulator: Simulator, wheel: IndexFile
) -> None:
    mirror.sync()
    body = attest(wheel)
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert held(mirror, wheel) == body
    assert simulator.downloads(wheel.filename) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"\n",
        make_provenance("six-1.0-py3-none-any.whl", b"other bytes"),
        b" " * (attestations.MAX_SIZE + 1),
    ],
    ids=["not JSON", "empty", "of other bytes", "too large"],
)
def test_bad_attestations_hold_nothing_back_and_every_run_says_so(
    mirror: Mirror, wheel: IndexFile, body: bytes
) -> None:
    attest(wheel, body)
    for _ in range(3):
        result = mirror.sync()
        assert result.state == "incomplete"
        (reason,) = reasons(result.failures).values()
        assert reason in ("provenance-mismatch", "too-large", "bad-response")
        assert mirror.files("six") == [wheel.filename]
        assert held(mirror, wheel) is None
    body = attest(wheel)
    mirror.sync(work=later(LONGEST_WAIT))
    assert held(mirror, wheel) == body
    assert mirror.sync().failures == []


def test_missing_attestations_wait_longer_each_time_and_do_not_keep_a_project_open(
    mirror: Mirror, simulator: Simulator, wheel: IndexFile
) -> None:
    wheel.set(provenance=f"{simulator.root}/integrity/nowhere")
    for _ in range(2):
        assert reasons(mirror.sync().failures) == {wheel.filename: "missing"}
    simulator.forget()
    result = mirror.sync()
    assert reasons(result.failures) == {wheel.filename: "missing"}
    assert simulator.count("/integrity/*") == 0
    assert mirror.query("SELECT name FROM projects WHERE has_work") == []
    mirror.sync(retry=result.run)
    assert simulator.count("/integrity/*") == 1


def test_attestations_on_a_host_that_is_not_allowed_are_not_asked_for(
    mirror: Mirror, second: Simulator, wheel: IndexFile
) -> None:
    wheel.set(provenance=f"{second.root}/integrity/six")
    result = mirror.sync()
    assert reasons(result.failures) == {wheel.filename: "host-not-allowed"}
    assert mirror.files("six") == [wheel.filename]
    assert second.count() == 0


def test_switched_off_and_on_again_without_a_download(
    mirror: Mirror, simulator: Simulator, wheel: IndexFile
) -> None:
    body = attest(wheel)
    mirror.configure(publish={"provenance": False})
    assert mirror.sync().state == "completed"
    assert held(mirror, wheel) is None
    mirror.configure(publish={"provenance": True})
    assert mirror.sync().state == "completed"
    assert held(mirror, wheel) == body
    mirror.configure(publish={"provenance": False})
    mirror.sync()
    assert held(mirror, wheel) is None
    assert strangers(mirror) == []
    simulator.forget()
    mirror.configure(publish={"provenance": True})
    mirror.sync()
    assert held(mirror, wheel) == body
    assert simulator.count("/integrity/*") == 0


def test_attestations_that_the_upstream_drops_leave_the_page(
    mirror: Mirror, wheel: IndexFile
) -> None:
    attest(wheel)
    mirror.sync()
    wheel.set(provenance_body=None)
    assert mirror.sync().state == "completed"
    assert held(mirror, wheel) is None
    assert strangers(mirror) == []


def test_attestations_go_with_their_file_and_come_back_with_it(
    mirror: Mirror, simulator: Simulator, wheel: IndexFile
) -> None:
    body = attest(wheel)
    offer(simulator, "six", "2.0")
    mirror.configure(delete={"grace": "1h"})
    mirror.sync()
    wheel.remove()
    mirror.sync()
    beside = mirror.path(wheel).with_name(f"{wheel.filename}.provenance")
    assert beside.read_bytes() == body
    assert strangers(mirror) == []
    mirror.configure(delete={"grace": "0s"})
    mirror.sync()
    assert not beside.exists()
    (again,) = offer(simulator, "six", "1.0")
    attest(again)
    mirror.sync()
    assert held(mirror, again) == body


def test_attestations_of_bytes_that_were_replaced_are_replaced(
    mirror: Mirror, wheel: IndexFile
) -> None:
    attest(wheel)
    mirror.sync()
    mirror.configure(verify={"on_changed": "replace"})
    wheel.replace(make_wheel("six", "1.0", padding=9)[1])
    body = attest(wheel)
    assert mirror.sync().state == "completed"
    assert held(mirror, wheel) == body


def test_attestations_of_bytes_that_were_replaced_go_where_no_others_come(
    mirror: Mirror, wheel: IndexFile
) -> None:
    attest(wheel)
    mirror.sync()
    mirror.configure(verify={"on_changed": "replace"})
    wheel.replace(make_wheel("six", "1.0", padding=9)[1])
    assert reasons(mirror.sync().failures) == {wheel.filename: "provenance-mismatch"}
    assert held(mirror, wheel) is None
    assert strangers(mirror) == []


@pytest.mark.parametrize("harm", ["altered", "lost"])
def test_verify_finds_attestations_that_are_not_what_they_were_and_repairs_them(
    mirror: Mirror, simulator: Simulator, wheel: IndexFile, harm: str
) -> None:
    body = attest(wheel)
    mirror.sync()
    beside = mirror.path(wheel).with_name(f"{wheel.filename}.provenance")
    if harm == "lost":
        beside.unlink()
    else:
        beside.write_bytes(b"rot")
    assert reasons(verify(mirror).failures) == {wheel.filename: "provenance-mismatch"}
    simulator.forget()
    assert verify(mirror, repair=True).state == "completed"
    mirror.check()
    assert held(mirror, wheel) == body
    assert simulator.downloads(wheel.filename) == 0
    assert verify(mirror).failures == []


def test_a_stranger_by_the_name_of_attestations_is_one(mirror: Mirror, wheel: IndexFile) -> None:
    mirror.sync()
    mirror.path(wheel).with_name(f"{wheel.filename}.provenance").write_bytes(b"{}")
    assert len(strangers(mirror)) == 1


def strangers(mirror: Mirror) -> list[str]:
    """Files in the mirror root that the catalog does not know."""
    found: list[str] = []
    mirror.sync(work=lambda run: found.extend(problem.file for problem in unknown_files.find(run)))
    return found


def test_another_mirror_carries_them_on_from_the_tree_alone(
    mirror: Mirror, wheel: IndexFile, tmp_path: Path
) -> None:
    body = attest(wheel)
    mirror.sync()
    follower = Mirror(tmp_path / "follower")
    follower.upstreams = [{"name": "tree", "url": (mirror.root / "simple").as_uri() + "/"}]
    follower.configure()
    assert follower.sync().state == "completed"
    assert held(follower, wheel) == body


def test_attestations_that_wait_do_not_hold_up_the_repair_of_their_file(
    mirror: Mirror, simulator: Simulator, wheel: IndexFile
) -> None:
    wheel.set(provenance=f"{simulator.root}/integrity/nowhere")
    for _ in range(2):
        mirror.sync()
    mirror.path(wheel).write_bytes(b"rot")
    verify(mirror, repair=True)
    assert mirror.holds(wheel)
    assert mirror.files("six") == [wheel.filename]
