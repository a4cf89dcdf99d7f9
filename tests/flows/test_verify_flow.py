"""The flow `verify`: the same check as the command, in the same history, in words of Prefect."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.importtools import import_object

from flows.verify import final_state, verify
from pypimirror.catalog.queries import runs
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.summary import COUNTS, Summary
from pypimirror.system.project import project_directory
from tests.checker import check
from tests.corpus.build import make_wheel
from tests.flows.stack import Stack, wait_for
from tests.simulator import Simulator

WHEEL = "one-1.0-py3-none-any.whl"
slow = [pytest.mark.slow, pytest.mark.timeout(300)]


def summary(state: str, *failures: Problem, message: str = "", **counts: int) -> Summary:
    every = dict.fromkeys(COUNTS["verify"], 0) | counts
    stages = ["verify"] * len(failures)
    return Summary("20260101-0300", state, every, 1.0, list(failures), stages, message)


@pytest.mark.parametrize(
    ("state", "type_", "name"),
    [
        (runs.COMPLETED, "COMPLETED", "Completed"),
        (runs.INCOMPLETE, "FAILED", "Incomplete"),
        (runs.FAILED, "FAILED", "Failed"),
        (runs.CANCELLED, "CANCELLED", "Cancelled"),
    ],
)
def test_each_state_of_a_check_has_one_of_a_flow_run(state: str, type_: str, name: str) -> None:
    found = final_state(summary(state))
    assert (found.type.value, found.name) == (type_, name)


def test_the_state_says_what_was_checked_and_what_was_wrong() -> None:
    found = final_state(summary(runs.COMPLETED, files_checked=5214, repaired=2))
    assert found.message == "5,214 files checked, 2 repaired"
    lost = Problem(Reason.TRUNCATED, "m", "six", "six-1.0.tar.gz")
    found = final_state(summary(runs.INCOMPLETE, lost, files_checked=5214))
    assert found.message == "Incomplete: 1 of 5,214 files failed (1 truncated)"


def test_the_weekly_deployment_fits_the_flow() -> None:
    document = yaml.safe_load((project_directory() / "prefect.yaml").read_text())
    deployments = {d["name"]: d for d in document["deployments"]}
    weekly = deployments["weekly"]
    assert import_object(weekly["entrypoint"].replace("/", ".").replace(".py:", ".")) is verify
    assert weekly["parameters"].keys() <= verify.parameters.properties.keys()
    assert weekly["parameters"]["repair"] is True
    (schedule,) = weekly["schedules"]
    minute, hour, day, month, weekday = schedule["cron"].split()
    assert (day, month) == ("*", "*") and minute.isdigit() and hour.isdigit() and weekday.isdigit()
    assert schedule["cron"] != deployments["scheduled"]["schedules"][0]["cron"]


class TestInProcess:
    """The flow, against a real server."""

    pytestmark = slow

    def run(self, stack: Stack, **parameters: Any) -> dict[str, Any]:
        """Run the flow; the newest flow run of its name."""
        code = f"from flows.verify import verify; verify(return_state=True, **{parameters!r})"
        stack.run(sys.executable, "-c", code, cwd=stack.project)
        # Not those that the weekly deployment has scheduled.
        which: dict[str, Any] = {
            "flows": {"name": {"any_": ["verify"]}},
            "flow_runs": {"deployment_id": {"is_null_": True}},
        }
        found: list[dict[str, Any]] = wait_for(
            lambda: stack.api("flow_runs/filter", **which, sort="START_TIME_DESC")
        )
        return found[0]

    @pytest.mark.thorough
    def test_finds_and_repairs(self, stack: Stack, config: Path, simulator: Simulator) -> None:
        simulator.add_file("one", *make_wheel("one", "1.0"))
        inline = {"PYPIMIRROR_DOWNLOAD__PROCESSES": "1"}
        stack.pypimirror("sync", "--inline", "--config", config, **inline)
        mirror = config.parent / "mirror"
        victim = mirror / "packages" / "one" / WHEEL
        good = victim.read_bytes()
        victim.write_bytes(good[:-1] + b"x")

        flow_run = self.run(stack, config=str(config))
        assert (flow_run["state_type"], flow_run["state_name"]) == ("FAILED", "Incomplete")
        message = flow_run["state"]["message"]
        assert message == "Incomplete: 1 of 1 files failed (1 digest mismatch)"
        shown = stack.pypimirror("runs", "show", "last", "--config", config)
        assert (shown["command"], shown["trigger"]) == ("verify", "prefect")
        assert (shown["state"], flow_run["name"]) == ("incomplete", f"verify-{shown['run']}")

        flow_run = self.run(stack, config=str(config), repair=True)
        assert flow_run["state_name"] == "Completed"
        assert flow_run["state"]["message"] == "1 file checked, 1 repaired"
        assert set(stack.task_runs(flow_run).values()) == {"COMPLETED"}
        assert stack.task_runs(flow_run), "what is repaired goes through the stages' tasks"
        assert victim.read_bytes() == good
        assert check(mirror) == []

    @pytest.mark.thorough
    def test_errors_before_a_run(self, stack: Stack, config: Path) -> None:
        flow_run = self.run(stack, config=str(config), max_age="seven days")
        assert flow_run["state_type"] == "FAILED"
        assert "max_age: must be a number with one of s, m, h, d, w" in flow_run["state"]["message"]
