"""What the commands print and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror import __version__
from pypimirror.catalog.queries import runs
from pypimirror.cli.errors import OF_STATE, Exit
from pypimirror.pipeline.summary import COUNTS
from pypimirror.select import patterns
from tests.cli.conftest import Command
from tests.mirror import Mirror, listing, offer
from tests.simulator import Simulator, Status


def test_exit_codes_are_those_of_the_design() -> None:
    assert {code.name: code.value for code in Exit} == {
        "DONE": 0,
        "INCOMPLETE": 1,
        "USAGE": 2,
        "STOPPED": 3,
        "LOCKED": 4,
        "INTERRUPTED": 130,
    }
    assert OF_STATE == {
        runs.COMPLETED: 0,
        runs.INCOMPLETE: 1,
        runs.FAILED: 3,
        runs.CANCELLED: 130,
    }


@pytest.mark.parametrize("command", [["sync", "--inline"], ["sync", "--dry-run"]])
def test_an_expression_that_takes_too_long_is_a_fault_of_the_configuration(
    run: Command,
    mirror: Mirror,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    offer(simulator, "a" * 100 + "-b", "1.0")
    mirror.select("/^(a|aa)+$/")
    outcome = run(*command, "--json")
    assert outcome.code == Exit.USAGE
    (told,) = outcome.json.get("failures") or [outcome.json["error"] | {"reason": "configuration"}]
    assert told["reason"] == "configuration"
    assert "select.projects: '/^(a|aa)+$/' takes more than" in told["message"]


def test_sync_json_is_one_document_with_the_documented_keys(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    bad, good = offer(simulator, "six", "1.0", "1.1")
    simulator.fault(bad, Status(404))
    outcome = run("sync", "--inline", "--json")
    assert outcome.code == 1
    document = outcome.json
    assert list(document) == ["run", "state", "counts", "seconds", "failures", "denied"]
    assert document["denied"] == []
    assert document["state"] == "incomplete"
    assert tuple(document["counts"]) == COUNTS["sync"]
    assert all(isinstance(count, int) for count in document["counts"].values())
    assert isinstance(document["seconds"], float)
    (failure,) = document["failures"]
    assert list(failure) == ["project", "file", "stage", "reason", "message"]
    assert failure["project"] == "six"
    assert failure["file"] == bad.filename
    assert (failure["stage"], failure["reason"]) == ("download", "missing")
    assert mirror.files("six") == [good.filename]


def test_sync_in_text_sums_up_and_says_how_to_install(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    outcome = run("sync", "--inline")
    assert outcome.code == 0
    assert "1 downloaded" in outcome.out
    assert f"pip install --index-url {(mirror.root / 'simple').as_uri()}/" in outcome.out


def test_sync_quiet_says_nothing_when_all_is_well_and_what_failed_otherwise(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    simulator.fault(file, Status(404), nth=1)
    failed = run("sync", "--inline", "-q")
    assert failed.code == 1
    assert file.filename in failed.out
    done = run("sync", "--inline", "-q")
    assert (done.code, done.out) == (0, "")


def test_text_from_outside_is_no_markup(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    simulator.project("six").reason = "x"
    simulator.page("six", b'{"meta": {"api-version": "1.0"}, "name": "[red]x[/nope]", "files": []}')
    outcome = run("sync", "--inline")
    assert outcome.code == 1
    assert "[red]x[/nope]" in outcome.out + outcome.err
    assert run("runs", "show", "last").code == 0


def test_no_upstream_is_exit_3_with_the_way_out_in_text_and_json(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    simulator.refuse()
    outcome = run("sync", "--inline")
    assert outcome.code == 3
    assert "[[upstream]] url" in outcome.out
    document = run("sync", "--inline", "--json").json
    assert document["state"] == "failed"
    assert "[[upstream]] url" in document["failures"][0]["message"]
    assert document["failures"][0]["reason"] == "connection"
    assert run("sync", "--dry-run", "--json").code == 3


def test_a_directory_in_the_way_is_exit_3_and_named(run: Command, mirror: Mirror) -> None:
    mirror.root.write_text("in the way")
    outcome = run("sync", "--inline", "--json")
    assert outcome.code == 3
    assert outcome.json["error"]["exit"] == 3
    assert str(mirror.root) in outcome.json["error"]["message"]
    assert "a fault of pypimirror" not in outcome.err


@pytest.mark.sqlite
def test_a_damaged_catalog_is_exit_3(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    for path in (mirror.root / ".pypimirror").glob("catalog.sqlite*"):
        path.write_bytes(b"damaged" * 1000)
    for command in (["sync", "--inline"], ["status"], ["runs"], ["sync", "--dry-run"]):
        outcome = run(*command)
        assert outcome.code == 3, command
        assert "restore it from a backup" in outcome.err
    mirror.check()


def test_a_newer_catalog_is_exit_3(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    mirror.query("UPDATE alembic_version SET version_num = '9999'")
    for command in (["sync", "--inline"], ["status"]):
        outcome = run(*command)
        assert outcome.code == 3
        assert "newer pypimirror" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["sync", "--nonsense"],
        ["runs", "show"],
        ["runs", "--limit", "0"],
        ["sync", "not selected!"],
        ["sync", "--dry-run", "../six"],
        ["sync", "idna"],
        ["sync", "--config", "absent.toml"],
        ["status"],
        ["runs"],
        ["runs", "show", "last"],
        ["verify"],
        ["metrics", "--textfile", "pypimirror.toml"],
        ["metrics", "--textfile", "mirror/simple/x.prom"],
        ["sync", "--plan", "absent.json"],
        ["serve"],
        ["init"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_2_and_one_document_with_json(
    run: Command, mirror: Mirror, arguments: list[str]
) -> None:
    mirror.select("six")
    before = listing(mirror.base)
    text = run(*arguments)
    assert (text.code, text.out) == (2, "")
    assert text.err
    outcome = run(*arguments, "--json")
    assert outcome.code == 2
    assert list(outcome.json) == ["error"]
    assert outcome.json["error"]["exit"] == 2
    assert outcome.json["error"]["message"]
    assert listing(mirror.base) == before


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_server_whose_fetcher_could_not_work_does_not_start(
    run: Command, mirror: Mirror, command: str
) -> None:
    mirror.configure(on_demand={"projects": ["six=="]})
    outcome = run(command)
    assert outcome.code == 2
    assert "on_demand.projects: 'six==' is no name" in outcome.err
    assert not (mirror.base / "mirror").exists()


def test_a_wrong_configuration_is_exit_2_and_names_the_nearest_key(
    run: Command, mirror: Mirror
) -> None:
    mirror.file.write_text("[delete]\ngrase = '1h'\n")
    outcome = run("sync")
    assert outcome.code == 2
    assert "did you mean 'grace'?" in outcome.err


def test_a_fault_of_the_program_is_exit_3_and_never_looks_like_another_code(
    run: Command, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypimirror.cli.plain.load", lambda _: 1 / 0)
    outcome = run("sync", "--json")
    assert outcome.code == 3
    assert "please report it" in outcome.json["error"]["message"]
    assert "ZeroDivisionError" in outcome.err


def test_dry_run_in_text_and_json_changes_nothing(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    before = listing(mirror.base)
    text = run("sync", "--dry-run")
    assert text.code == 0
    assert "Would fetch 1 file," in text.out
    assert file.filename in text.out
    document = run("sync", "--dry-run", "--json").json
    assert list(document) == [
        "version", "projects", "fetch", "link", "publish", "withdraw", "remove", "bytes",
        "bytes_removed", "failures",
    ]  # fmt: skip
    assert document["fetch"] == [
        {"project": "six", "file": file.filename, "size": len(file.content), "reason": "wanted",
         "sha256": file.sha256}
    ]  # fmt: skip
    assert document["bytes"] == len(file.content)
    assert document["publish"] == ["six"]
    assert listing(mirror.base) == before


def test_status_in_text_and_json(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    bad, good = offer(simulator, "six", "1.0", "1.1")
    simulator.fault(bad, Status(404))
    run("sync", "--inline")
    document = run("status", "--json").json
    assert (document["directory"], document["storage"]) == (str(mirror.root), None)
    assert document["projects"] == 1
    assert document["bytes"] == len(good.content)
    assert document["files"]["published"] == document["files"]["failed"] == 1
    assert document["last_run"]["state"] == "incomplete"
    text = run("status")
    assert text.code == 0
    assert "1 published, 1 failed" in text.out
    assert "incomplete" in text.out


def test_status_of_a_project(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "Zope.Interface", "1.0")
    run("sync", "--inline")
    (project,) = run("status", "zope_interface", "--json").json["projects"]
    assert project["project"] == "zope-interface"
    assert project["upstream"] == "sim0"
    (said,) = project["files"]
    assert said["file"] == file.filename
    assert said["state"] == "published"
    assert said["sha256"] == file.sha256
    text = run("status", "zope.interface").out
    assert file.filename in text
    assert file.sha256 in text
    assert run("status", "idna").code == 2


def test_runs_in_text_and_json(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    (bad,) = offer(simulator, "six", "1.0")
    simulator.fault(bad, Status(404), nth=1)
    run("sync", "--inline")
    run("sync", "six", "--inline")
    newest, oldest = run("runs", "--json").json["runs"]
    assert (newest["state"], oldest["state"]) == ("completed", "incomplete")
    assert newest["arguments"] == ["six"]
    assert newest["version"] == __version__
    assert tuple(newest["counts"]) == COUNTS["sync"]
    assert len(run("runs", "--limit", "1", "--json").json["runs"]) == 1
    text = run("runs").out
    assert newest["run"] in text
    assert oldest["run"] in text


@pytest.mark.parametrize("by", ["last", "name", "beginning"])
def test_runs_show(run: Command, mirror: Mirror, simulator: Simulator, by: str) -> None:
    (bad,) = offer(simulator, "six", "1.0")
    simulator.fault(bad, Status(404))
    name = run("sync", "--inline", "--json").json["run"]
    wanted = {"last": "last", "name": name, "beginning": name[:11]}[by]
    document = run("runs", "show", wanted, "--json").json
    assert document["run"] == name
    assert document["state"] == "incomplete"
    stages = [(stage["batch"], stage["stage"]) for stage in document["stages"]]
    assert stages == [
        (0, "discover"),
        (1, "discover"),
        (1, "download"),
        (1, "verify"),
        (1, "publish"),
        (2, "publish"),
    ]
    states = {(stage["batch"], stage["stage"]): stage["state"] for stage in document["stages"]}
    assert states.pop((1, "download")) == "failed", "nothing of what it had to do was done"
    assert set(states.values()) == {"completed"}
    (failure,) = document["failures"]
    assert failure["file"] == bad.filename
    assert failure["attempts"] == 1
    assert failure["url"].endswith(bad.filename)
    text = run("runs", "show", wanted).out
    assert "missing" in text
    assert bad.filename in text
    assert run("runs", "show", "nosuchrun").code == 2


def test_runs_json_before_show_is_honoured(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    assert run("runs", "--json", "show", "last").json["state"] == "completed"


def test_init_writes_a_configuration_that_syncs(
    run: Command, tmp_path: Path, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    outcome = run("init", "six", "--upstream", simulator.url, "--directory", "here", "--json")
    assert outcome.json == {
        "config": str(tmp_path / "pypimirror.toml"),
        "upstream": simulator.url,
    }
    assert run("sync", "--inline").code == 0
    assert (tmp_path / "here/simple/six/index.html").exists()
    again = run("init", "six")
    assert again.code == 2
    assert "--force" in again.err


def test_version_and_help(run: Command) -> None:
    assert run("--version").out == f"pypimirror {__version__}\n"
    for arguments in ([], ["sync"], ["runs"], ["runs", "show"], ["init"], ["status"], ["serve"]):
        outcome = run(*arguments, "--help")
        assert outcome.code == 0
        assert "Usage: " in outcome.out
        if arguments:
            assert all(o in outcome.out for o in ("--config", "--json", "--verbose", "--quiet"))


def test_json_keeps_logs_off_standard_output(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    simulator.fault(file, Status(404))
    simulator.api_version = "1.9"  # a warning
    outcome = run("sync", "--inline", "--json", "-vv")
    assert outcome.json["state"] == "incomplete"
    assert "1.9" in outcome.err


@pytest.mark.sqlite
@pytest.mark.sqlite
def test_adopt_rebuilds_a_lost_catalog(mirror: Mirror, simulator: Simulator, run: Command) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    (mirror.root / ".pypimirror" / "catalog.sqlite").unlink()
    simulator.forget()
    outcome = run("adopt")
    assert outcome.code == 0
    assert "1 file taken over" in outcome.out
    again = run("adopt", "--json")
    assert (again.code, again.json["state"]) == (0, "completed")
    assert again.json["counts"]["files_missing"] == 0
    assert simulator.downloads(file.filename) == 0
    (mirror.root / "packages" / "stranger").touch()
    assert run("adopt", "--quiet").code == 1
    assert run("runs", "show", "last", "--json").json["command"] == "adopt"


def test_sync_writes_its_changes_to_the_file_that_it_is_told(
    run: Command,
    mirror: Mirror,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYPIMIRROR_PUBLISH__CHANGES", "other")  # undone after the test
    (file,) = offer(simulator, "six", "1.0")
    assert run("sync", "--inline", "--quiet", "--changes", "changed.txt").code == 0
    assert f"packages/six/{file.filename}" in (tmp_path / "changed.txt").read_text().splitlines()
    assert not (tmp_path / "other").exists()


def test_sync_carries_out_the_plan_that_a_dry_run_made(
    run: Command, mirror: Mirror, simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (tmp_path / "plan.json").write_text(run("sync", "--dry-run", "--json").out)
    assert run("sync", "six", "--plan", "plan.json").code == 2
    assert run("sync", "--dry-run", "--plan", "plan.json").code == 2
    assert run("sync", "--plan", "absent.json").code == 2
    assert run("sync", "--inline", "--quiet", "--plan", "plan.json").code == 0
    assert mirror.holds(file)
    offer(simulator, "six", "2.0")
    late = run("sync", "--inline", "--json", "--plan", "plan.json")
    assert late.code == 3
    assert late.json["failures"][0]["reason"] == "plan-differs"


def test_metrics_are_printed_or_written(
    mirror: Mirror, simulator: Simulator, run: Command, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert 'pypimirror_files{state="published"} 1.0' in run("metrics").out
    named = {(m["name"], *m["labels"].values()) for m in run("metrics", "--json").json["metrics"]}
    assert ("pypimirror_files", "published") in named
    file = tmp_path / "mirror.prom"
    assert run("metrics", "--textfile", str(file)).out == ""
    assert "pypimirror_files" in file.read_text()
    (tmp_path / "file").touch()
    assert run("metrics", "--textfile", str(tmp_path / "file" / "x.prom")).code == 2
