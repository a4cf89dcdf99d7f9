"""Alternates: when the upstream, its list, one of its pages or one of its files fails or is
corrupt, they are tried in turn; and a corrupt answer never poisons another place's good one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypimirror.doctor import upstreams
from pypimirror.domain.model import Reason
from tests.corpus.build import make_sdist, make_wheel
from tests.integrity.watching import Watcher
from tests.links import LinkMirror, page, put
from tests.mirror import Mirror, offer, reasons
from tests.sampling import sample
from tests.simulator import (
    Corrupt,
    Fault,
    Hangup,
    HtmlError,
    Longer,
    Replace,
    Reset,
    Simulator,
    Status,
    Truncate,
)

FAULTS = [
    Status(404),
    Status(500),
    Corrupt(at=60),
    Truncate(at=50),
    Longer(),
    HtmlError(),
    Reset(after=50),
    Hangup(),
]
PAGE_FAULTS = [Status(500), Status(403), HtmlError(), Truncate(at=40), Replace(b"{}"), Hangup()]


def name_of(fault: Fault) -> str:
    return f"{type(fault).__name__}-{getattr(fault, 'status', '')}".rstrip("-")


@pytest.fixture
def alternate(second: Simulator) -> Simulator:
    """Another address of the same upstream."""
    return second


@pytest.fixture
def third() -> Iterator[Simulator]:
    """One more."""
    with Simulator() as running:
        yield running


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, alternate: Simulator) -> Mirror:
    return with_alternates(tmp_path, simulator, alternate)


def with_alternates(base: Path, simulator: Simulator, *alternates: Simulator) -> Mirror:
    found = Mirror(base, simulator, delete={"grace": "0s"})
    found.upstreams[0]["alternates"] = [alternate.url for alternate in alternates]
    found.configure()
    return found


def offer_both(simulators: list[Simulator], project: str, *versions: str, **said: Any) -> Any:
    offered = [offer(simulator, project, *versions, **said) for simulator in simulators]
    return offered[0]


def proof(mirror: Mirror, filename: str) -> tuple[int, str, str]:
    (row,) = mirror.query("SELECT * FROM files WHERE filename = ?", filename)
    return row["proof"], row["proof_algorithm"], row["proof_source"]


# Files


@pytest.mark.parametrize("digests", [("sha256",), ("md5",), None], ids=["sha256", "md5", "none"])
@pytest.mark.parametrize("fault", sample(FAULTS, *FAULTS[::4]), ids=name_of)
def test_a_file_that_fails_or_is_corrupt_is_taken_from_the_alternate(
    mirror: Mirror,
    simulator: Simulator,
    alternate: Simulator,
    fault: Fault,
    digests: tuple[str, ...] | None,
) -> None:
    made = make_sdist("six", "1.0", padding=300)
    said: dict[str, Any] = {"digests": digests} | ({} if digests else {"size": None})
    file = simulator.add_file("six", *made, **said)
    alternate.add_file("six", *made, **said)
    (fine,) = offer(simulator, "idna", "1.0")
    rule = simulator.fault(f"*/{file.filename}", fault)
    watcher = Watcher(mirror.root)
    with watcher.watching():
        result = mirror.sync()
    assert (result.state, result.failures, rule.hits > 0) == ("completed", [], True)
    assert watcher.wrong == []
    assert mirror.holds(file) and mirror.holds(fine)
    assert mirror.files("six") == [file.filename]


def test_the_command_ends_with_0(
    mirror: Mirror, simulator: Simulator, alternate: Simulator, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from pypimirror.cli import main

    (file,) = offer_both([simulator, alternate], "six", "1.0")
    simulator.fault(f"*/{file.filename}", Corrupt())
    monkeypatch.setattr("sys.argv", ["pypimirror", "sync", "--json", "--config", str(mirror.file)])
    assert main._run() == 0
    assert json.loads(capsys.readouterr().out)["failures"] == []
    assert mirror.holds(file)


@pytest.mark.parametrize("fault", [Corrupt(at=60), Truncate(at=50), Status(500)], ids=name_of)
def test_a_corrupt_alternate_never_poisons_the_others_good_copy(
    tmp_path: Path, simulator: Simulator, alternate: Simulator, third: Simulator, fault: Fault
) -> None:
    """The first two are bad, the third is good; then the alternates are bad, the owner good."""
    mirror = with_alternates(tmp_path, simulator, alternate, third)
    (file,) = offer_both([simulator, alternate, third], "six", "1.0")
    for bad in (simulator, alternate):
        bad.fault(f"*/{file.filename}", fault)
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)
    simulator.heal()
    third.fault("*.whl", fault)
    (later,) = offer_both([simulator, alternate, third], "six", "2.0")
    assert mirror.sync().state == "completed"
    assert mirror.holds(later)
    assert alternate.downloads(later.filename) == third.downloads(later.filename) == 0


def test_when_all_places_are_bad_the_owners_answer_is_reported_and_the_next_run_mends_it(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    (file,) = offer_both([simulator, alternate], "six", "1.0")
    (fine,) = offer_both([simulator, alternate], "six", "2.0")
    simulator.fault(f"*/{file.filename}", Status(404))
    alternate.fault(f"*/{file.filename}", Corrupt())
    result = mirror.sync()
    assert reasons(result.failures) == {file.filename: Reason.MISSING}
    assert mirror.files("six") == [fine.filename]
    alternate.heal()
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


def test_a_lying_page_of_an_alternate_does_not_change_what_the_bytes_must_be(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    """Both digest and bytes of the alternate agree with each other, and not with the owner."""
    (file,) = offer(simulator, "six", "1.0")
    other = make_wheel("six", "1.0", files={"six/evil.py": b""})
    alternate.add_file("six", *other)
    simulator.fault(f"*/{file.filename}", Status(500))
    result = mirror.sync()
    assert list(reasons(result.failures)) == [file.filename]
    assert mirror.state(file.filename) != "published"
    assert not mirror.path(file).exists()


def test_alternates_are_not_asked_while_nothing_fails(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    offer_both([simulator, alternate], "six", "1.0")
    mirror.sync()
    mirror.sync()
    assert alternate.requests == []


# Pages


@pytest.mark.parametrize("fault", PAGE_FAULTS, ids=name_of)
@pytest.mark.parametrize("projects", sample([[], ["six", "idna"]], []), ids=["list", "named"])
def test_a_page_that_fails_is_asked_at_the_alternates_in_turn(
    tmp_path: Path,
    simulator: Simulator,
    alternate: Simulator,
    third: Simulator,
    fault: Fault,
    projects: list[str],
) -> None:
    mirror = with_alternates(tmp_path, simulator, alternate, third)
    mirror.select(*projects)
    (file,) = offer_both([simulator, alternate, third], "six", "1.0")
    (fine,) = offer(simulator, "idna", "1.0")
    simulator.fault("/simple/six/", fault)
    alternate.fault("/simple/six/", Status(503))
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert mirror.holds(file) and mirror.holds(fine)
    assert [row["upstream"] for row in mirror.query("SELECT upstream FROM projects")] == [
        "sim0"
    ] * 2
    assert proof(mirror, file.filename) == (2, "sha256", third.url)
    assert proof(mirror, fine.filename) == (1, "sha256", "sim0")


def test_a_login_reaches_its_place_and_nothing_that_is_kept_or_told(
    tmp_path: Path, simulator: Simulator, alternate: Simulator, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = Mirror(tmp_path, simulator)
    for number, place in enumerate((simulator, alternate)):
        address = place.url.replace("://", f"://bob:secret{number}@")
        mirror.upstreams[0] |= {"alternates": [address]} if number else {"url": address}
    mirror.select("six", "nosuch")
    (file,) = offer_both([simulator, alternate], "six", "1.0")
    simulator.fault("/simple/six/", Status(500))
    told = [mirror.sync()]
    assert mirror.holds(file)
    assert alternate.downloads(file.filename) == 1
    assert proof(mirror, file.filename) == (2, "sha256", alternate.url)
    with simulator.refusing(), alternate.refusing():
        told.append(mirror.sync())
        findings = list(upstreams.check(mirror.config))
    assert [result.state for result in told] == ["incomplete", "failed"]
    assert "secret" not in f"{told} {findings} {capfd.readouterr()}"
    for table in ("files", "projects", "lists", "runs", "stages", "failures", "marks"):
        assert "secret" not in str(mirror.query(f"SELECT * FROM {table}"))


def test_after_a_page_of_an_alternate_the_upstream_is_asked_again_and_its_links_count(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    """Though neither list nor page have changed; else an alternate that is dropped from the
    configuration would leave links that lead nowhere."""
    (file,) = offer_both([simulator, alternate], "six", "1.0")
    simulator.fault("/simple/six/", Status(500), times=1)
    assert mirror.sync().state == "completed"
    assert alternate.downloads(file.filename) == 1
    assert len(alternate.find("/simple/six/")) == 1, "its link is known to be the alternate's"
    (row,) = mirror.query("SELECT url FROM files")
    assert row["url"].startswith(alternate.root)
    assert mirror.sync().state == "completed"
    (row,) = mirror.query("SELECT url FROM files")
    assert row["url"].startswith(simulator.root)
    assert simulator.downloads(file.filename) == 0
    simulator.forget()
    mirror.sync()
    assert not simulator.find("/simple/six/"), "and then it is known"


def test_an_alternate_that_lags_behind_removes_nothing_and_hands_nothing_over(
    tmp_path: Path, simulator: Simulator, alternate: Simulator, third: Simulator
) -> None:
    mirror = Mirror(tmp_path, simulator, third, delete={"grace": "0s", "max_share": 1.0})
    mirror.upstreams[0]["alternates"] = [alternate.url]
    mirror.configure()
    (old, new) = offer(simulator, "six", "1.0", "2.0")
    (idna,) = offer(simulator, "idna", "1.0")
    offer(alternate, "six", "1.0")
    offer(third, "idna", "9.9")
    mirror.sync()
    served = mirror.served()
    simulator.project("six").touch()
    with simulator.refusing():
        result = mirror.sync()
    assert {problem.project for problem in result.failures} <= {"idna"}
    assert mirror.files("six") == [old.filename, new.filename]
    assert mirror.files("idna") == [idna.filename]
    assert {name for name in served if name.endswith(".whl")} <= mirror.served().keys()


def test_that_a_project_is_missing_is_an_answer_and_no_alternate_is_asked(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    offer(alternate, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.select("six", "idna")
    result = mirror.sync()
    assert reasons(result.failures) == {"six": Reason.MISSING}
    assert alternate.requests == []


def test_a_page_that_no_place_can_give_is_reported_with_the_owners_answer(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    simulator.fault("/simple/six/", Replace(b"{}"))
    result = mirror.sync()
    assert reasons(result.failures) == {"six": Reason.BAD_PAGE}
    assert simulator.url in result.failures[0].message
    assert mirror.projects == ["idna"]


def test_a_page_of_links_has_alternates_too(
    tmp_path: Path, simulator: Simulator, alternate: Simulator
) -> None:
    made = make_sdist("six", "1.0")
    page(simulator, "/l", put(simulator, made))
    at = page(alternate, "/l", put(alternate, made))
    upstream = {"kind": "links", "url": f"{simulator.root}/l", "alternates": [at]}
    mirror = LinkMirror(tmp_path, upstream)
    simulator.fault("/l", Status(500))
    assert mirror.sync().state == "completed"
    assert mirror.has(made)


# Lists


@pytest.mark.parametrize("fault", PAGE_FAULTS, ids=name_of)
def test_a_list_that_fails_is_asked_at_the_alternates(
    mirror: Mirror, simulator: Simulator, alternate: Simulator, fault: Fault
) -> None:
    (file,) = offer_both([simulator, alternate], "six", "1.0")
    simulator.fault("/simple/", fault)
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert mirror.holds(file)
    assert alternate.downloads(file.filename) == 0, "only the list failed"


def test_an_upstream_that_is_down_altogether_is_mirrored_from_its_alternate(
    mirror: Mirror, simulator: Simulator, alternate: Simulator
) -> None:
    files = offer_both([simulator, alternate], "six", "1.0", "2.0")
    files += offer_both([simulator, alternate], "idna", "1.0")
    with simulator.refusing():
        result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert all(mirror.holds(file) for file in files)
    (later,) = offer_both([simulator, alternate], "six", "3.0")
    assert mirror.sync().state == "completed"
    assert mirror.holds(later)
    assert alternate.downloads(later.filename) == 0


def test_a_list_of_an_alternate_does_not_open_names_to_the_next_upstream(
    tmp_path: Path, simulator: Simulator, alternate: Simulator, third: Simulator
) -> None:
    """It may lack what is new at the upstream, which must not go to whoever else has the name."""
    mirror = Mirror(tmp_path, simulator, third)
    mirror.upstreams[0]["alternates"] = [alternate.url]
    mirror.configure()
    (own,) = offer(simulator, "six", "1.0")
    offer(third, "six", "9.9")
    offer_both([simulator, alternate], "idna", "1.0")
    simulator.fault("/simple/", Status(500), times=1)
    mirror.sync()
    assert mirror.projects == ["idna"]
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [own.filename]
