"""`prefect.yaml`, for real: server, work pool, deployments, worker, schedule.

The schedule works on a mirror of its own in the background, so that its minute need not be waited
for; its test is the last.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pypimirror.storage import lock
from tests.checker import check
from tests.corpus.build import make_wheel
from tests.flows.conftest import configure
from tests.flows.stack import Stack, children, is_running, is_worker, wait_for
from tests.flows.test_sync import FIRST, lock_of
from tests.simulator import Corrupt, Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


def is_of(pid: int, flow_run: str) -> bool:
    """Whether a process belongs to a flow run."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # ended meanwhile
        return False
    return f"PREFECT__FLOW_RUN_ID={flow_run}".encode() in environment


def state_of_last_run(config: Path) -> str:
    """As the catalog has it; asked of the file, since a command would take too long."""
    file = config.parent / "mirror" / ".pypimirror" / "catalog.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        row: tuple[str] = connection.execute(
            "SELECT state FROM runs ORDER BY id DESC LIMIT 1"
        ).fetchone()
    return row[0]


@dataclass
class Deployed:
    """The deployments, and a worker that runs them."""

    stack: Stack
    config: Path  #: that of the schedule
    worker: int  #: process id

    @property
    def ids(self) -> dict[str, str]:
        """The ids of the deployments, by name."""
        return {d["name"]: d["id"] for d in self.stack.api("deployments/filter", limit=10)}

    def start(self, config: Path, queue: str = "default", **parameters: Any) -> str:
        """Ask for a run of sync/adhoc; the flow run's id."""
        path = f"deployments/{self.ids['adhoc']}/create_flow_run"
        parameters["config"] = str(config)
        asked = {"parameters": parameters, "work_queue_name": queue}
        made: str = self.stack.api(path, **asked, state={"type": "SCHEDULED"})["id"]
        return made

    def end(self, flow_run: str) -> dict[str, Any]:
        """The flow run, once it has ended."""

        def final() -> dict[str, Any] | None:
            found: dict[str, Any] = self.stack.api(f"flow_runs/{flow_run}")
            return found if found["state_type"] in ENDED else None

        found = wait_for(final)
        assert found is not None
        return found

    def retry(self, flow_run: str) -> None:
        """What the UI's Retry asks for; returns once the state is no final one."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        done = self.stack.api(f"flow_runs/{flow_run}/set_state", state=state)
        assert done["status"] == "ACCEPT", done

    def run(self, config: Path, **parameters: Any) -> dict[str, Any]:
        """Run sync/adhoc to its end; the flow run."""
        return self.end(self.start(config, **parameters))

    def runs(self, config: Path) -> list[dict[str, Any]]:
        """The runs of the catalog, newest first."""
        document = self.stack.pypimirror("runs", "--config", config)
        found: list[dict[str, Any]] = document["runs"]
        return found

    def last(self, config: Path) -> dict[str, Any]:
        """The newest run of the catalog."""
        found: dict[str, Any] = self.stack.pypimirror("runs", "show", "last", "--config", config)
        return found

    def download_workers(self) -> list[int]:
        """The processes that download, below the worker."""
        return [pid for pid in children(self.worker) if is_worker(pid)]


@pytest.fixture(scope="module")
def deployed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with Simulator() as upstream:
        upstream.add_file("daily", *make_wheel("daily", "1.0"))
        config = configure(tmp_path_factory.mktemp("scheduled"), upstream)
        stack.prefect("work-pool", "create", "pypimirror", "--type", "process")
        stack.prefect("deploy", "--all", cwd=stack.project, PYPIMIRROR_CONFIG=str(config))
        stack.prefect("deployment", "schedule", "create", "sync/scheduled", "--cron", "* * * * *")
        with worker_of(stack, "default") as worker:
            yield Deployed(stack, config, worker)


@contextmanager
def worker_of(stack: Stack, queue: str) -> Iterator[int]:
    """A worker for one queue; its process id."""
    command = (stack.programs / "prefect", "worker", "start", "--pool", "pypimirror")
    with stack.process(f"worker-{queue}", *command, "--work-queue", queue) as worker:
        yield worker


@pytest.fixture(scope="module")
def other_queue(deployed: Deployed) -> str:
    """A queue that the worker of `deployed` leaves alone."""
    deployed.stack.prefect("work-queue", "create", "other", "--pool", "pypimirror")
    return "other"


@pytest.mark.thorough
def test_adhoc(deployed: Deployed, config: Path, simulator: Simulator) -> None:
    """As a person starts it; with four task runs for the batch."""
    simulator.add_file("one", *make_wheel("one", "1.0"))
    simulator.add_file("two", *make_wheel("two", "1.0"))
    parameters = json.dumps({"config": str(config), "projects": ["one"]})
    deployed.stack.prefect("deployment", "run", "sync/adhoc", "--watch", "--params", parameters)
    run = deployed.last(config)
    assert (run["state"], run["trigger"], run["arguments"]) == (
        "completed",
        "deployment",
        ["one"],
    )
    flow_run = deployed.stack.flow_run(run["run"])
    assert flow_run["state_name"] == "Completed"
    assert deployed.stack.task_runs(flow_run) == dict.fromkeys(FIRST, "COMPLETED")
    mirror = config.parent / "mirror"
    assert check(mirror) == []
    found = [path.name for path in mirror.glob("packages/*/*.whl")]
    assert found == ["one-1.0-py3-none-any.whl"]


@pytest.mark.thorough
def test_incomplete_and_the_next_run(
    deployed: Deployed, config: Path, simulator: Simulator
) -> None:
    simulator.add_file("good", *make_wheel("good", "1.0"))
    simulator.add_file("bad", *make_wheel("bad", "1.0"))
    simulator.fault("*/bad-1.0-py3-none-any.whl", Corrupt())
    parameter = f"config={config}"
    deployed.stack.prefect(
        "deployment", "run", "sync/adhoc", "--watch", "--param", parameter, code=1
    )
    run = deployed.last(config)
    flow_run = deployed.stack.flow_run(run["run"])
    assert (run["state"], flow_run["state_name"]) == ("incomplete", "Incomplete")
    assert "1 of 2 files failed (1 digest mismatch)" in flow_run["state"]["message"]
    logs = [line["message"] for line in deployed.stack.logs(flow_run)]
    assert any("Finished in state Incomplete" in line for line in logs)
    assert not [line for line in logs if "Traceback" in line], "a final state is no fault"
    simulator.heal()
    assert deployed.run(config)["state_name"] == "Completed"
    assert simulator.downloads("good-1.0-py3-none-any.whl") == 1


@pytest.mark.thorough
def test_deployments_have_no_limit_of_prefects(deployed: Deployed) -> None:
    """Its lease would end a run whose server is away; one that an earlier version has set goes."""
    stack = deployed.stack
    (adhoc,) = [d for d in stack.api("deployments/filter", limit=10) if d["name"] == "adhoc"]
    path = f"deployments/{adhoc['id']}"
    stack.api(path, method="PATCH", concurrency_limit=1)
    assert stack.api(path)["global_concurrency_limit"]["limit"] == 1
    stack.pypimirror("deploy", "--config", deployed.config)
    assert stack.api(path)["global_concurrency_limit"] is None
    every_minute = ("sync/scheduled", "--cron", "* * * * *")
    stack.prefect("deployment", "schedule", "create", *every_minute)


def line_of(deployed: Deployed, flow_run: str, words: str) -> str:
    """The line of a flow run's log that has these words, once there is one."""

    def found() -> list[str]:
        lines = [line["message"] for line in deployed.stack.logs({"id": flow_run})]
        return [line for line in lines if words in line]

    return wait_for(found)[0]


@pytest.mark.thorough
def test_a_run_that_was_asked_for_waits_for_its_turn(
    deployed: Deployed, config: Path, simulator: Simulator
) -> None:
    """Two do; one of them is cancelled meanwhile. None of it is in the history."""
    simulator.add_file("one", *make_wheel("one", "1.0"))
    with lock_of(config) as held:
        held.name("20260101-031700-0a1b2c")
        first, second = deployed.start(config), deployed.start(config)
        for waiting in (first, second):
            said = line_of(deployed, waiting, "waiting for")
            assert said.startswith("waiting for run 20260101-031700-0a1b2c, process ")
            assert said.endswith(" to end, at most 6h")
        path = f"flow_runs/{second}/set_state"
        deployed.stack.api(path, state={"type": "CANCELLING"}, force=True)
        assert deployed.end(second)["state_name"] == "Cancelled"
        assert deployed.stack.api(f"flow_runs/{first}")["state_name"] == "Running"
    assert deployed.end(first)["state_name"] == "Completed"
    assert [run["state"] for run in deployed.runs(config)] == ["completed"]


@pytest.mark.thorough
def test_a_run_of_a_schedule_is_skipped(deployed: Deployed) -> None:
    skipped = {"state": {"name": {"any_": ["Skipped"]}}}
    deployed.stack.pypimirror("sync", "--inline", "--config", deployed.config)
    before = len(deployed.runs(deployed.config))
    with lock.hold(deployed.config.parent / "mirror/.pypimirror/lock") as held:
        held.name("20260101-031700-0a1b2c")
        flow_run = wait_for(lambda: deployed.stack.flow_runs(**skipped), 400)[0]
    assert flow_run["auto_scheduled"] and flow_run["state_type"] == "CANCELLED"
    assert flow_run["state"]["message"].startswith("Skipped: run 20260101-031700-0a1b2c")
    states = {run["state"] for run in deployed.runs(deployed.config)[:-before]}
    assert states <= {"completed"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "asked",
    [
        {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}},
        {"type": "PAUSED"},
    ],
    ids=["suspend", "pause"],
)
def test_suspending_is_a_cancel_that_can_be_resumed(
    deployed: Deployed, config: Path, simulator: Simulator, asked: dict[str, Any]
) -> None:
    simulator.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
    started = deployed.start(config)
    hold.wait_reached(200)
    family = [pid for pid in children(deployed.worker) if is_of(pid, started)]
    path = f"flow_runs/{started}"
    assert deployed.stack.api(f"{path}/set_state", state=asked)["status"] == "ACCEPT"
    wait_for(lambda: not any(map(is_running, family)))
    first = deployed.last(config)
    assert first["state"] == "cancelled"
    flow_run = deployed.stack.api(path)
    assert (flow_run["state_type"], flow_run["state_name"]) == ("PAUSED", "Suspended")
    hold.release()
    simulator.forget()
    assert deployed.stack.api(f"{path}/resume", run_input={})["status"] == "ACCEPT"
    assert deployed.end(started)["state_name"] == "Completed"
    run = deployed.last(config)
    assert (run["state"], run["retry_of"]) == ("completed", first["run"])
    assert simulator.count("/simple/*") == 0, "it goes on, and does not begin anew"
    assert check(config.parent / "mirror") == []


@pytest.mark.thorough
def test_retry_redoes_only_what_failed(
    deployed: Deployed, config: Path, simulator: Simulator
) -> None:
    """One path is in the way of one project (promise 7); then what the UI's Retry asks for."""
    simulator.add_file("good", *make_wheel("good", "1.0"))
    simulator.add_file("bad", *make_wheel("bad", "1.0"))
    obstacle = config.parent / "mirror" / "packages" / "bad"
    obstacle.parent.mkdir(parents=True)
    obstacle.symlink_to("/dev")  # another file system: nothing can be moved there
    failed = deployed.run(config)
    assert (failed["state_name"], failed["run_count"]) == ("Incomplete", 1)
    first = deployed.last(config)
    assert first["state"] == "incomplete"
    simulator.forget()
    obstacle.unlink()
    deployed.retry(failed["id"])
    again = deployed.end(failed["id"])
    assert (again["state_name"], again["run_count"]) == ("Completed", 2)
    run = deployed.last(config)
    assert (run["trigger"], run["retry_of"], run["state"]) == ("retry", first["run"], "completed")
    assert again["name"] == f"sync-{run['run']}"
    assert check(config.parent / "mirror") == []
    assert simulator.count("*") == 0, "nothing is asked for again"


@pytest.mark.thorough
def test_a_killed_download_child(deployed: Deployed, config: Path, simulator: Simulator) -> None:
    for i in range(5):
        simulator.add_file(f"p{i}", *make_wheel(f"p{i}", "1.0"))
    hold = simulator.hold("*/p3-1.0-py3-none-any.whl", times=1)
    started = deployed.start(config)
    hold.wait_reached(200)
    killed = deployed.download_workers()
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert deployed.end(started)["state_name"] == "Completed"
    assert check(config.parent / "mirror") == []


@pytest.mark.thorough
def test_cancel(deployed: Deployed, config: Path, simulator: Simulator) -> None:
    """Prefect's Cancel ends the run, its children too; the next one goes on from there."""
    simulator.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
    started = deployed.start(config)
    hold.wait_reached(200)
    family = deployed.download_workers()
    assert family
    path = f"flow_runs/{started}/set_state"
    deployed.stack.api(path, state={"type": "CANCELLING"}, force=True)
    assert deployed.end(started)["state_type"] == "CANCELLED"
    wait_for(lambda: not any(is_worker(pid) for pid in family), 15)
    wait_for(lambda: deployed.last(config)["state"] == "cancelled", 15)
    hold.release()
    assert deployed.run(config)["state_name"] == "Completed"


@pytest.mark.thorough
def test_cancelling_works_after_an_outage_that_made_the_worker_deaf(
    deployed: Deployed, config: Path, simulator: Simulator
) -> None:
    """The server is away until Prefect's worker says that it listens no more; the run goes on."""
    simulator.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
    started = deployed.start(config)
    hold.wait_reached(200)
    log = deployed.stack.home / "worker-default.log"
    before = log.stat().st_size
    deployed.stack.stop_server()
    wait_for(lambda: b"Flow run cancellation disabled" in log.read_bytes()[before:])
    deployed.stack.start_server()
    assert deployed.stack.api(f"flow_runs/{started}")["state_name"] == "Running"
    path = f"flow_runs/{started}/set_state"
    deployed.stack.api(path, state={"type": "CANCELLING"}, force=True)
    assert deployed.end(started)["state_name"] == "Cancelled"
    assert deployed.last(config)["state"] == "cancelled"
    hold.release()
    assert deployed.run(config)["state_name"] == "Completed"


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_worker_that_ends(
    deployed: Deployed,
    other_queue: str,
    config: Path,
    simulator: Simulator,
    number: signal.Signals,
) -> None:
    """However it ends, its run is cancelled, by somebody else if need be."""
    simulator.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
    with worker_of(deployed.stack, other_queue) as worker:
        started = deployed.start(config, other_queue)
        hold.wait_reached(200)
        family = children(worker)
        os.kill(worker, number)
        flow_run = deployed.end(started)
        wait_for(lambda: not any(map(is_running, family)), 30)
    run = deployed.last(config)
    assert (run["state"], flow_run["state_name"]) == ("cancelled", "Cancelled")
    assert check(config.parent / "mirror") == []
    hold.release()
    again = deployed.run(config)
    assert again["state_name"] == "Completed", again["state"]


@pytest.mark.thorough
def test_a_flow_run_that_is_killed_when_it_has_ended(
    deployed: Deployed, other_queue: str, config: Path, simulator: Simulator
) -> None:
    """All are told to end, as systemd does; killed before Prefect has heard of it."""
    simulator.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
    with worker_of(deployed.stack, other_queue) as worker:
        started = deployed.start(config, other_queue)
        hold.wait_reached(200)
        family = [pid for pid in children(worker) if is_of(pid, started)]
        os.kill(family[0], signal.SIGTERM)
        wait_for(lambda: state_of_last_run(config) == "cancelled", every=0.002)
        os.kill(worker, signal.SIGKILL)
        os.kill(family[0], signal.SIGKILL)
        assert deployed.end(started)["state_name"] == "Cancelled"
        wait_for(lambda: not any(map(is_running, family)), 30)


@pytest.mark.thorough
def test_a_flow_run_that_is_killed(deployed: Deployed, config: Path, simulator: Simulator) -> None:
    """Prefect hears of it from the worker, the catalog from the witness or from the next run."""
    simulator.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = simulator.hold("*/held-1.0-py3-none-any.whl", after=1000)
    started = deployed.start(config)
    hold.wait_reached(200)
    # The run of the schedule may be under way as well, and is to be left alone.
    family = [pid for pid in children(deployed.worker) if is_of(pid, started)]
    os.kill(family[0], signal.SIGKILL)
    assert deployed.end(started)["state_name"] == "Crashed"
    hold.release()
    assert deployed.run(config)["state_name"] == "Completed"
    assert [run["state"] for run in deployed.runs(config)] == ["completed", "crashed"]
    wait_for(lambda: not any(map(is_running, family)), 30)


@pytest.mark.newest
@pytest.mark.thorough
def test_schedule(deployed: Deployed) -> None:
    """A deployment with a cron schedule gets its runs, and they run."""
    of_schedule = {"deployment_id": {"any_": [deployed.ids["scheduled"]]}}
    waiting = {**of_schedule, "state": {"type": {"any_": ["SCHEDULED"]}}}
    planned = wait_for(lambda: deployed.stack.flow_runs(**waiting))
    minutes = [datetime.fromisoformat(run["expected_start_time"]).minute for run in planned]
    assert minutes.count(17) > 1, "of the schedule in prefect.yaml"
    done = {**of_schedule, "state": {"type": {"any_": ["COMPLETED"]}}}
    name = wait_for(lambda: deployed.stack.flow_runs(**done))[0]["name"]
    command = ("runs", "show", name.removeprefix("sync-"), "--config", deployed.config)
    run = deployed.stack.pypimirror(*command)
    assert (run["state"], run["trigger"]) == ("completed", "schedule")
    assert check(deployed.config.parent / "mirror") == []
