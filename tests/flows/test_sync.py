"""The flow in this process, against a real server: one sequence, one history, the same codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from flows import running
from pypimirror.domain.model import Stage
from pypimirror.storage import lock
from tests.checker import check
from tests.corpus.build import make_wheel
from tests.flows.stack import Stack, children, wait_for
from tests.ports import free_port
from tests.simulator import Corrupt, Simulator

slow = [pytest.mark.slow, pytest.mark.timeout(300)]

FIRST = {"discover-0", "discover-1", "download-1", "verify-1", "publish-1", "publish-2"}


def offer(simulator: Simulator, *names: str, version: str = "1.0", padding: int = 0) -> None:
    for name in names:
        simulator.add_file(name, *make_wheel(name, version, padding=padding))


def test_every_stage_has_its_task() -> None:
    assert set(running.TASKS) == set(Stage)
    assert {stage.value for stage in Stage} == {t.name for t in running.TASKS.values()}


@pytest.mark.parametrize(
    ("deployed", "scheduled", "trigger"),
    [(False, False, "prefect"), (True, False, "deployment"), (True, True, "schedule")],
)
def test_the_history_knows_what_started_a_run(
    deployed: bool, scheduled: bool, trigger: str
) -> None:
    any_id = "00000000-0000-0000-0000-000000000001"
    flow_run = FlowRun(
        flow_id=any_id, deployment_id=any_id if deployed else None, auto_scheduled=scheduled
    )
    assert running.trigger_of(flow_run) == trigger


@pytest.mark.parametrize(
    ("name", "count", "expected", "trigger"),
    [
        ("sync-20260101-031700-0a1b", 2, "20260101-031700-0a1b", "retry"),
        ("sync-20260101-031700-0a1b2c", 2, "20260101-031700-0a1b2c", "retry"),
        # Resumed: Prefect does not count that.
        ("sync-20260101-031700-0a1b", 1, "20260101-031700-0a1b", "retry"),
        ("verify-20260101-031700-0a1b", 2, None, "retry"),
        ("crafty-ara", 2, None, "retry"),
        ("crafty-ara", 1, None, "prefect"),
    ],
)
def test_a_retried_flow_run_knows_its_last_run(
    name: str, count: int, expected: str | None, trigger: str
) -> None:
    flow_run = FlowRun(flow_id="00000000-0000-0000-0000-000000000001", name=name, run_count=count)
    assert running.last_run_of(flow_run, "sync") == expected
    assert running.trigger_of(flow_run) == trigger


class TestInProcess:
    """`pypimirror sync`, with a Prefect API configured."""

    pytestmark = slow

    def test_first_sync(self, stack: Stack, config: Path, simulator: Simulator) -> None:
        offer(simulator, "one", "two")
        document = stack.pypimirror("sync", "--config", config)
        assert document["state"] == "completed"
        assert document["counts"]["files_verified"] == 2
        assert check(config.parent / "mirror") == []
        shown = stack.pypimirror("runs", "show", "last", "--config", config)
        assert (shown["run"], shown["trigger"]) == (document["run"], "prefect")
        flow_run = stack.flow_run(document["run"])
        assert flow_run["state_name"] == "Completed"
        assert stack.task_runs(flow_run) == dict.fromkeys(FIRST, "COMPLETED")
        assert {f"{s['stage']}-{s['batch']}" for s in shown["stages"]} == FIRST

    @pytest.mark.thorough
    def test_incomplete(self, stack: Stack, config: Path, simulator: Simulator) -> None:
        offer(simulator, "good", "bad")
        simulator.fault("*/bad-1.0-py3-none-any.whl", Corrupt())
        document = stack.pypimirror("sync", "--config", config, code=1)
        assert document["state"] == "incomplete"
        flow_run = stack.flow_run(document["run"])
        assert (flow_run["state_type"], flow_run["state_name"]) == ("FAILED", "Incomplete")
        message = flow_run["state"]["message"]
        assert message == "Incomplete: 1 of 2 files failed (1 digest mismatch)"
        assert set(flow_run["tags"]) == {"trigger:prefect", f"mirror:{config.parent / 'mirror'}"}
        (table,) = stack.artifacts(flow_run, "table")
        (row,) = json.loads(table["data"])
        assert (row["file"], row["reason"]) == ("bad-1.0-py3-none-any.whl", "digest-mismatch")
        assert "| files found | 2 |" in table["description"]
        # Files that fail are no fault of a stage: no task run fails, and none is retried.
        assert set(stack.task_runs(flow_run).values()) == {"COMPLETED"}
        assert check(config.parent / "mirror") == []

    @pytest.mark.thorough
    def test_what_is_needed_comes_and_what_is_missing_is_told(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        """The closure and the check at the end of a sync are those of a sync without Prefect."""
        simulator.add_file("app", *make_wheel("app", "1.0", requires=["library>=1", "absent"]))
        simulator.add_file("library", *make_wheel("library", "1.0"))
        upstream = f'[[upstream]]\nurl = "{simulator.url}"\n'
        select = '[select]\nprojects = ["app"]\ndependencies = "all"\ncheck = true\n'
        config.write_text(upstream + select)
        document = stack.pypimirror("sync", "--config", config, code=1)
        assert (document["state"], document["counts"]["files_verified"]) == ("incomplete", 2)
        (failure,) = (f for f in document["failures"] if f["reason"] == "incomplete")
        assert (failure["stage"], failure["project"]) == ("publish", "absent")
        flow_run = stack.flow_run(document["run"])
        assert (flow_run["state_type"], flow_run["state_name"]) == ("FAILED", "Incomplete")
        offer(simulator, "absent")
        document = stack.pypimirror("sync", "--config", config)
        assert (document["state"], document["counts"]["files_verified"]) == ("completed", 1)
        assert stack.flow_run(document["run"])["state_name"] == "Completed"
        assert check(config.parent / "mirror") == []

    @pytest.mark.thorough
    def test_retry(self, stack: Stack, config: Path, simulator: Simulator) -> None:
        offer(simulator, "good", "bad")
        simulator.fault("*/bad-1.0-py3-none-any.whl", Corrupt())
        failed = stack.pypimirror("sync", "--config", config, code=1)
        simulator.heal()
        simulator.forget()
        document = stack.pypimirror("retry", "--config", config)
        assert document["state"] == "completed"
        # Its page may be what was wrong, so that is asked for, too; nothing else is.
        assert [request.path for request in simulator.requests] == [
            "/simple/bad/",
            "/packages/bad/bad-1.0-py3-none-any.whl",
        ]
        shown = stack.pypimirror("runs", "show", "last", "--config", config)
        assert (shown["retry_of"], shown["trigger"]) == (failed["run"], "prefect")
        assert stack.flow_run(document["run"])["state_name"] == "Completed"
        assert stack.pypimirror("retry", "--config", config)["run"] is None

    @pytest.mark.thorough
    def test_a_mirror_that_is_locked_is_no_failure(self, stack: Stack, config: Path) -> None:
        """Whoever does not wait ends with 4, and its flow run alerts nobody."""
        with lock_of(config) as held:
            held.name("20260101-041700-0a1b2d")
            document = stack.pypimirror("sync", "--config", config, code=4)
        assert "another run (20260101-041700-0a1b2d, " in document["error"]["message"]
        found = stack.flow_runs(state={"name": {"any_": ["Skipped"]}})
        (skipped,) = (run for run in found if "0a1b2d" in run["state"]["message"])
        assert skipped["state_type"] == "CANCELLED"
        assert skipped["state"]["message"].startswith("Skipped: run 20260101-041700-0a1b2d, ")

    @pytest.mark.thorough
    def test_whoever_waited_in_vain_is_told(self, stack: Stack, config: Path) -> None:
        with lock_of(config):
            document = stack.pypimirror("sync", "--wait", "1s", "--config", config, code=4)
        assert "Gave up after waiting for 1s" in document["error"]["message"]
        failed = stack.flow_runs(state={"name": {"any_": ["Failed"]}})
        assert any("Gave up after waiting" in run["state"]["message"] for run in failed)

    def test_errors_before_a_run(self, stack: Stack, config: Path) -> None:
        document = stack.pypimirror("sync", "nosuch", "--config", config.with_name("no"), code=2)
        assert "there is no configuration" in document["error"]["message"]

    @pytest.mark.thorough
    def test_a_stage_of_which_all_failed_is_a_task_run_that_failed(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        offer(simulator, "one", "two")
        simulator.fault("*.whl", Corrupt())
        document = stack.pypimirror("sync", "--config", config, code=1)
        flow_run = stack.flow_run(document["run"])
        assert (flow_run["state_type"], flow_run["state_name"]) == ("FAILED", "Incomplete")
        states = stack.task_runs(flow_run)
        assert states.pop("download-1") == "FAILED"
        assert states == dict.fromkeys(FIRST - {"download-1"}, "COMPLETED"), "the rest goes on"
        assert len(simulator.requests) < 20, "the stage was tried again"
        shown = stack.pypimirror("runs", "show", "last", "--config", config)
        totals = {total["stage"]: total["state"] for total in shown["totals"]}
        assert totals["download"] == "failed"
        assert totals["publish"] == "completed"

    @pytest.mark.thorough
    def test_cancel_without_a_worker(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        """As after an outage, when the worker hears nothing any more: the run hears it itself."""
        offer(simulator, "held", padding=100_000)
        hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
        command = [stack.programs / "pypimirror", "sync", "--json", "--config", config]
        process = subprocess.Popen(
            command, env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        hold.wait_reached(200)
        run = stack.pypimirror("runs", "show", "last", "--config", config)["run"]
        path = f"flow_runs/{stack.flow_run(run)['id']}/set_state"
        stack.api(path, state={"type": "CANCELLING"}, force=True)
        said, _ = process.communicate(timeout=200)
        assert (process.returncode, json.loads(said)["state"]) == (130, "cancelled")
        assert stack.flow_run(run)["state_name"] == "Cancelled"
        hold.release()

    @pytest.mark.thorough
    def test_nothing_answers(self, stack: Stack, config: Path, simulator: Simulator) -> None:
        simulator.refuse()
        tries = {"PYPIMIRROR_DOWNLOAD__TRIES": "1"}
        document = stack.pypimirror("sync", "--config", config, code=3, **tries)
        assert document["state"] == "failed"
        flow_run = stack.flow_run(document["run"])
        assert flow_run["state_name"] == "Failed"
        assert stack.task_runs(flow_run)["discover-0"] == "FAILED"

    @pytest.mark.thorough
    def test_interrupt(self, stack: Stack, config: Path, simulator: Simulator) -> None:
        offer(simulator, "held", padding=100_000)
        hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
        process = subprocess.Popen(
            [stack.programs / "pypimirror", "sync", "--json", "--config", config],
            env=stack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        hold.wait_reached(200)
        family = children(process.pid)
        process.send_signal(signal.SIGTERM)
        said, _log = process.communicate(timeout=30)
        document = json.loads(said)
        assert (process.returncode, document["state"]) == (130, "cancelled")
        assert stack.flow_run(document["run"])["state_name"] == "Cancelled"
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), 10)
        hold.release()
        assert stack.pypimirror("sync", "--config", config)["state"] == "completed"

    @pytest.mark.thorough
    def test_a_server_that_is_restarted_costs_nothing(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        """The run goes on while the server is away, and tells it afterwards how it ended."""
        offer(simulator, "one", "held")
        hold = simulator.hold("*/held-1.0-py3-none-any.whl")
        command = [stack.programs / "pypimirror", "sync", "--json", "--config", config]
        process = subprocess.Popen(
            command, env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        hold.wait_reached(200)
        stack.stop_server()
        hold.release()

        def ended() -> bool:
            shown = stack.pypimirror("runs", "show", "last", "--config", config)
            return bool(shown["state"] == "completed")

        wait_for(ended, every=1)
        stack.start_server()
        said, _ = process.communicate(timeout=120)
        document = json.loads(said)
        assert (process.returncode, document["state"]) == (0, "completed")
        # A server that took longer to come back than Prefect asks for it hears it from the next.
        stack.pypimirror("sync", "--config", config)
        assert stack.flow_run(document["run"])["state_name"] == "Completed"
        assert simulator.downloads("held-1.0-py3-none-any.whl") == 1
        assert check(config.parent / "mirror") == []

    @pytest.mark.thorough
    def test_the_next_run_says_how_one_ended_that_prefect_did_not_hear_of(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        simulator.add_file("bad", *make_wheel("bad", "1.0"))
        simulator.fault("*.whl", Corrupt())
        hold = simulator.hold("*/bad-1.0-py3-none-any.whl", after=1000)
        command = [stack.programs / "pypimirror", "sync", "--json", "--config", config]
        environment = {**stack.environment, "PREFECT_CLIENT_MAX_RETRIES": "0"}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        hold.wait_reached(200)
        stack.stop_server()
        hold.release()
        said, log = process.communicate()
        stack.start_server()
        document = json.loads(said)
        assert (process.returncode, document["state"]) == (1, "incomplete")
        assert "Prefect was not told how the run ended" in log
        assert stack.flow_run(document["run"])["state_name"] == "Running"
        stack.pypimirror("sync", "--config", config, code=None)
        assert stack.flow_run(document["run"])["state_name"] == "Incomplete"

    @pytest.mark.thorough
    def test_a_killed_flow_run_is_closed_by_the_next(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        """Where the process that watches it is killed as well, as in a power cut."""
        offer(simulator, "held", padding=100_000)
        hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
        command = [stack.programs / "pypimirror", "sync", "--config", config]
        process = subprocess.Popen(command, env=stack.environment, stderr=subprocess.DEVNULL)
        hold.wait_reached(200)
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait(30)
        hold.release()
        assert stack.pypimirror("sync", "--config", config)["state"] == "completed"
        last, dead = stack.pypimirror("runs", "--config", config)["runs"]
        assert (last["state"], dead["state"]) == ("completed", "crashed")
        assert stack.flow_run(dead["run"])["state_name"] == "Crashed"

    @pytest.mark.thorough
    def test_a_killed_download_child(
        self, stack: Stack, config: Path, simulator: Simulator
    ) -> None:
        offer(simulator, *(f"p{i}" for i in range(5)))
        hold = simulator.hold("*/p3-1.0-py3-none-any.whl", times=1)
        process = subprocess.Popen(
            [stack.programs / "pypimirror", "sync", "--json", "--config", config],
            env=stack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        hold.wait_reached(200)
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        said, _log = process.communicate(timeout=60)
        assert json.loads(said)["state"] == "completed"
        assert check(config.parent / "mirror") == []

    @pytest.mark.thorough
    def test_no_api(self, stack: Stack, config: Path) -> None:
        nowhere = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
        nowhere["PREFECT_CLIENT_MAX_RETRIES"] = "0"
        document = stack.pypimirror("sync", "--config", config, code=3, **nowhere)
        assert "--inline" in document["error"]["message"]


def lock_of(config: Path) -> AbstractContextManager[lock.HeldLock]:
    """The lock of a configuration's mirror, held."""
    private = config.parent / "mirror" / ".pypimirror"
    private.mkdir(parents=True)
    return lock.hold(private / "lock")
