"""The list of all projects is that of the upstreams if everything may be asked for."""

from __future__ import annotations

import json
from pathlib import Path

from pypimirror.on_demand.messages import Away, Here, IndexQuestion
from tests.mirror import offer
from tests.on_demand.fetcher import Fetcher, on_demand
from tests.simulator import Simulator


def test_the_list_has_what_may_be_asked_for_and_is_asked_for_once(
    simulator: Simulator, tmp_path: Path
) -> None:
    for name in ("six", "idna", "evil"):
        offer(simulator, name, "1.0")
    mirror = on_demand(tmp_path, simulator, select={"exclude": ["evil"]})
    with Fetcher(mirror) as fetcher:
        for _ in range(2):
            answer = fetcher.wait(fetcher.ask(IndexQuestion(0)))
            assert isinstance(answer, Here) and answer.seconds > 0
        listed = json.loads((Path(answer.path) / "index.v1_json").read_text())["projects"]
        assert [each["name"] for each in listed] == ["idna", "six"]
        assert "evil" not in (Path(answer.path) / "index.html").read_text()
    assert len(simulator.requests) == 1


def test_without_an_answer_of_the_upstream_there_is_no_empty_list(
    simulator: Simulator, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    with Fetcher(on_demand(tmp_path, simulator)) as fetcher, simulator.refusing():
        answer = fetcher.wait(fetcher.ask(IndexQuestion(0)))
        assert isinstance(answer, Away) and simulator.host in answer.reason


def test_if_only_some_projects_may_be_asked_for_the_list_is_that_of_the_mirror(
    simulator: Simulator, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, on_demand={"projects": ["six"]})
    with Fetcher(mirror) as fetcher:
        answer = fetcher.wait(fetcher.ask(IndexQuestion(0)))
        assert isinstance(answer, Here) and not answer.path
    assert not simulator.requests
