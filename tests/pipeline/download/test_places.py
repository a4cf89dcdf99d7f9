"""Several links for one file name: tried in turn, best proof first, until one passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypimirror.domain.model import Claim, File, Reason
from pypimirror.pipeline.discover.decisions.merging import further_links
from pypimirror.upstream.collecting import MAX_LINKS, Collector
from tests.corpus.build import make_sdist
from tests.links import LinkMirror, page, put, with_digest
from tests.mirror import reasons
from tests.simulator import Hangup, Simulator, Status, Truncate

MADE = make_sdist("six", "1.0", padding=4000)
BAD = MADE[1][:-500]  #: arrives well, and is cut off


@pytest.fixture
def other() -> Iterator[Simulator]:
    """Another host."""
    with Simulator(host="127.0.0.2") as running:
        yield running


def links_mirror(tmp_path: Path, simulator: Simulator, *links: str, **more: Any) -> LinkMirror:
    url = page(simulator, "/l", *links)
    return LinkMirror(tmp_path, {"kind": "links", "url": url, "hosts": ["127.0.0.2"]} | more)


# The order


def test_the_best_proven_link_is_tried_first_and_suffices(
    tmp_path: Path, simulator: Simulator
) -> None:
    at = {n: put(simulator, MADE, f"/{n}/{MADE[0]}") for n in ("none", "md5", "sha256")}
    links = at["none"], with_digest(at["md5"], MADE, "md5"), with_digest(at["sha256"], MADE)
    mirror = links_mirror(tmp_path, simulator, *links)
    assert mirror.sync().state == "completed"
    asked = [request.path for request in simulator.find(f"*/{MADE[0]}")]
    assert asked == [f"/sha256/{MADE[0]}"]


def test_links_are_ranked_bounded_and_each_is_kept_once() -> None:
    collected = Collector("six")
    for n, digests in enumerate([{}, {"md5": "ab" * 16}, {}, {"sha256": "ab" * 32}, {}]):
        collected.add(File("six-1.zip", f"http://host/{n}", digests))
    collected.add(File("six-1.zip", "http://host/0"))
    (file,) = collected.files
    order = [url[-1] for url in (file.url, *file.other_urls)]
    assert order == ["3", "1", "0", "2", "4"]
    for n in range(100):
        collected.add(File("six-1.zip", f"http://other/{n}"))
    assert len(collected.files[0].other_urls) == MAX_LINKS - 1


def test_the_owners_links_come_before_those_of_other_sources() -> None:
    file = File("six-1.zip", "http://a/1", other_urls=("http://a/2",))
    others = [Claim("b", {}, ("http://b/1",)), Claim("c", {"sha256": "ab" * 32}, ("http://c/1",))]
    assert further_links(file, others, "a") == [
        ("a", "http://a/2"),
        ("c", "http://c/1"),
        ("b", "http://b/1"),
    ]


# What makes the next one tried


@pytest.mark.parametrize(
    "fault", [Status(404), Status(500), Hangup(), Truncate(at=50)], ids=lambda f: type(f).__name__
)
def test_a_place_that_fails_is_made_good_by_the_next(
    tmp_path: Path, simulator: Simulator, other: Simulator, fault: Any
) -> None:
    mirror = links_mirror(tmp_path, simulator, put(simulator, MADE), put(other, MADE))
    simulator.fault(f"/packages/{MADE[0]}", fault)
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert mirror.has(MADE)


def test_a_host_that_is_not_allowed_is_passed_over_for_the_next(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mirror = links_mirror(tmp_path, simulator, put(other, MADE), put(simulator, MADE), hosts=[])
    assert mirror.sync().state == "completed"
    assert other.requests == []


@pytest.mark.parametrize("algorithm", ["sha256", "md5", None])
def test_a_bad_copy_is_put_aside_with_its_address_and_the_next_is_taken_in_the_same_run(
    tmp_path: Path, simulator: Simulator, other: Simulator, algorithm: str | None
) -> None:
    """Without a digest the first copy downloads well, and only its structure shows it broken."""
    bad = put(simulator, MADE, content=BAD)
    first = with_digest(bad, MADE, algorithm) if algorithm else bad
    mirror = links_mirror(tmp_path, simulator, first, put(other, MADE))
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert result.counts["files_quarantined"] == 0
    assert mirror.has(MADE)
    assert mirror.quarantined() == {MADE[0]: bad}


def test_a_digest_from_any_link_checks_the_copies_of_all(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    claimed = with_digest(put(simulator, MADE), MADE)
    simulator.fault(f"/packages/{MADE[0]}", Status(404))
    mirror = links_mirror(tmp_path, simulator, claimed, put(other, MADE, content=b"another"))
    result = mirror.sync()
    assert result.state == "incomplete"
    assert mirror.content(MADE[0]) is None
    assert mirror.quarantined() == {MADE[0]: f"{other.root}/packages/{MADE[0]}"}


def test_when_no_place_has_good_bytes_the_first_answer_is_reported_once(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    first = put(simulator, MADE, content=BAD)
    mirror = links_mirror(tmp_path, simulator, first, put(other, MADE, content=BAD[:-9]))
    result = mirror.sync()
    assert reasons(result.failures) == {MADE[0]: Reason.BAD_ARCHIVE}
    assert result.failures[0].url == first
    assert result.counts["files_quarantined"] == 1
    assert mirror.content(MADE[0]) is None
    put(other, MADE)  # mended: the next run finds it
    assert mirror.sync().state == "completed"
    assert mirror.has(MADE)


# Other sources


def two(tmp_path: Path, simulator: Simulator, other: Simulator, **said: Any) -> LinkMirror:
    """A mirror of an index, with a page of links behind it that has the file as well."""
    simulator.add_file("six", *MADE, **said)
    url = page(other, "/l", put(other, MADE))
    return LinkMirror(tmp_path, {"url": simulator.url}, {"kind": "links", "url": url})


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_another_upstreams_copy_stands_in_where_the_owner_says_what_it_must_be(
    tmp_path: Path, simulator: Simulator, other: Simulator, algorithm: str
) -> None:
    mirror = two(tmp_path, simulator, other, digests=(algorithm,))
    simulator.fault(f"/packages/six/{MADE[0]}", Status(404))
    assert mirror.sync().state == "completed"
    assert mirror.has(MADE)


def test_another_upstreams_copy_never_stands_in_where_only_the_other_vouches_for_it(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    """Else whoever offers a name there could put other bytes in its place."""
    mirror = two(tmp_path, simulator, other, digests=None, size=None)
    page(other, "/l", with_digest(put(other, MADE), MADE))
    simulator.fault(f"/packages/six/{MADE[0]}", Status(404))
    assert reasons(mirror.sync().failures) == {MADE[0]: Reason.MISSING}
    assert other.downloads(MADE[0]) == 0


def test_the_alternates_are_tried_when_a_copy_turns_out_broken_in_verification(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    for sim in (simulator, other):
        sim.add_file("six", *MADE, digests=None, size=None)
    put(simulator, MADE, f"/packages/six/{MADE[0]}", content=BAD)
    mirror = LinkMirror(tmp_path, {"url": simulator.url, "alternates": [other.url]})
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert mirror.has(MADE)


def test_links_of_an_upstream_that_left_the_configuration_are_not_tried(
    tmp_path: Path, simulator: Simulator, other: Simulator
) -> None:
    mirror = two(tmp_path, simulator, other)
    rule = simulator.fault(f"/packages/six/{MADE[0]}", Status(404))
    other.fault(f"/packages/{MADE[0]}", Status(404))
    mirror.sync()
    mirror.upstreams.pop()
    mirror.configure()
    assert reasons(mirror.sync().failures) == {MADE[0]: Reason.MISSING}
    simulator.heal(rule)
    assert mirror.sync().state == "completed"
