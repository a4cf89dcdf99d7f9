"""`pypimirror quarantine`: lists, explains, releases and clears."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest

from pypimirror.cli.display.output import set_up_logging, visible
from pypimirror.cli.errors import Exit
from pypimirror.storage.lock import hold
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.pipeline.verify.test_released import NONE, SLOPPY, sloppy
from tests.simulator import Corrupt, IndexFile, Simulator


@pytest.fixture
def bad(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Two wheels whose bytes were bad."""
    found = offer(simulator, "six", "1.0", "2.0")
    simulator.fault("*.whl", Corrupt())
    assert mirror.sync().state == "incomplete"
    return found


def kept(mirror: Mirror) -> list[Path]:
    return sorted((mirror.root / ".pypimirror" / "quarantine").iterdir())


def test_list(run: Command, bad: list[IndexFile]) -> None:
    found = run("quarantine", "--json").json["quarantine"]
    assert [entry["file"] for entry in found] == [file.filename for file in bad]
    assert {entry["reason"] for entry in found} == {"digest-mismatch"}
    said = run("quarantine")
    assert said.code == Exit.DONE
    for file in bad:
        assert file.filename in said.out


def test_list_of_nothing(run: Command, mirror: Mirror) -> None:
    mirror.sync()
    assert "Nothing is in quarantine" in run("quarantine").out
    assert run("quarantine", "--json").json == {"quarantine": []}


def test_explain_says_claim_observation_and_address(
    run: Command, simulator: Simulator, bad: list[IndexFile]
) -> None:
    content = bytes(bad[0].content)
    seen = hashlib.sha256(content[:-1] + bytes([content[-1] ^ 0xFF])).hexdigest()
    document = run("quarantine", "explain", bad[0].filename, "--json").json
    assert document["claimed"] == {"sha256": bad[0].sha256}
    assert document["observed"]["sha256"] == seen
    assert document["url"] == simulator.root + bad[0].path
    said = run("quarantine", "explain", str(document["id"])).out
    for text in (bad[0].filename, bad[0].sha256, seen, document["url"], document["run"]):
        assert text in said


def test_release_has_the_next_sync_verify_it_again(
    run: Command, mirror: Mirror, bad: list[IndexFile]
) -> None:
    document = run("quarantine", "release", bad[0].filename, "--json").json
    assert document == {"file": bad[0].filename, "released": True}
    assert mirror.state(bad[0].filename) == "fetched"
    assert mirror.files("six") == [], "and puts it onto no page"
    again = run("quarantine", "release", bad[1].filename)
    assert (again.code, "verifies it again" in again.out) == (Exit.DONE, True)
    assert mirror.sync().state == "incomplete"
    assert mirror.files("six") == []


def test_what_is_let_in_as_it_is_is_told_by_status(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    name, content = SLOPPY["a member differs"]
    simulator.add_file("six", name, content, **NONE)
    assert mirror.sync().state == "incomplete"
    assert run("status", "--json").json["released"] == 0
    said = run("quarantine", "release", name)
    assert (said.code, hashlib.sha256(content).hexdigest() in said.out) == (Exit.DONE, True)
    assert mirror.state(name) == "fetched", "and nothing is on a page yet"
    mirror.sync()
    assert run("status", "--json").json["released"] == 1
    assert (
        "1 file without proof, here because of 'pypimirror quarantine release'" in run("status").out
    )
    ((file,),) = [each["files"] for each in run("status", "six", "--json").json["projects"]]
    assert file["proof"]["level"] == "released"


def test_what_waits_for_a_better_proof_is_released_by_its_name(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    name, content = sloppy(lambda _, data: data, extra=b"not in RECORD")
    simulator.add_file("six", name, content, **NONE)
    assert mirror.sync().state == "incomplete"
    assert run("quarantine", "release", name, "--json").json == {"file": name, "released": True}
    assert mirror.sync().state == "completed"
    assert run("quarantine", "release", "other.whl").code == Exit.USAGE


def test_release_of_what_needs_no_bytes_says_so(
    run: Command, mirror: Mirror, simulator: Simulator, bad: list[IndexFile]
) -> None:
    simulator.heal()
    mirror.sync()
    assert run("quarantine", "release", bad[0].filename, "--json").json["released"] is False
    assert "nothing done" in run("quarantine", "release", bad[0].filename).out


def test_clear_one_and_all(run: Command, mirror: Mirror, bad: list[IndexFile]) -> None:
    document = run("quarantine", "clear", bad[0].filename, "--json").json
    assert document == {"cleared": [bad[0].filename]}
    assert len(kept(mirror)) == 2
    assert "Cleared 1" in run("quarantine", "clear").out
    assert kept(mirror) == []
    assert mirror.state(bad[0].filename) == "quarantined", "it will be tried again"


def test_options_before_the_name_of_the_command_count_too(
    run: Command, mirror: Mirror, tmp_path: Path, bad: list[IndexFile]
) -> None:
    """Else the configuration of this directory would be that of the mirror that is cleared."""
    other = Mirror(tmp_path / "other", *mirror.simulators)
    assert other.sync().state == "incomplete"
    document = run("quarantine", "--config", str(other.file), "--json", "clear").json
    assert len(document["cleared"]) == len(bad)
    assert (len(kept(other)), len(kept(mirror))) == (0, 4)


@pytest.mark.parametrize("command", ["explain", "release", "clear"])
def test_a_name_that_is_not_there_is_wrong_use(
    run: Command, mirror: Mirror, bad: list[IndexFile], command: str
) -> None:
    before = kept(mirror)
    said = run("quarantine", command, "no-such-1.0.tar.gz", "--json")
    assert said.code == Exit.USAGE
    assert "'pypimirror quarantine' lists the entries" in said.json["error"]["message"]
    assert kept(mirror) == before


@pytest.mark.parametrize("command", ["release", "clear"])
def test_nothing_is_changed_while_a_run_is_under_way(
    run: Command, mirror: Mirror, bad: list[IndexFile], command: str
) -> None:
    before = kept(mirror)
    with hold(mirror.root / ".pypimirror" / "lock"):
        assert run("quarantine", command, bad[0].filename).code == Exit.LOCKED
        assert run("quarantine").code == Exit.DONE
    assert kept(mirror) == before


def test_a_hostile_file_name_does_no_harm_to_the_terminal(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    name = "six-[red]1.0.zip"
    simulator.add_file("six", name, b"x", digests={"sha256": "0" * 64})
    mirror.sync()
    assert name in run("quarantine").out
    assert name in run("quarantine", "explain", name).out


def test_a_report_that_others_have_written_to_commands_no_terminal(
    run: Command, mirror: Mirror, bad: list[IndexFile]
) -> None:
    """The private directory may be on a disk that others write to."""
    reports = [path for path in kept(mirror) if path.suffix == ".json"]
    assert len(reports) == len(bad)
    for path in reports:
        report = json.loads(path.read_text())
        for key in ("file", "project", "url", "run", "message"):
            report[key] = f"{report[key]}\x1b[2J\x9b1m\x07"
        report["claimed"] = {"sha256\x1b[2J": "\x1b[2J"}
        path.write_text(json.dumps(report))
    listed = run("quarantine").out
    told = run("quarantine", "explain", reports[0].stem).out
    for said in (listed, told):
        assert r"\x1b[2J\x9b1m\x07" in said
        assert not set(said) & {"\x1b", "\x9b", "\x07"}


def test_lines_of_the_log_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(verbose=0, quiet=False)
    logging.getLogger("pypimirror").warning("read %s", "a\x1b[2J")
    assert r"WARNING  read a\x1b[2J" in capsys.readouterr().err
    assert visible("a\tb\nc") == "a\tb\nc"
