"""`runs` and `runs show`: the history, by parts and by time."""

from __future__ import annotations

import time

import pytest

from pypimirror.cli.actions.history import moment
from pypimirror.config.settings import ConfigError
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.pipeline.asked.clients import ask, fetcher
from tests.simulator import IndexFile, Simulator, Status


@pytest.fixture
def bad(run: Command, mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Files that failed in a sync, more than a summary shows; others did not."""
    files = offer(simulator, "six", *(f"1.{number}" for number in range(25)))
    offer(simulator, "idna", "1.0")
    simulator.fault("/simple/attrs/", Status(500))
    offer(simulator, "attrs", "1.0")
    for file in files:
        simulator.fault(file, Status(404))
    assert run("sync", "--inline", "-q").code == 1
    return files


def test_a_run_is_summed_up_by_stage_with_bytes_and_speed(
    run: Command, bad: list[IndexFile]
) -> None:
    document = run("runs", "show", "last", "--json").json
    assert [total["stage"] for total in document["totals"]] == [
        "discover", "download", "verify", "publish",
    ]  # fmt: skip
    download = document["totals"][1]
    assert download["batches"] == 1
    assert download["files"] == download["counts"]["files_downloaded"] == 1
    assert download["bytes"] == download["counts"]["bytes_downloaded"] > 0
    assert download["files_per_second"] > 0
    assert download["bytes_per_second"] > 0
    verify = document["totals"][2]
    assert verify["bytes"] == download["bytes"]
    assert {"files", "bytes", "bytes_per_second"} <= document["stages"][0].keys()
    assert document["config"]
    text = run("runs", "show", "last").out
    assert f"configuration {document['config']}" in text
    assert "files_downloaded 1" in text
    assert f"all of them: pypimirror runs show {document['run']} --failures" in text


def test_status_says_where_to_read_what_failed(
    run: Command, mirror: Mirror, bad: list[IndexFile]
) -> None:
    assert "runs show last' says what it left undone" in run("status").out
    mirror.select("idna")
    run("sync", "--inline", "-q")
    assert "runs show last" not in run("status").out


def test_one_stage_is_shown_batch_by_batch_with_its_failures(
    run: Command, bad: list[IndexFile]
) -> None:
    document = run("runs", "show", "last", "--stage", "discover", "--json").json
    assert [(stage["stage"], stage["batch"]) for stage in document["stages"]] == [
        ("discover", 0),
        ("discover", 1),
    ]
    assert [total["stage"] for total in document["totals"]] == ["discover"]
    assert [failure["project"] for failure in document["failures"]] == ["attrs"]
    text = run("runs", "show", "last", "--stage", "discover").out
    assert "attrs" in text
    assert bad[0].filename not in text
    assert run("runs", "show", "last", "--stage", "nonsense").code == 2


def test_failures_are_shown_all_with_address_and_attempts_and_nothing_else(
    run: Command, bad: list[IndexFile]
) -> None:
    document = run("runs", "show", "last", "--failures", "--json").json
    assert len(document["failures"]) == 26
    assert "stages" not in document
    assert "totals" not in document
    text = run("runs", "show", "last", "--failures").out
    for failure in document["failures"]:
        assert failure["message"] in text
        assert failure["url"] in text
    assert "1 attempt" in text
    one = run("runs", "show", "last", "--failures", "--stage", "download", "--json").json
    assert len(one["failures"]) == 25


def test_runs_since_a_time(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    for _ in range(3):
        run("sync", "--inline")
    mirror.query("UPDATE runs SET started_at = started_at - 86400 * (4 - id)")
    now = time.time()
    a_day = time.strftime("%Y-%m-%dT%H:%M", time.localtime(now - 1.5 * 86400))

    def since(when: str) -> int:
        return len(run("runs", "--since", when, "--json").json["runs"])

    assert (since("60h"), since("10d"), since("1h"), since(a_day)) == (2, 3, 0, 1)
    assert since("2001-01-01") == 3
    assert len(run("runs", "--since", "10d", "--limit", "1", "--json").json["runs"]) == 1
    assert run("runs", "--since", "10d").out.count("completed") == 3
    outcome = run("runs", "--since", "yesterday")
    assert outcome.code == 2
    assert "or an age such as 7d" in outcome.err


def test_moments() -> None:
    day = time.mktime((2026, 1, 31, 0, 0, 0, 0, 0, -1))
    assert moment("2026-01-31", 5.0) == day
    assert moment("2026-01-31T03:00", 5.0) == day + 3 * 3600
    assert moment("2026-01-31T03:00:00+00:00", 5.0) == 1769828400.0
    assert moment("2m", 500.0) == 380.0
    for text in ("", "7", "x", "2026-13-01"):
        with pytest.raises(ConfigError):
            moment(text, 5.0)


def test_a_verification_has_a_stage_in_the_history(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    run("sync", "--inline")
    assert run("verify", "--quick").code == 0
    document = run("runs", "show", "last", "--json").json
    assert document["arguments"] == ["--quick"]
    (total,) = document["totals"]
    assert (total["stage"], total["files"], total["state"]) == ("verify", 1, "completed")
    assert "arguments --quick" in run("runs", "show", "last").out


def test_status_says_who_brought_a_file(run: Command, mirror: Mirror, simulator: Simulator) -> None:
    first, second = offer(simulator, "six", "1.0", "2.0")
    mirror.configure(on_demand={"projects": ["*"]}, select={"projects": ["six>=2"]})
    asked = float(int(time.time()) - 86_400)  # what was long not asked for is forgotten
    ask(mirror, first, at=asked)
    assert run("sync", "--inline", "-q").code == 0
    (project,) = run("status", "six", "--json").json["projects"]
    told = {file["file"]: (file["selected"], file["asked"]) for file in project["files"]}
    assert told[second.filename] == (True, None)
    assert told[first.filename][0] is False
    assert told[first.filename][1]["since"] == told[first.filename][1]["last"] == asked
    day = time.strftime("%Y-%m-%d %H:", time.localtime(asked))
    shown = run("status", "six").out
    assert f"{first.filename}: clients asked for it for its last fetch on {day}" in shown


def test_the_last_run_is_not_what_clients_asked_for(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    name = run("sync", "--inline", "--json").json["run"]
    with fetcher(mirror):
        pass
    listed = [each["run"] for each in run("runs", "--json").json["runs"]]
    assert listed[0].endswith("-request")
    assert listed[1] == name
    assert run("runs", "show", "last", "--json").json["run"] == name
    assert run("status", "--json").json["last_run"]["run"] == name
