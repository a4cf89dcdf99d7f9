"""A plan is carried out exactly, or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import ConfigError
from pypimirror.pipeline.preview import execute_plan
from pypimirror.pipeline.summary import Summary
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import IndexFile, Simulator


def made(mirror: Mirror, *names: str) -> Path:
    """The file with the plan of a sync."""
    file = mirror.base / "plan.json"
    file.write_text(json.dumps(mirror.plan(*names).as_json()))
    return file


def applied(mirror: Mirror, file: Path) -> Summary:
    planned = execute_plan.read(file)
    return mirror.sync(*planned.projects, work=lambda run: execute_plan.apply(run, planned))


@pytest.fixture
def changing(mirror: Mirror, simulator: Simulator) -> tuple[Mirror, IndexFile, IndexFile]:
    """A mirror with something to fetch, to withdraw, to remove and to render."""
    gone, kept = offer(simulator, "p-a", "1.0", "2.0")
    offer(simulator, "p-b", "1.0")
    mirror.sync()
    gone.remove()
    (new,) = offer(simulator, "p-b", "2.0")
    offer(simulator, "p-c", "1.0")
    return mirror, kept, new


def test_what_was_planned_is_done(
    changing: tuple[Mirror, IndexFile, IndexFile], simulator: Simulator
) -> None:
    mirror = changing[0]
    file = made(mirror)
    document = json.loads(file.read_text())
    assert document["version"] == 1
    assert {entry["reason"] for entry in document["fetch"]} == {"wanted"}
    assert {entry["reason"] for entry in document["withdraw"]} == {"upstream"}
    assert document["bytes"] > 0 < document["bytes_removed"]
    result = applied(mirror, file)
    assert result.state == "completed"
    assert result.counts["files_downloaded"] == len(document["fetch"]) == 2
    assert result.counts["files_withdrawn"] == 1
    assert mirror.projects == ["p-a", "p-b", "p-c"]
    empty = json.loads(made(mirror).read_text())
    assert not any(empty[key] for key in ("fetch", "publish", "withdraw", "remove"))
    assert applied(mirror, mirror.base / "plan.json").state == "completed"


Change = Callable[[Simulator, IndexFile, IndexFile], Any]
CHANGES: dict[str, tuple[Change, str]] = {
    "more": (lambda sim, kept, new: offer(sim, "p-c", "2.0"), "p_c-2.0.*was not planned"),
    "less": (lambda sim, kept, new: new.remove(), r"no need to fetch p-b/p_b-2\.0.* any more"),
    "other": (
        lambda sim, kept, new: new.replace(make_wheel("p-b", "2.0", files={"x": b""})[1]),
        r"p-b/p_b-2\.0.* is another file than was planned",
    ),
    "gone": (lambda sim, kept, new: kept.remove(), r"to withdraw p-a/p_a-2\.0.* was not planned"),
    "yanked": (lambda sim, kept, new: offer(sim, "p-d", "1.0"), "to write the page of p-d was not"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_that_no_longer_fits_changes_nothing_and_says_why(
    changing: tuple[Mirror, IndexFile, IndexFile], simulator: Simulator, name: str
) -> None:
    mirror, kept, new = changing
    file = made(mirror)
    CHANGES[name][0](simulator, kept, new)
    before = mirror.served()
    result = applied(mirror, file)
    assert result.state == "failed"
    assert [p.reason.value for p in result.failures] == ["plan-differs"]
    assert mirror.served() == before
    assert re.search(CHANGES[name][1], result.message), result.message
    assert applied(mirror, made(mirror)).state == "completed"  # a new plan fits


def test_a_plan_of_some_projects_is_applied_to_these(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "p-a", "1.0")
    offer(simulator, "p-b", "1.0")
    file = made(mirror, "p-a")
    assert json.loads(file.read_text())["projects"] == ["p-a"]
    applied(mirror, file)
    assert mirror.projects == ["p-a"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "fetch": 3}', "not json"]
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ConfigError, match=r"p\.json: is not a plan of version 1: .*--dry-run"):
        execute_plan.read(tmp_path / "p.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        execute_plan.read(tmp_path / "absent.json")
