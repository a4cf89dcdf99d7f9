"""Levels of proof, recorded with algorithm, source and time; sources that pool their digests by
project and file name, and what happens where they contradict each other or change their minds."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pypimirror.domain.model import Reason
from tests.corpus.build import core_metadata, make_sdist, make_wheel
from tests.integrity.watching import Watcher
from tests.links import LinkMirror, page, put, with_digest
from tests.mirror import Mirror, offer, reasons
from tests.pipeline.conftest import MakeMirror
from tests.simulator import IndexFile, Simulator

MADE = make_sdist("six", "1.0", padding=2000)
NAME = MADE[0]
DIGEST, SHARED, STRUCTURE, PARTIAL = 1, 2, 3, 4
ODD = "six-1.0.dmg"  #: a kind that nothing here can read


def add(
    simulator: Simulator, digests: Any, content: bytes = MADE[1], name: str = NAME
) -> IndexFile:
    """Offer a file, with these digests and no size."""
    return simulator.add_file("six", name, content, digests=digests, size=None)


def proof(mirror: Mirror, name: str = NAME) -> tuple[int | None, str | None, str | None]:
    (row,) = mirror.query("SELECT * FROM files WHERE filename = ?", name)
    return row["proof"], row["proof_algorithm"], row["proof_source"]


def wrong(algorithm: str) -> dict[str, str]:
    """A digest that no file here has."""
    return {algorithm: hashlib.new(algorithm, b"something else").hexdigest()}


# Levels


@pytest.mark.parametrize(
    ("digests", "expected"),
    [
        (("sha256",), (DIGEST, "sha256", "sim0")),
        (("md5", "sha512"), (DIGEST, "sha512", "sim0")),
        (("blake2b_256",), (DIGEST, "blake2b_256", "sim0")),
        (("md5",), (DIGEST, "md5", "sim0")),
        (("sha1", "md5"), (DIGEST, "sha1", "sim0")),
        (None, (STRUCTURE, None, None)),
    ],
    ids=["sha256", "sha512", "blake2b", "md5", "sha1", "none"],
)
def test_each_level_is_recorded_with_algorithm_source_and_time(
    mirror: Mirror, simulator: Simulator, digests: Any, expected: tuple[Any, ...]
) -> None:
    add(simulator, digests)
    before = time.time()
    assert mirror.sync().state == "completed"
    assert proof(mirror) == expected
    (row,) = mirror.query("SELECT proven_at FROM files")
    assert before <= row["proven_at"] <= time.time()


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
@pytest.mark.parametrize("how", ["cut", "tail"])
def test_weak_digests_that_fit_prove_nothing_of_a_broken_archive(
    mirror: Mirror, simulator: Simulator, algorithm: str, how: str
) -> None:
    """The upstream itself serves rubbish, and the digest of that rubbish."""
    broken = MADE[1][:-300] if how == "cut" else MADE[1] + b"more"
    file = add(simulator, (algorithm,), broken)
    result = mirror.sync()
    assert reasons(result.failures) == {NAME: Reason.BAD_ARCHIVE}
    assert mirror.state(NAME) == "quarantined"
    assert mirror.files("six") == [] and not mirror.path(file).exists()


def test_a_strong_digest_that_fits_is_enough_for_an_odd_archive(
    mirror: Mirror, simulator: Simulator
) -> None:
    """What the publisher uploaded is what he gets; only proof is asked for, not taste."""
    file = add(simulator, ("sha256",), b"no archive at all")
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)


@pytest.mark.parametrize("accept", ["digest", "shared", "structure", "partial"])
def test_only_what_is_proven_as_well_as_accepted_is_published(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, accept: str
) -> None:
    files = {
        "digest": add(simulator, ("sha256",)),
        "shared": add(simulator, None, name="six-2.0.tar.gz", content=make_sdist("six", "2.0")[1]),
        "structure": add(simulator, None, name="six-3.tar.gz", content=make_sdist("six", "3")[1]),
        "partial": add(simulator, None, name=ODD),
    }
    add(second, ("sha256",), make_sdist("six", "2.0")[1], "six-2.0.tar.gz")
    mirror = make_mirror(simulator, second, verify={"accept": accept})
    result = mirror.sync()
    levels = list(files)
    good = {files[name].filename for name in levels[: levels.index(accept) + 1]}
    assert set(mirror.files("six")) == good
    bad = {file.filename for file in files.values()} - good
    assert reasons(result.failures) == dict.fromkeys(bad, Reason.NO_PROOF)
    assert all(repr(accept) in problem.message for problem in result.failures)
    assert all(not mirror.path(file).exists() for file in files.values() if file.filename in bad)
    mirror.configure(verify={"accept": "partial"})
    assert mirror.sync().state == "completed", "nothing is downloaded again, it is only accepted"
    assert set(mirror.files("six")) == {file.filename for file in files.values()}
    assert all(simulator.downloads(file.filename) == 1 for file in files.values())


# Other sources


def test_another_upstreams_digest_proves_the_owners_file(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    add(simulator, None)
    add(second, ("sha256",))
    mirror = make_mirror(simulator, second)
    assert mirror.sync().state == "completed"
    assert proof(mirror) == (SHARED, "sha256", "sim1")
    assert (simulator.downloads(NAME), second.downloads(NAME)) == (1, 0)


def test_another_upstreams_digest_convicts_the_owners_file(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    file = add(simulator, None, make_sdist("six", "1.0", padding=10)[1])
    add(second, ("sha256",))
    mirror = make_mirror(simulator, second)
    assert reasons(mirror.sync().failures) == {NAME: Reason.DIGEST_MISMATCH}
    assert not mirror.path(file).exists()


@pytest.mark.parametrize("own", [None, ("md5",)])
def test_an_alternate_is_asked_for_digests_where_the_owner_has_no_strong_one(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, own: Any
) -> None:
    add(simulator, own)
    add(second, ("sha256",))
    mirror = make_mirror(simulator)
    mirror.upstreams[0]["alternates"] = [second.url]
    mirror.configure()
    assert mirror.sync().state == "completed"
    assert proof(mirror) == (SHARED, "sha256", second.url)


def test_a_page_of_links_shares_its_digests(tmp_path: Path, simulator: Simulator) -> None:
    add(simulator, None)
    url = page(simulator, "/l", with_digest(put(simulator, MADE), MADE, "sha512"))
    mirror = LinkMirror(tmp_path, {"url": simulator.url}, {"kind": "links", "url": url})
    assert mirror.sync().state == "completed"
    assert proof(mirror) == (SHARED, "sha512", "up1")


def test_the_owner_vouches_where_its_digest_is_as_strong(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    add(simulator, ("sha256",))
    add(second, ("sha256", "md5"))
    mirror = make_mirror(simulator, second)
    mirror.sync()
    assert proof(mirror) == (DIGEST, "sha256", "sim0")


# Contradictions


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_sources_that_contradict_each_other_are_refused_with_both_claims_named(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, algorithm: str
) -> None:
    add(simulator, (algorithm,))
    fine = add(simulator, ("sha256",), make_sdist("six", "2.0")[1], "six-2.0.tar.gz")
    claim = wrong(algorithm)
    add(second, claim)
    mirror = make_mirror(simulator, second)
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        assert reasons(result.failures) == {NAME: Reason.DIGEST_CONFLICT}
        message = result.failures[0].message
        mine = hashlib.new(algorithm, MADE[1]).hexdigest()
        assert all(text in message for text in ("sim0", mine, "sim1", claim[algorithm]))
        assert "authoritative" in message
        assert mirror.files("six") == [fine.filename]
    assert simulator.downloads(NAME) == second.downloads(NAME) == 0


def test_claims_of_two_algorithms_that_no_bytes_can_meet_are_refused_and_both_named(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    """Only the bytes tell that they contradict each other."""
    claim = wrong("md5")
    file = add(simulator, claim)
    add(second, ("sha256",))
    mirror = make_mirror(simulator, second)
    result = mirror.sync()
    assert reasons(result.failures) == {NAME: Reason.DIGEST_MISMATCH}
    message = result.failures[0].message
    assert all(text in message for text in (claim["md5"], file.sha256, "contradict"))
    assert mirror.files("six") == []


@pytest.mark.parametrize("believed", [0, 1])
def test_the_authoritative_upstream_is_believed(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator, believed: int
) -> None:
    sources = [simulator, second]
    add(sources[believed], ("sha256",))
    add(sources[1 - believed], wrong("sha256"))
    mirror = make_mirror(simulator, second)
    mirror.upstreams[believed]["authoritative"] = True
    mirror.configure()
    result = mirror.sync()
    assert (result.state, mirror.files("six")) == ("completed", [NAME])
    assert proof(mirror) == (DIGEST if believed == 0 else SHARED, "sha256", f"sim{believed}")


def test_believing_a_source_does_not_let_bad_bytes_in(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    file = add(simulator, wrong("sha256"))
    add(second, ("sha256",))
    mirror = make_mirror(simulator, second)
    mirror.upstreams[0]["authoritative"] = True
    mirror.configure()
    assert reasons(mirror.sync().failures) == {NAME: Reason.DIGEST_MISMATCH}
    assert not mirror.path(file).exists()


def test_a_file_that_is_published_stays_when_a_source_begins_to_contradict(
    make_mirror: MakeMirror, simulator: Simulator, second: Simulator
) -> None:
    file = add(simulator, ("sha256",))
    mirror = make_mirror(simulator, second)
    mirror.sync()
    add(second, wrong("sha256"))
    simulator.project("six").touch()
    file.set(requires_python=">=3")
    assert reasons(mirror.sync().failures) == {NAME: Reason.DIGEST_CONFLICT}
    assert mirror.holds(file) and mirror.files("six") == [NAME]


# A digest that changed


def changed_files(simulator: Simulator) -> list[IndexFile]:
    return [*offer(simulator, "six", "1.0", "2.0"), add(simulator, ("sha256",))]


def test_on_changed_refuse_keeps_what_was_verified(mirror: Mirror, simulator: Simulator) -> None:
    files = changed_files(simulator)
    mirror.sync()
    served = mirror.served()
    files[0].replace(make_wheel("six", "1.0", padding=100)[1])
    result = mirror.sync()
    assert reasons(result.failures) == {files[0].filename: Reason.DIGEST_CHANGED}
    assert mirror.served().keys() == served.keys()
    assert not mirror.holds(files[0])


@pytest.mark.parametrize("when", ["at-once", "slowly"])
def test_on_changed_replace_never_shows_an_old_digest_over_new_bytes(
    make_mirror: MakeMirror, simulator: Simulator, when: str
) -> None:
    mirror = make_mirror(simulator, verify={"on_changed": "replace"})
    files = changed_files(simulator)
    mirror.sync()
    watcher = Watcher(mirror.root)
    if when == "slowly":
        simulator.latency = 0.02
    with watcher.watching():
        for turn in range(4):
            files[0].replace(make_wheel("six", "1.0", padding=100_000 + turn)[1])
            files[2].replace(make_sdist("six", "1.0", padding=100_000 + turn)[1])
            assert mirror.sync().state == "completed"
            assert mirror.holds(files[0]) and mirror.holds(files[2])
    assert watcher.wrong == []
    assert len(watcher.seen) >= 4, "it saw old ones and new ones"
    (old,) = mirror.query("SELECT sha256 FROM files WHERE filename = ?", files[0].filename)
    assert old["sha256"].hex() == files[0].sha256


def test_on_changed_replace_takes_new_bytes_only_with_proof(
    make_mirror: MakeMirror, simulator: Simulator
) -> None:
    mirror = make_mirror(simulator, verify={"on_changed": "replace"})
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    file.replace(make_wheel("six", "1.0", padding=100)[1])
    file.set(digests=wrong("sha256"))
    result = mirror.sync()
    assert reasons(result.failures) == {file.filename: Reason.DIGEST_MISMATCH}
    assert mirror.files("six") == [], "the upstream disowned the old ones, and has no good ones"
    mirror.check()


# Core metadata


def beside(mirror: Mirror, file: IndexFile) -> Path:
    path = mirror.path(file)
    return path.with_name(path.name + ".metadata")


def announced(mirror: Mirror, project: str) -> dict[str, Any]:
    return {f["filename"]: f.get("core-metadata") for f in mirror.page(project)["files"]}


@pytest.mark.parametrize("digests", [("sha256",), ("md5",), None], ids=["sha256", "md5", "none"])
def test_core_metadata_of_each_wheel_is_extracted_and_published_with_its_digest(
    mirror: Mirror, simulator: Simulator, digests: Any
) -> None:
    """The upstream is old and knows nothing of it."""
    file = simulator.add_file("six", *make_wheel("six", "1.0"), digests=digests, size=None)
    sdist = add(simulator, ("sha256",))
    assert mirror.sync().state == "completed"
    expected = core_metadata("six", "1.0")
    assert beside(mirror, file).read_bytes() == expected
    digest = hashlib.sha256(expected).hexdigest()
    found = announced(mirror, "six")
    assert (found[file.filename], found[sdist.filename]) == ({"sha256": digest}, None)
    html = (mirror.root / "simple" / "six" / "index.html").read_text()
    assert f'data-core-metadata="sha256={digest}"' in html
    assert not beside(mirror, sdist).exists()


def test_core_metadata_of_the_upstream_that_is_not_the_wheels_own_is_refused(
    mirror: Mirror, simulator: Simulator
) -> None:
    """The wheel is served without: an installer must resolve what it will install."""
    lie = core_metadata("six", "1.0", requires=["evil"])
    file = simulator.add_file("six", *make_wheel("six", "1.0"), core_metadata=lie)
    (fine,) = offer(simulator, "six", "2.0")
    result = mirror.sync()
    assert reasons(result.failures) == {file.filename: Reason.METADATA_MISMATCH}
    message = result.failures[0].message
    mine = hashlib.sha256(core_metadata("six", "1.0")).hexdigest()
    assert hashlib.sha256(lie).hexdigest() in message and mine in message
    assert mirror.holds(file) and not beside(mirror, file).exists()
    found = announced(mirror, "six")
    assert found[file.filename] is None and found[fine.filename] is not None
    assert lie not in [path.read_bytes() for path in mirror.root.rglob("*.metadata")]


def test_core_metadata_of_the_upstream_is_never_even_asked_for(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert not simulator.find("*.metadata")
    assert json.dumps(announced(mirror, "six")).count("sha256") == 1
