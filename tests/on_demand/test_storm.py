"""Many clients at once, an upstream that fails, processes that die: every complete answer is right.

SEED=1 python -m pytest tests/on_demand/test_storm.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest

from pypimirror.pipeline.summary import Summary
from tests.corpus.build import make_sdist
from tests.mirror import Mirror, offer, offer_sdist
from tests.on_demand.site import (
    Got,
    Served,
    at_once,
    check_whole,
    on_demand,
    seeded,
    serving,
    until,
    verify,
    wait_placed,
    whole,
)
from tests.simulator import (
    Chunked,
    Corrupt,
    Drip,
    Fault,
    Hangup,
    HtmlError,
    IndexFile,
    MissingLength,
    Reset,
    Simulator,
    Status,
    Truncate,
)

pytestmark = pytest.mark.slow

CLIENTS = 200
HASTY = {"timeout": 2, "tries": 2}


def offer_fifty(simulator: Simulator) -> list[IndexFile]:
    """Ten projects with four wheels and an sdist each."""
    files = []
    for number in range(10):
        name = f"project-{number}"
        files += offer(simulator, name, "1.0", "1.1", "2.0", "2.1")
        files.append(offer_sdist(simulator, name, "2.1"))
    return files


def any_fault(chance: Random, size: int, *codes: int) -> Fault:
    """A fault that ends by itself."""
    at = chance.randrange(1, size - 1)
    faults: list[Callable[[], Fault]] = [
        Reset,
        partial(Reset, after=at),
        Hangup,
        partial(Truncate, at=at),
        partial(Corrupt, at=at),
        partial(Status, chance.choice([429, 500, 503, *codes]), retry_after=0),
        HtmlError,
        partial(Chunked, 300, cut=True),
        partial(Chunked, 300, bad=True),
        partial(MissingLength, at=at),
        partial(Drip, 500, 0.05),
    ]
    return chance.choice(faults)()


def fail_at_random(simulator: Simulator, files: list[IndexFile], chance: Random) -> None:
    """Let some of the first requests for each file and page fail."""
    for file in files:
        for nth in (1, 2, 3):
            if chance.random() < 0.5:
                simulator.fault(file, any_fault(chance, len(file.content), 404), nth=nth)
    # A page that is 404 is believed to be absent for minutes.
    for project in sorted({file.project.normalized for file in files}):
        if chance.random() < 0.5:
            simulator.fault(f"/simple/{project}/", any_fault(chance, 500), nth=1)


def must_be_right(file: IndexFile, got: Got) -> bool:
    """A complete answer has the right bytes; everything else is an honest error."""
    if got.status == 200 and got.complete:
        assert got.body == bytes(file.content), file.filename
        return True
    assert got.is_honest_error or got.status == 404, got  # 404: the upstream said so
    return False


def every_file_comes(served: Served, files: list[IndexFile]) -> None:
    """Sooner or later, each file and its core metadata are there for who asks again."""

    def come(file: IndexFile, suffix: str) -> None:
        wanted = bytes(file.content) if not suffix else file.metadata
        got = until(lambda: got if (got := served.get(file, suffix)).status == 200 else None)
        assert got.complete
        assert got.body == wanted

    suffixes = [(file, "") for file in files]
    suffixes += [(file, ".metadata") for file in files if file.metadata is not None]
    at_once([partial(come, *each) for each in suffixes], 20)


def test_200_clients_on_50_files_of_an_upstream_that_fails_at_random(
    simulator: Simulator, tmp_path: Path
) -> None:
    chance = seeded()
    files = offer_fifty(simulator)
    fail_at_random(simulator, files, chance)
    mirror = on_demand(tmp_path, simulator, download=HASTY)
    asked = [chance.choice(files) for _ in range(CLIENTS)]
    with serving(mirror) as served:
        got = at_once([partial(served.get, file) for file in asked])
        right = [must_be_right(file, each) for file, each in zip(asked, got, strict=True)]
        assert any(right)
        simulator.heal()
        every_file_comes(served, files)
        wait_placed(mirror, files)
        assert [file.filename for file in files if whole(simulator, file) > 1] == []
    check_whole(mirror, files)
    assert [file.filename for file in files if whole(simulator, file) > 1] == []


def test_clients_that_leave_do_not_stop_what_others_wait_for(
    simulator: Simulator, tmp_path: Path
) -> None:
    chance = seeded()
    files = offer_fifty(simulator)[:10]
    holds = [simulator.hold(file, after=100) for file in files]
    mirror = on_demand(tmp_path, simulator, download={"connections": 16})
    with serving(mirror) as served:
        leaving = [
            partial(served.get, chance.choice(files), leave_after=chance.randrange(1, 900))
            for _ in range(50)
        ]
        staying = [partial(served.get, file) for file in files]

        def release() -> Got:
            simulator.wait_for(lambda: all(hold.reached.is_set() for hold in holds))
            for hold in holds:
                hold.release()
            return served.page("project-0")

        jobs = [*leaving, *staying]
        chance.shuffle(jobs)
        got = dict(zip([*jobs, release], at_once([*jobs, release]), strict=True))
        for file, stays in zip(files, staying, strict=True):
            assert must_be_right(file, got[stays])
            assert whole(simulator, file) == 1
        wait_placed(mirror, files)
    check_whole(mirror, files)


def test_a_fetcher_that_is_killed_at_any_moment_costs_nothing_but_time(
    simulator: Simulator, tmp_path: Path
) -> None:
    chance = seeded()
    files = offer_fifty(simulator)
    simulator.latency = 0.02
    mirror = on_demand(tmp_path, simulator)
    with serving(mirror) as served:

        def kill() -> list[bool]:
            for _ in range(3):
                after = simulator.count() + chance.randrange(1, 30)
                try:
                    simulator.wait_for(lambda after=after: simulator.count() >= after, 5)  # type: ignore[misc]
                except TimeoutError:
                    break
                served.kill_fetcher()
            return []

        def install(seed: int) -> list[bool]:
            own = Random(seed)
            some = own.sample(files, 10)
            return [must_be_right(file, served.get(file)) for file in some]

        clients = [partial(install, chance.randrange(10**6)) for _ in range(40)]
        at_once([kill, *clients])
        every_file_comes(served, files)
        wait_placed(mirror, files)
    check_whole(mirror, files)


def two_servers(mirrors: list[Mirror], simulator: Simulator, files: list[IndexFile]) -> None:
    """Two servers are asked for the same files at once; each is fetched by one of them."""
    chance = seeded()
    with serving(mirrors[0]) as one, serving(mirrors[1]) as other:
        asked = [(chance.choice([one, other]), chance.choice(files)) for _ in range(CLIENTS // 2)]
        asked += [(served, file) for file in files for served in (one, other)]
        got = at_once([partial(served.get, file) for served, file in asked])
        for (_, file), each in zip(asked, got, strict=True):
            must_be_right(file, each)
        for served in (one, other):
            every_file_comes(served, files)
        for mirror in mirrors:
            wait_placed(mirror, files)
        assert {file.filename: whole(simulator, file) for file in files} == {
            file.filename: 1 for file in files
        }
    check_whole(mirrors[0], files)


def test_two_servers_on_one_mirror_fetch_a_file_once(simulator: Simulator, tmp_path: Path) -> None:
    files = offer_fifty(simulator)[:15]
    mirror = on_demand(tmp_path, simulator)
    two_servers([mirror, mirror], simulator, files)


def test_sync_and_repair_go_on_while_files_are_fetched(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Bytes of an earlier file are damaged meanwhile: the repair brings them back."""
    files = offer_fifty(simulator)
    selected = offer(simulator, "selected", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator, select={"projects": ["selected"]})
    assert mirror.sync().state == "completed"
    simulator.latency = 0.01
    with serving(mirror) as served:
        damaged = mirror.path(selected[0])
        damaged.chmod(0o644)
        damaged.write_bytes(b"damaged")

        def runs() -> list[Summary]:
            found = verify(mirror, repair=True)
            return [found, *(mirror.sync(sound=False) for _ in range(2))]

        def clients() -> list[Got]:
            return at_once([partial(served.get, file) for file in files * 2], 30)

        done, got = at_once([runs, clients])  # type: ignore[list-item]
        for file, each in zip(files * 2, got, strict=True):
            assert must_be_right(file, each)  # type: ignore[arg-type]
        assert [each.state for each in done[1:]] == ["completed"] * 2  # type: ignore[union-attr]
        wait_placed(mirror, files)
        assert [file.filename for file in files if whole(simulator, file) != 1] == []
    check_whole(mirror, [*files, *selected])


def test_what_was_not_used_longest_is_let_go_while_files_are_fetched(
    simulator: Simulator, tmp_path: Path
) -> None:
    """The limit is for what nobody selected; what goes is off its page before its bytes go."""
    files = [
        simulator.add_file(
            f"project-{number}", *make_sdist(f"project-{number}", "1.0", padding=9999)
        )
        for number in range(20)
    ]
    selected = offer(simulator, "selected", "1.0")
    most = 10 * len(files[0].content)
    mirror = on_demand(
        tmp_path,
        simulator,
        select={"projects": ["selected"]},
        on_demand={"max_size": most},
        delete={"grace": "0s"},
    )
    with serving(mirror) as served:
        for part in (files[:5], files[5:], files[:10]):
            got = at_once([partial(served.get, file) for file in part])
            for file, each in zip(part, got, strict=True):
                assert must_be_right(file, each)
    for _ in range(2):  # the first one finishes what the server had not placed yet
        done = mirror.sync()
        assert done.state == "completed", done.failures
    held = [file for file in files if mirror.holds(file)]
    assert 0 < sum(len(file.content) for file in held) <= most
    check_whole(mirror, [*held, *selected])
