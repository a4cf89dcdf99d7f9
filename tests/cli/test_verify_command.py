"""`pypimirror verify`, and where `status` and `runs show` say how well each file is proven."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import pytest

from pypimirror.cli.errors import Exit
from pypimirror.domain.errors import LockedError
from pypimirror.storage.lock import hold
from tests.cli.conftest import Command, Start
from tests.corpus.build import make_sdist
from tests.mirror import Mirror, offer
from tests.pipeline.audit.test_audit import flip
from tests.simulator import IndexFile, Simulator, Status


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Files on each of three levels of proof; all mirrored."""
    found = offer(simulator, "six", "1.0")
    said: list[dict[str, Any]] = [{"digests": ("md5",)}, {"digests": None, "size": None}]
    for version, each in zip(["2.0", "3.0"], said, strict=True):
        found.append(simulator.add_file("six", *make_sdist("six", version), **each))
    assert mirror.sync().state == "completed"
    return found


# How it ends


def test_a_sound_mirror_ends_with_0(run: Command, held: list[IndexFile]) -> None:
    said = run("verify", "--json")
    assert (said.code, said.json["state"], said.json["failures"]) == (0, "completed", [])
    counts = said.json["counts"]
    assert counts["files_checked"] == 3
    assert counts["bytes_checked"] == sum(len(file.content) for file in held)
    assert "3 files checked" in run("verify").out
    assert run("verify", "--quiet").out == ""


def test_damage_ends_with_1_and_repair_with_0(
    run: Command, mirror: Mirror, held: list[IndexFile]
) -> None:
    flip(mirror.path(held[0]))
    said = run("verify", "--json")
    assert (said.code, said.json["state"]) == (Exit.INCOMPLETE, "incomplete")
    (failure,) = said.json["failures"]
    assert (failure["file"], failure["project"]) == (held[0].filename, "six")
    assert (failure["reason"], failure["stage"]) == ("digest-mismatch", "verify")
    told = run("verify")
    assert held[0].filename in told.out and "verify --repair" in told.out
    assert run("verify", "--quiet").out != ""
    said = run("verify", "--repair", "--json")
    assert (said.code, said.json["counts"]["repaired"]) == (0, 1)
    assert run("verify", "--json").code == 0


def test_what_cannot_be_repaired_ends_with_1(
    run: Command, mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    flip(mirror.path(held[0]))
    simulator.fault(f"*/{held[0].filename}", Status(404))
    assert run("verify", "--repair", "--json").code == Exit.INCOMPLETE
    assert held[0].filename not in mirror.files("six")


@pytest.mark.parametrize("option", ["--max-age", "--max-duration"])
def test_a_time_without_a_unit_is_wrong_use(
    run: Command, held: list[IndexFile], option: str
) -> None:
    said = run("verify", option, "7", "--json")
    assert said.code == Exit.USAGE
    assert option in said.json["error"]["message"] and "24h" in said.json["error"]["message"]


def test_quick_and_max_age_and_max_duration(
    run: Command, mirror: Mirror, held: list[IndexFile]
) -> None:
    assert run("verify", "--quick", "--json").json["counts"]["bytes_checked"] == 0
    assert run("verify", "--max-age", "7d", "--json").json["counts"]["files_checked"] == 0
    said = run("verify", "--max-duration", "0s", "--json")
    assert (said.code, said.json["counts"]["files_checked"]) == (0, 0)
    assert "--max-duration" in said.err


def test_only_one_run_at_a_time(run: Command, mirror: Mirror, held: list[IndexFile]) -> None:
    with hold(mirror.root / ".pypimirror" / "lock"):
        assert run("verify").code == Exit.LOCKED


def test_it_is_in_the_history(run: Command, mirror: Mirror, held: list[IndexFile]) -> None:
    flip(mirror.path(held[0]))
    name = run("verify", "--json").json["run"]
    newest = run("runs", "--json").json["runs"][0]
    assert (newest["run"], newest["command"], newest["state"]) == (name, "verify", "incomplete")
    shown = run("runs", "show", "last", "--json").json
    assert shown["failures"][0]["file"] == held[0].filename
    assert "verify by inline" in run("runs", "show", "last").out


def test_an_interrupt_leaves_a_record_and_a_sound_mirror(
    start: Start, run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    """While it repairs: the file has left its page, and the next sync fetches it."""
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    flip(mirror.path(file))
    held = simulator.hold("*.whl")
    process = start("verify", "--repair", "--json")
    held.wait_reached()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    held.release()
    assert process.returncode == Exit.INTERRUPTED
    assert run("runs", "show", "last", "--json").json["state"] == "cancelled"
    mirror.check()
    assert mirror.files("six") == []
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


@pytest.mark.thorough
def test_killed_while_it_repairs_no_page_links_to_the_bad_file(
    start: Start, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    flip(mirror.path(file))
    held = simulator.hold("*.whl")
    process = start("verify", "--repair")
    held.wait_reached()
    process.kill()
    process.communicate(timeout=30)
    mirror.check()
    held.release()
    wait_for_the_lock(mirror)
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


def wait_for_the_lock(mirror: Mirror) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with hold(mirror.root / ".pypimirror" / "lock"):
                return
        except LockedError:
            time.sleep(0.05)
    raise subprocess.TimeoutExpired("the lock", 10)


# How well each file is proven


def test_status_of_a_project_says_level_algorithm_source_and_time(
    run: Command, held: list[IndexFile]
) -> None:
    (project,) = run("status", "six", "--json").json["projects"]
    proofs = {file["file"]: file["proof"] for file in project["files"]}
    levels = [("digest", "sha256", "sim0"), ("digest", "md5", "sim0"), ("structure", None, None)]
    for file, (level, algorithm, source) in zip(held, levels, strict=True):
        proof = proofs[file.filename]
        assert (proof["level"], proof["algorithm"], proof["source"]) == (level, algorithm, source)
        assert abs(proof["at"] - time.time()) < 60
    lines = run("status", "six").out.splitlines()
    texts = ["digest sha256 by sim0", "digest md5 by sim0", "structure"]
    for file, text in zip(held, texts, strict=True):
        (line,) = [line for line in lines if file.filename in line]
        assert text in line
        at = time.localtime(proofs[file.filename]["at"])
        assert time.strftime("%Y-%m-%d %H:", at) in line


def test_a_check_moves_the_time_of_the_proof(
    run: Command, mirror: Mirror, held: list[IndexFile]
) -> None:
    mirror.query("UPDATE files SET proven_at = 0")
    assert run("verify").code == 0
    (project,) = run("status", "six", "--json").json["projects"]
    assert all(time.time() - file["proof"]["at"] < 60 for file in project["files"])


def test_what_is_not_proven_has_no_proof(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    simulator.fault("*.whl", Status(500))
    mirror.sync()
    (project,) = run("status", "six", "--json").json["projects"]
    assert [(f["file"], f["proof"]) for f in project["files"]] == [(file.filename, None)]


def test_runs_show_how_files_were_proven(
    run: Command, mirror: Mirror, held: list[IndexFile]
) -> None:
    shown = run("runs", "show", "last", "--json").json
    counted = {k: v for stage in shown["stages"] for k, v in stage["counts"].items()}
    assert (counted["proven_by_digest"], counted["proven_by_structure"]) == (2, 1)
    text = run("runs", "show", "last").out
    assert "proven_by_digest 2" in text and "proven_by_structure 1" in text


def test_runs_show_lists_each_file_that_a_run_proved_with_its_proof(
    run: Command, mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    first = run("runs", "show", "last", "--json").json
    assert "files" not in first, "they may be millions"
    (newer,) = offer(simulator, "six", "4.0")
    mirror.sync()
    expected = [("digest", "sha256", "sim0"), ("digest", "md5", "sim0"), ("structure", None, None)]
    shown = run("runs", "show", first["run"], "--files", "--json").json
    assert {key: shown[key] for key in first} == first
    found = {(f["project"], f["file"], f["state"]): f["proof"] for f in shown["files"]}
    for file, (level, algorithm, source) in zip(held, expected, strict=True):
        proof = found.pop(("six", file.filename, "published"))
        assert (proof["level"], proof["algorithm"], proof["source"]) == (level, algorithm, source)
        assert proof["at"] == first["started_at"]
    assert found == {}
    lines = run("runs", "show", first["run"], "--files").out.splitlines()
    (line,) = [line for line in lines if held[1].filename in line]
    assert "digest md5 by sim0, " in line
    shown = run("runs", "show", "last", "--files", "--json").json
    assert [file["file"] for file in shown["files"]] == [newer.filename]


def test_runs_show_lists_what_a_check_saw_to_be_right(
    run: Command, mirror: Mirror, held: list[IndexFile]
) -> None:
    flip(mirror.path(held[0]))
    run("verify")
    shown = run("runs", "show", "last", "--files", "--json").json
    assert [f["file"] for f in shown["files"]] == [file.filename for file in held[1:]]


def test_runs_show_of_a_run_that_proved_nothing_lists_no_files(
    run: Command, mirror: Mirror, held: list[IndexFile]
) -> None:
    mirror.sync()
    assert run("runs", "show", "last", "--files", "--json").json["files"] == []
