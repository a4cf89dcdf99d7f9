"""A file that is asked for is fetched once, verified, handed out, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

from pypimirror.on_demand.keeping.keeper import Keeper
from pypimirror.on_demand.messages import Absent, Away, Failed, FileQuestion, Here, Refused
from pypimirror.on_demand.store import Fetched, Store
from tests.mirror import offer
from tests.on_demand.fetcher import Fetcher, on_demand
from tests.on_demand.site import until
from tests.simulator import Simulator


def test_a_file_is_handed_out_at_once_and_then_is_a_file_of_the_mirror(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", file.filename)
        assert isinstance(answer, Here)
        assert Path(answer.path).read_bytes() == bytes(file.content)
        fetcher.wait_placed(mirror, file.filename)
    mirror.check()
    assert mirror.files("six") == [file.filename]
    assert simulator.downloads(file.filename) == 1


def test_bytes_with_a_wrong_digest_are_never_handed_out_and_go_to_quarantine(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    file.content = bytes(reversed(bytes(file.content)))
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", file.filename)
        assert isinstance(answer, Failed) and "sha256" in answer.reason
        fetcher.wait_state(mirror, file.filename, "quarantined")
    assert not mirror.path(file).exists()
    (kept,) = (mirror.root / ".pypimirror" / "quarantine").glob("*[0-9]")
    assert kept.read_bytes() == file.content


def test_a_file_that_the_policy_leaves_out_is_refused_with_the_reason(
    simulator: Simulator, tmp_path: Path
) -> None:
    (old, new) = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator, select={"exclude": ["six<2"]})
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", old.filename)
        assert isinstance(answer, Refused) and "six<2" in answer.reason
        assert isinstance(fetcher.file("six", new.filename), Here)
    assert not simulator.downloads(old.filename)


def test_a_name_that_is_not_on_the_page_is_absent_and_costs_the_upstream_one_page(
    simulator: Simulator, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        for number in range(3):
            assert isinstance(fetcher.file("six", f"six-9.{number}.tar.gz"), Absent)
            assert isinstance(fetcher.file("no-such", f"no_such-9.{number}.tar.gz"), Absent)
    assert len(simulator.requests) == 2


def test_a_file_that_cannot_be_fetched_now_is_away_and_not_absent(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        assert isinstance(fetcher.page("six"), Here)
        with simulator.refusing():
            answer = fetcher.file("six", file.filename)
            assert isinstance(answer, Away) and simulator.host in answer.reason
        assert isinstance(fetcher.file("six", file.filename), Here)


def test_core_metadata_is_fetched_alone(simulator: Simulator, tmp_path: Path) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", f"{file.filename}.metadata")
        assert isinstance(answer, Here)
        assert Path(answer.path).read_bytes() == file.metadata
        assert not simulator.downloads(file.filename)
        file.metadata = b"Metadata-Version: 9"
        assert isinstance(fetcher.file("six", f"{file.filename}.metadata"), Here)  # kept


def test_core_metadata_outlives_its_fetcher_and_the_upstream(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Resolvers read the metadata of files that nobody installs here, such as those for Windows."""
    one, other = offer(simulator, "six", "1.0", "2.0")
    mirror = on_demand(tmp_path, simulator, download={"tries": 1})
    with Fetcher(mirror) as fetcher:
        left = [fetcher.file("six", f"{file.filename}.metadata") for file in (one, other)]
    simulator.refuse()
    (damaged,) = (mirror.root / ".pypimirror/on_demand").glob(f"*/packages/six/{other.filename}.*")
    damaged.write_bytes(b"Metadata-Version: 9")
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", f"{one.filename}.metadata")
        assert isinstance(answer, Here) and isinstance(left[0], Here)
        assert Path(answer.path).read_bytes() == one.metadata
        assert isinstance(fetcher.file("six", f"{other.filename}.metadata"), Away)


def test_a_file_without_a_digest_is_handed_out_only_from_the_mirror(
    simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0", digests=())
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        answer = fetcher.file("six", file.filename)
        assert answer == Here(answer.id) and mirror.holds(file)
    mirror.check()


def test_a_changed_digest_under_a_held_name_is_refused(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Promise 9."""
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, on_demand={"fresh": "0s"})
    held = bytes(file.content)
    with Fetcher(mirror) as fetcher:
        assert isinstance(fetcher.file("six", file.filename), Here)
        fetcher.wait_placed(mirror, file.filename)
        file.replace(held[::-1])
        mirror.path(file).rename(tmp_path / "away")
        page = fetcher.page("six")
        assert isinstance(page, Here)
        assert file.sha256 not in (Path(page.path) / "index.html").read_text()
        answer = fetcher.file("six", file.filename)
        assert isinstance(answer, Refused) and "was mirrored with sha256" in answer.reason


def test_a_file_that_an_error_kept_from_its_place_can_be_asked_for_again(
    simulator: Simulator, tmp_path: Path
) -> None:
    """It stayed claimed, and a sync that selects it waited for it."""
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with Fetcher(mirror) as fetcher:
        packages = mirror.root / ".pypimirror" / "on_demand" / "1" / "packages"
        packages.rmdir()
        packages.touch()
        assert isinstance(fetcher.file("six", file.filename), Away)
        until(lambda: not mirror.query("SELECT * FROM asked"))
        assert not list(packages.with_name("parts").iterdir())
        packages.unlink()
        packages.mkdir()
        assert isinstance(fetcher.file("six", file.filename), Here)
        fetcher.wait_placed(mirror, file.filename)


def test_the_space_of_a_file_that_comes_is_not_promised_twice(
    simulator: Simulator, tmp_path: Path
) -> None:
    """The keeper, which works in the same room, must not forget what the desk has claimed."""
    small, large, other = (offer(simulator, name, "1.0")[0] for name in ("six", "idna", "attrs"))
    for file in (large, other):
        file.set(size=shutil.disk_usage(tmp_path).free * 6 // 10)
    mirror = on_demand(tmp_path, simulator, download={"max_file_size": "1000 TiB"})
    with Fetcher(mirror) as fetcher:
        hold = simulator.hold(large.path)
        coming = fetcher.ask(FileQuestion(0, "idna", large.filename))
        hold.wait_reached()
        assert isinstance(fetcher.file("six", small.filename), Here)
        fetcher.wait_placed(mirror, small.filename)
        answer = fetcher.file("attrs", other.filename)
        assert isinstance(answer, Away) and "not enough space" in answer.reason
        hold.release()
        assert isinstance(fetcher.wait(coming), Failed)


def test_own_clients_end_no_wait_for_a_quiet_moment(tmp_path: Path) -> None:
    """They may use a file that waits for its place; only other fetchers wait for it."""
    keeper = Keeper(cast("Any", None), Store(tmp_path), cast("Any", None), lambda: 0.0)
    keeper.keep(Fetched("six", "six-1.0.zip"))
    used = [("six", "six-1.0.zip"), ("six", "six-2.0.zip"), ("idna", "idna-1.0.zip")]
    assert keeper.not_waiting(used) == used[1:]


def test_a_newer_copy_of_a_waiting_file_replaces_the_older_one(tmp_path: Path) -> None:
    keeper = Keeper(cast("Any", None), Store(tmp_path), cast("Any", None), lambda: 0.0)
    old, new = tmp_path / "1.part", tmp_path / "2.part"
    for path in (old, new, new):
        path.touch()
        keeper.keep(Fetched("six", "six-1.0.zip", path=str(path)))
    assert new.exists() and not old.exists()
