"""What is deployed, without a server: `prefect.yaml` and the configuration together."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.server.events import jinja_filters
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.utilities import user_templates
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import alerts, deployments
from pypimirror.config.settings import Config, ConfigError, parse
from pypimirror.system.project import project_directory
from tests.ports import free_port

FILE = Path("/etc/pypimirror.toml")


def config(**sections: Any) -> Config:
    return parse({"upstream": [{"url": "http://127.0.0.1:9/simple/"}], **sections}, FILE)


def test_the_schedules_of_prefect_yaml_are_the_defaults_of_the_configuration() -> None:
    text = (project_directory() / "prefect.yaml").read_text()
    schedule = config().schedule
    told = {entry["name"]: entry.get("schedules") for entry in yaml.safe_load(text)["deployments"]}
    assert told == {
        "scheduled": [{"cron": schedule.sync, "timezone": schedule.timezone}],
        "adhoc": None,
        "shard": None,
        "weekly": [{"cron": schedule.verify, "timezone": schedule.timezone}],
    }


def test_deployments_are_told_where_the_configuration_is() -> None:
    found = {entry["name"]: entry["parameters"] for entry in deployments._deployments(FILE)}
    assert found == {
        "scheduled": {"config": str(FILE)},
        "adhoc": {"config": str(FILE)},
        "shard": {"config": str(FILE)},
        "weekly": {"config": str(FILE), "repair": True, "wait": "6h"},
    }


@pytest.mark.parametrize("when", ["17 * * * *", "*/10 1-5 * * MON,FRI"])
def test_cron_fields(when: str) -> None:
    (made,) = deployments._schedules("sync", when, "Europe/Paris")
    assert (made.schedule.cron, made.schedule.timezone) == (when, "Europe/Paris")  # type: ignore[union-attr]


def test_a_time_between_two_runs() -> None:
    (made,) = deployments._schedules("sync", "10m", "UTC")
    assert made.schedule.interval == timedelta(minutes=10)  # type: ignore[union-attr]


def test_never() -> None:
    assert list(deployments._schedules("sync", "", "UTC")) == []


def test_cron_fields_that_make_no_sense_are_named() -> None:
    with pytest.raises(ConfigError, match=r"schedule.verify: '99 \* \* \* \*' cannot be used"):
        list(deployments._schedules("verify", "99 * * * *", "UTC"))


def test_without_an_api_it_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="set PREFECT_API_URL"):
        deployments.apply(FILE, config())


def test_a_login_in_the_address_of_the_api_is_not_told() -> None:
    nowhere = f"http://me:s3cret@127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: nowhere}),
        pytest.raises(deployments.DeployError) as caught,
    ):
        deployments.apply(FILE, config())
    assert "127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).endswith("; start it, or correct PREFECT_API_URL")


def test_without_a_webhook_only_runs_that_are_gone_are_watched() -> None:
    (automation,) = alerts._automations(config())
    assert automation.name == alerts.CRASHED
    assert automation.trigger.within == alerts.SILENCE  # type: ignore[union-attr]


def rendered(template: str, **context: Any) -> Any:
    """The document that Prefect posts."""
    user_templates.register_user_template_filters(
        {**jinja_filters.all_filters, "ui_url": lambda run: f"http://127.0.0.1/{run.name}"}
    )
    user_templates.validate_user_template(template)
    return json.loads(user_templates.render_user_template_sync(template, context))


HOSTILE = 'a"b\\c\n</script>{{ 7 * 7 }}{% raw %}'


def test_whatever_is_in_a_message_the_document_is_json() -> None:
    state = SimpleNamespace(name="Incomplete", message=HOSTILE)
    run = SimpleNamespace(name="sync-1", id="1", state=state)
    settings = config(mirror={"directory": f"/srv/{HOSTILE}"})
    document = rendered(
        alerts._payload("failed", settings), flow=SimpleNamespace(name="sync"), flow_run=run
    )
    assert document == {
        "alert": "failed",
        "mirror": f"/srv/{HOSTILE}",
        "text": f"pypimirror: sync-1 failed: {HOSTILE}",
        "flow": "sync",
        "run": "sync-1",
        "id": "1",
        "state": "Incomplete",
        "message": HOSTILE,
        "url": "http://127.0.0.1/sync-1",
    }


def test_a_state_without_a_message_is_told_by_its_name() -> None:
    run = SimpleNamespace(name="r", id="1", state=SimpleNamespace(name="Late", message=None))
    document = rendered(
        alerts._payload("late", config()), flow=SimpleNamespace(name="sync"), flow_run=run
    )
    assert (document["text"], document["message"]) == ("pypimirror: r late: Late", "")


class FakeClient:
    """Keeps automations and blocks as the API does."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.blocks: set[tuple[str, str]] = set()

    def read_automations_by_name(self, name: str) -> list[Any]:
        return [SimpleNamespace(id=name)] if name in self.kept else []

    def create_automation(self, automation: AutomationCore) -> None:
        assert automation.name not in self.kept
        self.kept[automation.name] = automation

    def update_automation(self, which: str, automation: AutomationCore) -> None:
        self.kept[which] = automation

    def delete_automation(self, which: str) -> None:
        del self.kept[which]

    def read_block_document_by_name(self, name: str, block_type_slug: str) -> SimpleNamespace:
        if (name, block_type_slug) not in self.blocks:
            raise ObjectNotFound(KeyError(name))
        return SimpleNamespace(id=(name, block_type_slug))

    def delete_block_document(self, which: tuple[str, str]) -> None:
        self.blocks.remove(which)


def test_alerts_come_change_and_go_with_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    block = "00000000-0000-0000-0000-000000000001"
    client: Any = FakeClient()

    def save(webhook: alerts.Webhook, name: str, overwrite: bool) -> str:
        client.blocks.add((name, webhook.get_block_type_slug()))
        return block

    monkeypatch.setattr(alerts.Webhook, "save", save)
    with_webhook = {"webhook": "http://127.0.0.1:9/", "late": "1m"}
    alerts.apply(client, config(alerts=with_webhook))
    assert client.kept.keys() == set(alerts.names)
    assert client.kept[alerts.LATE].trigger.within == timedelta(minutes=1)
    alerts.apply(client, config(alerts={**with_webhook, "late": "2m"}))
    assert client.kept[alerts.LATE].trigger.within == timedelta(minutes=2)
    alerts.apply(client, config())
    assert client.kept.keys() == {alerts.CRASHED}
    assert not client.blocks, "the address of the webhook, which may hold a secret, is left"
    alerts.apply(client, config())


@pytest.mark.parametrize(
    ("deployment", "is_told"), [("scheduled", True), ("adhoc", True), ("shard", False)]
)
def test_a_late_run_is_told_unless_it_is_a_shard(
    deployment: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync does not need all its shards, and cancels those that are late."""
    any_id = "00000000-0000-0000-0000-000000000001"
    monkeypatch.setattr(alerts.Webhook, "save", lambda *_, **__: any_id)
    found = alerts._automations(config(alerts={"webhook": "http://127.0.0.1:9/"}))
    (late,) = [each.trigger for each in found if each.name == alerts.LATE]
    trigger = EventTrigger.model_validate(late.model_dump(mode="json"))
    event = ReceivedEvent.model_validate(
        {
            "id": any_id,
            "occurred": "2026-01-01T00:00:00Z",
            "event": "prefect.flow-run.Late",
            "resource": {"prefect.resource.id": "prefect.flow-run.1"},
            "related": [
                {
                    "prefect.resource.id": f"prefect.{role}.1",
                    "prefect.resource.role": role,
                    "prefect.resource.name": name,
                }
                for role, name in (("flow", "sync"), ("deployment", deployment))
            ],
        }
    )
    assert trigger.covers(event) is is_told
