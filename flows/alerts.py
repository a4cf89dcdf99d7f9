"""Automations: what Prefect does by itself when a run fails, is late, is stuck or was killed.

The first three call the webhook of `[alerts]`. The last one needs no webhook: if the process of a
run is gone, it sends no heartbeats, and the flow run becomes Crashed, as in the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from pypimirror.config.settings import Config

#: The flows whose runs are watched, with or without a deployment.
FLOWS = ("sync", "verify")

#: A running process sends a heartbeat every three minutes, unless PREFECT_FLOWS_HEARTBEAT_FREQUENCY
#: is set. The server may also be away for a while.
SILENCE = timedelta(minutes=10)

FAILED, LATE, STUCK, CRASHED = names = tuple(
    f"pypimirror: {what}" for what in ("run failed", "run late", "run stuck", "run crashed")
)

#: State names: the name of an event contains the name of a state, not its type.
FAILURES = {"Failed", "Incomplete", "Crashed", "TimedOut"}
ENDS = FAILURES | {"Completed", "Cancelled", "Skipped"}
_BLOCK = "pypimirror-alerts"


def apply(client: SyncPrefectClient, config: Config) -> tuple[str, ...]:
    """Create or update the automations for `config`, and delete the others. Return their names."""
    wanted = {automation.name: automation for automation in _automations(config)}
    if not config.alerts.webhook:
        _forget_webhook(client)
    for name in names:
        found = client.read_automations_by_name(name)
        if name not in wanted:
            for old in found:
                client.delete_automation(old.id)
        elif found:
            client.update_automation(found[0].id, wanted[name])
        else:
            client.create_automation(wanted[name])
    return tuple(wanted)


def _forget_webhook(client: SyncPrefectClient) -> None:
    """Delete the webhook of an earlier configuration from Prefect: its address may contain a
    secret.
    """
    with suppress(ObjectNotFound):
        client.delete_block_document(client.read_block_document_by_name(_BLOCK, "webhook").id)


def _automations(config: Config) -> Iterator[AutomationCore]:
    yield AutomationCore(
        name=CRASHED,
        description="No heartbeat: the process of the run is gone.",
        trigger=_absence("heartbeat", {"heartbeat"} | ENDS, SILENCE),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message="Crashed: its process is gone")
        ],
    )
    if not config.alerts.webhook:
        return
    webhook = Webhook.model_validate(
        {"url": config.alerts.webhook, "headers": {"Content-Type": "application/json"}}
    )
    block = webhook.save(_BLOCK, overwrite=True)
    late, stuck = config.alerts.late, config.alerts.stuck
    for name, what, trigger in (
        (FAILED, "failed", _presence(FAILURES)),
        (LATE, "late", _absence("Late", ENDS | {"Pending", "Running"}, late, _of_no_shard())),
        (STUCK, "stuck", _absence("Running", ENDS, stuck)),
    ):
        action = CallWebhook(block_document_id=block, payload=_payload(what, config))
        yield AutomationCore(name=name, trigger=trigger, actions=[action])


def _payload(alert: str, config: Config) -> str:
    """Return the template of the JSON document. Any value in it stays valid JSON.

    `text` is for receivers that only show text, such as chat servers.
    """
    run = "flow_run.name"
    values = {
        "text": f'("pypimirror: " ~ {run} ~ " {alert}: " ~ (flow_run.state.message or '
        "flow_run.state.name))",
        "flow": "flow.name",
        "run": run,
        "id": "flow_run.id | string",
        "state": "flow_run.state.name",
        "message": 'flow_run.state.message or ""',
        "url": "flow_run | ui_url",
    }
    rendered = [f'"{name}": {{{{ ({value}) | tojson }}}}' for name, value in values.items()]
    # The directory's name may contain braces, which the template engine must not interpret.
    mirror = json.dumps(str(config.directory)).replace("{", "\\u007b").replace("%", "\\u0025")
    return "{" + ", ".join([f'"alert": "{alert}"', f'"mirror": {mirror}', *rendered]) + "}"


def _presence(states: set[str]) -> EventTrigger:
    return EventTrigger(
        expect=_events(states),
        match=_runs(),
        match_related=_of_flows(),
        posture=Posture.Reactive,
        threshold=1,
        for_each={"prefect.resource.id"},
    )


def _absence(
    after: str, states: set[str], within: timedelta, *related: ResourceSpecification
) -> EventTrigger:
    """Return a trigger that fires for each run if none of `states` follows `after` in time.

    `related` filters the resources that the runs must be related to, besides our flows.
    """
    return EventTrigger(
        after=_events({after}),
        expect=_events(states),
        match=_runs(),
        match_related=[_of_flows(), *related],
        posture=Posture.Proactive,
        threshold=1,
        within=within,
        for_each={"prefect.resource.id"},
    )


def _events(states: set[str]) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


def _runs() -> ResourceSpecification:
    return ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"})


def _of_flows() -> ResourceSpecification:
    return ResourceSpecification.model_validate(
        {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
    )


def _of_no_shard() -> ResourceSpecification:
    """Return a filter for runs of all deployments except shards. A sync does not need all of its
    shards, and cancels late ones.
    """
    return ResourceSpecification.model_validate(
        {"prefect.resource.role": "deployment", "prefect.resource.name": "!shard"}
    )
