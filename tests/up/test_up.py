"""`pypimirror up` from its start to its end. The tests share one, and come in this order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.checker import check
from tests.corpus.build import make_wheel
from tests.environment import isolated
from tests.flows.conftest import configure
from tests.flows.stack import wait_for
from tests.simulator import Corrupt, Simulator
from tests.up.conftest import NOWHERE, Listener, Up, command, command_of, running_up

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.timeout(400),
]

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
PROFILE = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{NOWHERE}"\n'


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_file("daily", *make_wheel("daily", "1.0"))
        yield simulator


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with Listener() as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home, with a Prefect profile of their own."""
    found = tmp_path_factory.mktemp("home")
    (found / ".prefect").mkdir()
    (found / ".prefect/profiles.toml").write_text(PROFILE)
    return found


@pytest.fixture(scope="module")
def up(
    upstream: Simulator,
    listener: Listener,
    home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Up]:
    config = configure(tmp_path_factory.mktemp("up"), upstream)
    with config.open("a") as file:
        file.write('\n[schedule]\nsync = "20s"\nverify = ""\n\n[alerts]\nlate = "10s"\n')
        file.write(f'stuck = "10s"\nwebhook = "{listener.url}"\n')
    settings = {
        "HOME": str(home),
        "PREFECT_API_URL": NOWHERE,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_API_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
        "HTTP_PROXY": "http://127.0.0.1:9/",  # must not come between the parts
    }
    settings["NO_PROXY"] = "localhost.localdomain"
    with running_up(config, "--port", "0", "--prefect-port", "0", **settings) as found:
        yield found


def test_ready_means_ready(up: Up) -> None:
    assert up.stack.api("health") is True
    made = {d["name"]: d for d in up.stack.api("deployments/filter", limit=10)}
    assert made.keys() == {"scheduled", "adhoc", "shard", "weekly"}
    assert made["scheduled"]["schedules"][0]["schedule"]["interval"] == 20.0
    assert made["weekly"]["schedules"] == [], "verify is never to run"
    (worker,) = up.stack.api("work_pools/pypimirror/workers/filter", limit=10)
    assert worker["status"] == "ONLINE"
    with urlopen(up.said["web"]) as answer:
        assert answer.status == 200


def test_scheduled_runs_happen_and_are_served(up: Up) -> None:
    done = {"state": {"type": {"any_": ["COMPLETED"]}}}
    assert wait_for(lambda: up.stack.flow_runs(**done), 200)  # from then on there is a catalog
    assert wait_for(lambda: up.runs(state="completed", trigger="schedule"), 200)
    with urlopen(f"{up.said['web']}simple/daily/") as answer:
        assert b"daily-1.0-py3-none-any.whl" in answer.read()
    assert check(up.config.parent / "mirror") == []
    # From here on, a run is one that a test asks for.
    assert up.api(f"deployments/{up.deployment('scheduled')}/pause_deployment") is None
    wait_for(lambda: not up.stack.flow_runs(state={"type": {"not_any_": list(ENDED)}}), 100)


def test_deploying_again_makes_nothing_twice_and_takes_over_the_schedule(up: Up) -> None:
    def made() -> set[tuple[str, str]]:
        """Name and id of all that is made."""
        deployments = up.stack.api("deployments/filter", limit=20)
        automations = up.stack.api("automations/filter", limit=20)
        return {(each["name"], each["id"]) for each in (*deployments, *automations)}

    before = made()
    assert len(before) == 8
    settings = {"PREFECT_API_URL": up.said["prefect"], "PYPIMIRROR_SCHEDULE__SYNC": ""}
    said = up.stack.pypimirror("deploy", "--config", up.config, **settings)
    assert said["work_pools"] == ["pypimirror"]
    deployed = ("sync/scheduled", "sync/adhoc", "sync/shard", "verify/weekly")
    assert said["deployments"] == dict.fromkeys(deployed, "")
    assert made() == before
    assert up.stack.api("deployments/name/sync/scheduled")["schedules"] == []


def test_a_second_one_on_the_same_mirror_is_refused(up: Up) -> None:
    done = subprocess.run(
        command("up", "--json", "--config", up.config),
        env=isolated(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4
    message = json.loads(done.stdout)["error"]["message"]
    assert f"another pypimirror up ({up.said['prefect']}, process {up.process.pid})" in message


def test_doctor_knows_it(up: Up) -> None:
    """Also where nobody has told it of a Prefect API."""
    found = {
        each["name"]: each
        for each in up.stack.pypimirror(
            "doctor", "--config", up.config, PREFECT_API_URL="", code=None
        )["checks"]
    }
    assert found["up"]["state"] == "ok"
    assert (
        f"(process {up.process.pid}); its Prefect API is {up.said['prefect']}"
        in (found["up"]["seen"])
    )
    assert {found[f"prefect{of}"]["state"] for of in ("", " deployments", " worker")} == {"ok"}


def test_a_killed_worker_comes_back(up: Up) -> None:
    before = up.part(" worker start ")
    assert before
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: up.part(" worker start ") not in (None, before))
    run = up.start()
    wait_for(lambda: up.stack.api(f"flow_runs/{run}")["state_name"] == "Completed", 200)


def of(alert: str, run: str) -> Callable[[dict[str, Any]], bool]:
    """Which post is awaited: where the machine is busy, a run may be late or stuck as well."""
    return lambda post: (post["alert"], post["id"]) == (alert, run)


def test_a_failing_sync_is_told_to_the_webhook(
    up: Up, upstream: Simulator, listener: Listener
) -> None:
    upstream.add_file("bad", *make_wheel("bad", "1.0"))
    upstream.fault("*/bad-1.0-py3-none-any.whl", Corrupt())
    run = up.start()
    post = listener.wait(of("failed", run))
    assert (post["alert"], post["flow"], post["state"]) == ("failed", "sync", "Incomplete")
    assert "1 digest mismatch" in post["message"]
    assert post["message"] in post["text"]
    assert post["mirror"] == str(up.config.parent / "mirror")
    upstream.heal()


def test_a_late_run_is_told_to_the_webhook(up: Up, listener: Listener) -> None:
    worker = up.part(" worker start ")
    assert worker
    os.kill(worker, signal.SIGSTOP)
    try:
        run = up.start()
        post = listener.wait(of("late", run))
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (post["alert"], post["flow"], post["state"]) == ("late", "sync", "Late")
    wait_for(lambda: up.stack.api(f"flow_runs/{run}")["state_type"] in ENDED, 200)


def test_a_stuck_run_is_told_to_the_webhook_and_ends_with_everything_else(
    up: Up, upstream: Simulator, listener: Listener, home: Path
) -> None:
    """SIGTERM while a sync downloads: it is cancelled, and no process is left."""
    upstream.add_file("held", *make_wheel("held", "1.0", padding=100_000))
    hold = upstream.hold("*/held-1.0-py3-none-any.whl", after=1000)
    run = up.start()
    hold.wait_reached(200)
    post = listener.wait(of("stuck", run))
    assert (post["alert"], post["flow"], post["state"]) == ("stuck", "sync", "Running")
    assert up.part("pypimirror.download.worker")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0, up.log.read_text()
    assert not [pid for pid in up.seen if "python" in command_of(pid)]
    assert up.runs()[0]["state"] == "cancelled"
    assert check(up.config.parent / "mirror") == []
    # Nothing of the person's own was read or written.
    assert [path.name for path in (home / ".prefect").iterdir()] == ["profiles.toml"]
    assert (home / ".prefect/profiles.toml").read_text() == PROFILE
