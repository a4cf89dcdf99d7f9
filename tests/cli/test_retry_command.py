"""`pypimirror retry`: which run it takes, what it says, how it ends."""

from __future__ import annotations

import json

import pytest

from pypimirror.pipeline.summary import COUNTS
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.simulator import IndexFile, Simulator, Status


@pytest.fixture
def bad(mirror: Mirror, simulator: Simulator) -> IndexFile:
    """A file that cannot be had, beside one that can."""
    file, _ = offer(simulator, "six", "1.0", "1.1")
    simulator.fault(file, Status(404))
    return file


def test_it_takes_the_newest_run_that_left_something_undone(
    run: Command, mirror: Mirror, simulator: Simulator, bad: IndexFile
) -> None:
    failed = run("sync", "--inline", "--json").json["run"]
    offer(simulator, "idna", "1.0")
    assert run("sync", "--inline", "idna").code == 0
    simulator.heal()
    outcome = run("retry", "--inline", "--json")
    assert outcome.code == 0
    assert f"Retrying 1 file of 1 project that failed in {failed}" in outcome.err
    document = outcome.json
    assert list(document) == ["run", "state", "counts", "seconds", "failures", "denied"]
    assert tuple(document["counts"]) == COUNTS["sync"]
    assert document["counts"]["files_downloaded"] == 1
    shown = run("runs", "show", "last", "--json").json
    assert (shown["run"], shown["retry_of"]) == (document["run"], failed)
    assert f"retry of {failed}" in run("runs", "show", "last").out


def test_what_fails_again_is_exit_1_and_told(run: Command, mirror: Mirror, bad: IndexFile) -> None:
    run("sync", "--inline")
    outcome = run("retry", "last", "--inline")
    assert outcome.code == 1
    assert bad.filename in outcome.out


@pytest.mark.parametrize("arguments", [[], ["last"]])
def test_nothing_to_retry_is_said_and_exit_0(
    run: Command, mirror: Mirror, simulator: Simulator, arguments: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    text = run("retry", *arguments, "--inline")
    assert (text.code, "Nothing to retry" in text.out) == (0, True)
    outcome = run("retry", *arguments, "--inline", "--json")
    assert outcome.code == 0
    assert outcome.json["run"] is None
    assert outcome.json["state"] == "completed"
    assert set(outcome.json["counts"].values()) == {0}
    assert len(run("runs", "--json").json["runs"]) == 1


def test_an_unknown_run_is_wrong_use(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    outcome = run("retry", "nosuchrun")
    assert outcome.code == 2
    assert "'pypimirror runs' lists them" in outcome.err


def test_a_verification_is_retried_as_one(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    broken, _ = offer(simulator, "six", "1.0", "1.1")
    run("sync", "--inline")
    good = mirror.path(broken).read_bytes()
    mirror.path(broken).write_bytes(b"x")
    failed = run("verify", "--json").json["run"]
    mirror.path(broken).write_bytes(good)
    outcome = run("retry", "--json")
    assert f"Verifying again what {failed} did not prove right" in outcome.err
    assert outcome.code == 0
    assert outcome.json["counts"]["files_checked"] == 1
    assert run("runs", "show", "last", "--json").json["command"] == "verify"
    assert "Nothing to retry" in run("retry").out


def test_a_run_of_another_command_is_not_retried(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    mirror.query("UPDATE runs SET command = 'adopt', state = 'failed'")
    assert "Nothing to retry" in run("retry").out
    outcome = run("retry", "last")
    assert outcome.code == 2
    assert "pypimirror adopt" in outcome.err


def test_a_file_that_waits_is_told_with_its_tries_in_its_status(
    run: Command, mirror: Mirror, bad: IndexFile
) -> None:
    for _ in range(2):
        run("sync", "--inline")
    third = run("sync", "--inline", "--json")
    assert third.code == 1
    (failure,) = third.json["failures"]
    assert failure["reason"] == "missing"
    assert "the next try is not before" in failure["message"]
    files = run("status", "six", "--json").json["projects"][0]["files"]
    tries = {file["file"]: file["tries"] for file in files}
    assert tries[bad.filename]["failed"] == 2
    assert tries[bad.filename]["next"] > 0
    assert "404" in tries[bad.filename]["last_error"]
    assert [tries for name, tries in tries.items() if name != bad.filename] == [None]
    assert json.dumps(files)
