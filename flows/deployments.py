"""Create the work pool, deployments, schedules and automations on the configured Prefect API.

`prefect.yaml` defines the deployments, and `[schedule]` of the configuration their times. Repeating
this changes nothing: `pypimirror up` does it at every start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import construct_schedule
from prefect.exceptions import PrefectException
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from flows import alerts
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.addresses import redacted
from pypimirror.domain.durations import parse_duration
from pypimirror.domain.model import PypimirrorError
from pypimirror.system.project import project_directory

#: The placeholder for the configuration file in `prefect.yaml`.
_CONFIG = "{{ $PYPIMIRROR_CONFIG }}"

#: The known keys of a deployment.
_KEYS = {
    "name", "description", "entrypoint", "parameters", "tags", "work_pool", "schedules",
}  # fmt: skip


class DeployError(PypimirrorError):
    """The Prefect API does not answer, or refuses. The message says what."""


@dataclass(frozen=True)
class Applied:
    """What now exists on the Prefect API."""

    work_pools: tuple[str, ...]
    deployments: dict[str, str]  #: schedule by name (`sync/scheduled`); "": on demand
    automations: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return {
            "api": redacted(PREFECT_API_URL.value() or ""),
            "work_pools": list(self.work_pools),
            "deployments": self.deployments,
            "automations": list(self.automations),
        }


def apply(file: Path, config: Config) -> Applied:
    """Create everything for the configuration `config`, which was read from `file`.

    Raises `ConfigError` if a schedule is not valid, and `DeployError` if the API does not answer or
    refuses.
    """
    wanted = _deployments(file)
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "there is no Prefect API: set PREFECT_API_URL to that of a server "
            "('prefect server start'), or use 'pypimirror up', which brings its own"
        )
    try:
        with get_client(sync_client=True) as client:
            pools = tuple(sorted({entry["work_pool"]["name"] for entry in wanted}))
            for pool in pools:
                _make_work_pool(client, pool)
            made = dict(_make(client, entry, config) for entry in wanted)
            automations = alerts.apply(client, config)
    except (httpx.HTTPError, PrefectException) as error:
        said = str(error).rstrip(".")
        message = (
            f"the Prefect API {PREFECT_API_URL.value()} cannot be used: {said}; start it, or "
            "correct PREFECT_API_URL"
        )
        raise DeployError(redacted(message)) from error
    return Applied(pools, made, automations)


def _deployments(file: Path) -> list[dict[str, Any]]:
    """Return the deployments in `prefect.yaml`, for this configuration file."""
    text = (project_directory() / "prefect.yaml").read_text("utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)["deployments"]
    for entry in found:
        if unknown := entry.keys() - _KEYS:
            raise DeployError(f"prefect.yaml: {entry['name']}: unknown keys {sorted(unknown)}")
        entry["parameters"] = {
            name: str(file.absolute()) if value == _CONFIG else value
            for name, value in entry.get("parameters", {}).items()
        }
    return found


def _make_work_pool(client: SyncPrefectClient, name: str) -> None:
    if any(pool.name == name for pool in client.read_work_pools()):
        return
    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _make(client: SyncPrefectClient, entry: dict[str, Any], config: Config) -> tuple[str, str]:
    """Create one deployment. Return its name and its schedule."""
    flow = _flow(entry["entrypoint"])
    when = ""
    if entry.get("schedules"):  # prefect.yaml decides which deployments have a schedule
        when = config.schedule.verify if flow.name == "verify" else config.schedule.sync
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=entry["name"],
        description=entry.get("description"),
        entrypoint=entry["entrypoint"],
        parameters=entry["parameters"],
        parameter_openapi_schema=parameter_schema(flow).model_dump(),
        tags=entry.get("tags"),
        work_pool_name=entry["work_pool"]["name"],
        # File names are UTF-8 on disk, whatever the worker's locale (`pypimirror.system.streams`).
        job_variables={"env": {"PYTHONUTF8": "1"}},
        schedules=list(_schedules(flow.name, when, config.schedule.timezone)),
        # These remove a limit that an earlier version has set; `prefect.yaml` explains why.
        concurrency_limit=None,
        concurrency_options=None,
        pull_steps=[
            {
                "prefect.deployments.steps.set_working_directory": {
                    "directory": str(project_directory())
                }
            }
        ],
    )
    return f"{flow.name}/{entry['name']}", when


def _flow(entrypoint: str) -> Any:
    path, _, name = entrypoint.partition(":")
    directory = project_directory()
    sys.path.insert(0, str(directory))
    try:
        return load_flow_from_entrypoint(f"{directory / path}:{name}")
    finally:
        sys.path.remove(str(directory))


def _schedules(flow: str, when: str, timezone: str) -> Iterator[DeploymentScheduleCreate]:
    """Yield the schedule for `when`: cron fields, an interval, or "" for none."""
    if not when:
        return
    try:
        if " " in when:
            schedule = construct_schedule(cron=when, timezone=timezone)
        else:
            schedule = construct_schedule(interval=parse_duration(when), timezone=timezone)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"schedule.{flow}: {when!r} cannot be used: {reason}") from error
    yield DeploymentScheduleCreate(schedule=schedule)
