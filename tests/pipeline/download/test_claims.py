"""What an upstream claims of a file is used or contradicted aloud, whatever it is."""

from __future__ import annotations

import hashlib

import pytest

from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer, reasons
from tests.simulator import Simulator


def test_a_yank_without_a_reason_stands_on_both_pages(mirror: Mirror, simulator: Simulator) -> None:
    """devpi writes an empty text for it."""
    offer(simulator, "six", "1.0", yanked="")
    mirror.sync()
    assert [file["yanked"] for file in mirror.page("six")["files"]] == [True]
    assert 'data-yanked=""' in (mirror.root / "simple/six/index.html").read_text()


@pytest.mark.parametrize("hashes", [{}, {"md5": ...}])
def test_a_digest_in_the_link_of_a_json_page_decides(
    mirror: Mirror, simulator: Simulator, hashes: dict[str, object]
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    stated = {name: hashlib.new(name, bytes(file.content)).hexdigest() for name in hashes}
    address = f"{simulator.root}{file.path}"
    file.extra |= {"hashes": stated, "url": f"{address}#egg=six&sha256={'0' * 64}"}
    simulator.project("six").touch()
    result = mirror.sync()
    assert reasons(result.failures) == {file.filename: "digest-mismatch"}
    assert not mirror.path(file).exists()
    file.extra["url"] = f"{address}#sha256={hashlib.sha256(bytes(file.content)).hexdigest()}"
    simulator.project("six").touch()
    mirror.sync()
    assert mirror.holds(file)


def test_another_size_of_a_file_without_digests_is_fetched(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    file.set(digests={})
    mirror.sync()
    _, longer = make_wheel("six", "1.0", padding=500)
    assert len(longer) > len(file.content)
    file.replace(longer)
    file.set(digests={})
    result = mirror.sync()
    assert result.state == "completed"
    assert mirror.holds(file)


def test_a_size_that_is_a_lie_is_told_and_the_file_stays(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.configure(select={"max_file_size": "1 MiB"})
    mirror.sync()
    file.set(size=10**9, yanked="bad")
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {file.filename: "size-mismatch"}
    (said,) = mirror.page("six")["files"]
    assert (said["size"], said["yanked"]) == (len(file.content), "bad")
