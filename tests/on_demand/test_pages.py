"""A page lists what may be fetched, is asked for once while it is fresh, and never lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import psycopg

from pypimirror.on_demand.desk import PAGES_AT_ONCE
from pypimirror.on_demand.messages import Absent, Away, Here, PageQuestion, Refused
from tests.databases import Databases
from tests.mirror import offer
from tests.on_demand.fetcher import Fetcher, on_demand
from tests.on_demand.site import until
from tests.postgresql import execute
from tests.simulator import Simulator


def listed(answer: object) -> list[dict[str, Any]]:
    """The files on a page in JSON; the one in HTML must have the same."""
    assert isinstance(answer, Here)
    files: list[dict[str, Any]] = json.loads((Path(answer.path) / "index.v1_json").read_text())[
        "files"
    ]
    html = (Path(answer.path) / "index.html").read_text()
    for file in files:
        assert f"{file['url']}#sha256={file['hashes']['sha256']}" in html
    assert html.count("<a ") == len(files)
    return files


def test_a_page_lists_what_may_be_fetched_with_all_that_the_upstream_says(
    simulator: Simulator, tmp_path: Path
) -> None:
    old, new = offer(simulator, "six", "1.0", "2.0", requires_python=">=3.7")
    old.yank("broken")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        first, second = listed(fetcher.page("six"))
    assert first["yanked"] == "broken" and second["yanked"] is False
    assert second["url"] == f"../../packages/six/{new.filename}"
    assert second["hashes"] == {"sha256": new.sha256} and second["size"] == new.size
    assert second["requires-python"] == ">=3.7" and second["upload-time"]
    assert second["core-metadata"]["sha256"]


def test_a_page_leaves_out_what_the_policy_leaves_out(simulator: Simulator, tmp_path: Path) -> None:
    offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "evil", "1.0")
    select = {"exclude": ["six<2", "evil"]}
    mirror = on_demand(tmp_path, simulator, select=select)
    with Fetcher(mirror) as fetcher:
        assert [each["filename"] for each in listed(fetcher.page("six"))] == [
            "six-2.0-py3-none-any.whl"
        ]
        refused = fetcher.page("evil")
        assert isinstance(refused, Refused) and "select.exclude" in refused.reason
    assert not simulator.find("/simple/evil/*")


def test_a_database_that_hangs_delays_no_question_that_does_not_need_it(
    simulator: Simulator, tmp_path: Path, postgresql: Databases
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    url = postgresql.migrated()
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
    with Fetcher(on_demand(tmp_path, simulator, mirror={"catalog": url})) as fetcher:
        assert isinstance(fetcher.page("six"), Here)
        with psycopg.connect(url.replace("+psycopg", "")) as other:
            other.execute("LOCK TABLE projects IN ACCESS EXCLUSIVE MODE")
            late = fetcher.ask(PageQuestion(0, "idna"))
            until(lambda: execute(url, waiting))
            assert isinstance(fetcher.page("six"), Here)
            assert not fetcher.is_answered(late)
        assert isinstance(fetcher.wait(late), Here)


def test_a_page_of_metadata_only_leads_to_the_upstream_and_nothing_is_fetched(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, select={"metadata_only": ["six"]})
    with Fetcher(mirror) as fetcher:
        (there,) = listed(fetcher.page("six"))
        assert there["url"] == urljoin(simulator.url, file.path)
        assert there["hashes"] == {"sha256": file.sha256}
        refused = fetcher.file("six", file.filename)
        assert isinstance(refused, Refused) and there["url"] in refused.reason
    assert not simulator.downloads(file.filename)


def test_a_fresh_page_costs_the_upstream_nothing_and_an_old_one_a_conditional_request(
    simulator: Simulator, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        answers = [fetcher.page("six") for _ in range(3)]
        assert all(isinstance(each, Here) and 0 < each.seconds <= 600 for each in answers)
    assert len(simulator.requests) == 1
    mirror.configure(on_demand={"fresh": "0s"})
    with Fetcher(mirror) as fetcher:
        listed(fetcher.page("six"))
        offer(simulator, "six", "2.0")
        assert len(listed(fetcher.page("six"))) == 2
    assert [request.status for request in simulator.requests] == [200, 304, 200]


def test_many_questions_at_once_are_one_request(simulator: Simulator, tmp_path: Path) -> None:
    offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold("/simple/six/")
        numbers = [fetcher.ask(PageQuestion(0, "six")) for _ in range(50)]
        hold.wait_reached()
        hold.release()
        assert all(isinstance(fetcher.wait(number), Here) for number in numbers)
    assert len(simulator.requests) == 1


def test_questions_for_many_projects_reach_the_upstream_together(
    simulator: Simulator, tmp_path: Path
) -> None:
    """As if the client had asked it itself: none waits until others are answered."""
    names = [f"project-{number}" for number in range(PAGES_AT_ONCE)]
    for name in names:
        offer(simulator, name, "1.0")
    mirror = on_demand(tmp_path, simulator, download={"connections": 64})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold("/simple/*/")
        numbers = [fetcher.ask(PageQuestion(0, name)) for name in names]
        simulator.wait_for(lambda: simulator.active == len(names))
        hold.release()
        assert all(isinstance(fetcher.wait(number), Here) for number in numbers)


def test_while_the_upstream_is_away_the_old_page_comes_with_a_warning(
    simulator: Simulator, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, on_demand={"fresh": "0s"})
    with Fetcher(mirror) as fetcher:
        listed(fetcher.page("six"))
        with simulator.refusing():
            answer = fetcher.page("six")
            assert isinstance(answer, Here) and answer.held_only
            assert simulator.host in answer.warning and listed(answer)
            nothing = fetcher.page("idna")
            assert isinstance(nothing, Away) and simulator.host in nothing.reason
        answer = fetcher.page("six")
        assert isinstance(answer, Here) and not answer.warning


def test_absence_is_remembered_and_only_all_owners_can_say_it(
    simulator: Simulator, tmp_path: Path
) -> None:
    with Simulator() as other, Fetcher(on_demand(tmp_path, simulator, other)) as fetcher:
        offer(other, "idna", "1.0")
        assert len(listed(fetcher.page("idna"))) == 1
        with other.refusing():
            assert isinstance(fetcher.page("six"), Away)
        for _ in range(3):
            answer = fetcher.page("six")
            assert isinstance(answer, Absent) and answer.seconds == 300
    assert len(other.find("/simple/six/")) == 1


def test_a_page_that_was_judged_by_another_policy_is_judged_again_without_the_upstream(
    simulator: Simulator, tmp_path: Path
) -> None:
    old, _ = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        assert len(listed(fetcher.page("six"))) == 2
    mirror.configure(select={"exclude": ["six<2"]})
    with Fetcher(mirror) as fetcher, simulator.refusing():
        assert len(listed(fetcher.page("six"))) == 1
        assert isinstance(fetcher.file("six", old.filename), Refused)
