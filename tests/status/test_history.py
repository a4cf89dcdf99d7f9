"""A run as its page shows it, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pypimirror.status import history
from pypimirror.status.documents import RunPage
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status

Page = Callable[..., RunPage | None]


def test_a_run_has_its_stages_workers_failures_and_files(
    mirror: Mirror, simulator: Simulator, page: Page
) -> None:
    good, bad = offer(simulator, "six", "1.0", "2.0")
    simulator.fault(bad, Status(404))
    name = mirror.sync().run
    found = page(name)
    assert found is not None
    line = found["line"]
    assert (line["run"], line["state"], line["files"], line["failed"]) == (name, "incomplete", 1, 1)
    assert [each["stage"] for each in found["stages"]] == [
        "discover", "download", "verify", "publish",
    ]  # fmt: skip
    assert [each["executor"] for each in found["workers"]] == ["inline"]
    assert [each["reason"] for each in found["failures"]] == ["missing"]
    assert found["proven"] == [{"project": "six", "file": good.filename}]
    assert not found["is_more"]


def test_a_public_run_names_no_machine_and_quotes_nobody(
    mirror: Mirror, simulator: Simulator, page: Page
) -> None:
    simulator.fault(offer(simulator, "six", "1.0")[0], Status(404))
    name = mirror.sync("six").run
    public, local = page(name), page(name, details=True)
    host = mirror.query("SELECT host FROM runs")[0]["host"]
    assert f'"{host}"' in json.dumps(local)
    assert f'"{host}"' not in json.dumps(public)
    assert simulator.root in json.dumps(local)
    assert simulator.root not in json.dumps(public)
    assert local is not None
    assert local["arguments"] == ["six"]


@pytest.mark.parametrize("name", ["last", "2", "", "nothing"])
def test_only_the_whole_name_of_a_run_finds_it(
    mirror: Mirror, simulator: Simulator, page: Page, name: str
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert page(name) is None


def test_files_are_looked_for_in_small_mirrors_and_up_to_a_bound(
    mirror: Mirror, simulator: Simulator, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(simulator, "six", "1.0", "2.0", "3.0")
    name = mirror.sync().run
    monkeypatch.setattr(history, "_FILES", 2)
    found = page(name)
    assert found is not None
    assert (len(found["proven"]), found["is_more"]) == (2, True)
    monkeypatch.setattr(history, "_SMALL", 2)
    found = page(name)
    assert found is not None
    assert (found["proven"], found["is_more"]) == ([], True)
