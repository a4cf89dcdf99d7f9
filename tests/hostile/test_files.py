"""Faults on the way of files, all in one sync: each costs its file and nothing else.

See "Transport" in the facts on hostile input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline.summary import Summary
from tests.corpus.build import make_sdist, make_wheel
from tests.hostile.conftest import Bomb, Room
from tests.mirror import offer_sdist
from tests.simulator import (
    Chunked,
    CloseIdle,
    Corrupt,
    Drip,
    Encoded,
    EndlessChunked,
    Hangup,
    HeaderFlood,
    HtmlError,
    IndexFile,
    Longer,
    LyingLength,
    MissingLength,
    NotModified,
    OtherFile,
    Padded,
    Raw,
    Redirect,
    RedirectLoop,
    Replace,
    Reset,
    Simulator,
    Stall,
    Status,
    Truncate,
    WrongRange,
)

PRIVATE = ["169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]", "[fe80::1]"]

#: Faults for good, and the reason that must be in the report; None where the file must come.
LASTING: dict[str, tuple[Any, Reason | None]] = {
    "reset": (Reset(), Reason.CONNECTION),
    "reset-in-body": (Reset(after=50), Reason.CONNECTION),
    "hang-up": (Hangup(), Reason.CONNECTION),
    "silence": (Stall(), Reason.TIMEOUT),
    "silence-in-body": (Stall(after=50), Reason.TIMEOUT),
    "slow-drip": (Drip(1, 0.05), Reason.TIMEOUT),
    "truncated": (Truncate(at=50), Reason.TRUNCATED),
    "more-than-said": (Longer(), None),  # the file itself is whole and proven
    "padded": (Padded(), Reason.SIZE_MISMATCH),
    "no-length": (MissingLength(), None),
    "no-length-and-cut": (MissingLength(at=50), Reason.TRUNCATED),
    "length-too-large": (LyingLength(10**6), Reason.SIZE_MISMATCH),
    "length-too-small": (LyingLength(10), Reason.SIZE_MISMATCH),
    "length-negative": (LyingLength("-5"), Reason.BAD_RESPONSE),
    "length-no-number": (LyingLength("many"), Reason.BAD_RESPONSE),
    "chunks": (Chunked(100), None),
    "chunks-without-end": (EndlessChunked(body=True), Reason.SIZE_MISMATCH),
    "chunks-cut": (Chunked(100, cut=True), Reason.TRUNCATED),
    "chunks-broken": (Chunked(100, bad=True), Reason.BAD_RESPONSE),
    "range-unasked": (WrongRange(), Reason.BAD_RESPONSE),
    "not-modified-unasked": (NotModified(), Reason.BAD_RESPONSE),
    "redirect-loop": (RedirectLoop(), Reason.REDIRECT),
    "redirects-without-end": (RedirectLoop(changing=True), Reason.REDIRECT),
    "redirect-to-nowhere": (Redirect(None), Reason.BAD_RESPONSE),
    "redirect-to-file": (Redirect("file:///etc/passwd"), Reason.REDIRECT),
    "redirect-to-data": (Redirect("data:,x"), Reason.REDIRECT),
    "redirect-to-other-host": (Redirect("http://192.0.2.1/x"), Reason.HOST_NOT_ALLOWED),
    "redirect-to-metadata": (Redirect("http://169.254.169.254/"), Reason.HOST_NOT_ALLOWED),
    "redirect-to-other-port": (Redirect("http://127.0.0.1:1/x"), Reason.HOST_NOT_ALLOWED),
    "missing": (Status(404), Reason.MISSING),
    "gone": (Status(410), Reason.MISSING),
    "refused": (Status(400), Reason.HTTP_STATUS),
    "broken-server": (Status(500), Reason.HTTP_STATUS),
    "unknown-status": (Status(299), Reason.BAD_RESPONSE),
    "html-in-place": (HtmlError(), Reason.BAD_RESPONSE),
    "html-padded-to-size": (None, Reason.BAD_RESPONSE),  # set below: it needs the size
    "encoded": (Encoded("gzip"), None),  # what it unpacks to is proven
    "encoded-badly": (Encoded("deflate", broken=True), Reason.DIGEST_MISMATCH),
    "bomb": (Bomb(64 << 20), Reason.DIGEST_MISMATCH),
    "header-flood": (HeaderFlood(20_000), Reason.BAD_RESPONSE),
    "header-flood-without-end": (HeaderFlood(None), Reason.BAD_RESPONSE),
    "no-http": (Raw(), Reason.BAD_RESPONSE),
    "empty-answer": (Raw(b""), Reason.CONNECTION),
    "flipped-bit": (Corrupt(at=70), Reason.DIGEST_MISMATCH),
    "other-file": (OtherFile(make_wheel("x", "1")[1]), Reason.SIZE_MISMATCH),
    "closed-while-idle": (CloseIdle(), None),
    "closed-on-reuse": (CloseIdle(on_reuse=True), None),
}

#: Faults of the first attempt only: the second must bring the file.
PASSING: dict[str, Any] = {
    "once-reset": Reset(after=50),
    "once-truncated": Truncate(at=50),
    "once-silent": Stall(),
    "once-429": Status(429),
    "once-429-retry-after": Status(429, retry_after=0),
    "once-503": Status(503),
    "once-503-retry-after": Status(503, retry_after=0),
    "once-503-odd-retry-after": Status(503, retry_after="soon"),
    "once-flipped": Corrupt(at=70),
    "once-html": HtmlError(),
}

#: What a server answers that is asked to continue a transfer which broke.
RESUMED: dict[str, Any] = {
    "resume-well": None,
    "resume-elsewhere": WrongRange(shift=7),
    "resume-elsewhere-silently": WrongRange(shift=7, silent=True),
    "resume-other-file": OtherFile(bytes(300_000), etag='"other"'),
    "resume-not-modified": NotModified(),
}


@dataclass
class Case:
    """One sync with everything that is wrong."""

    room: Room
    simulator: Simulator
    files: dict[str, IndexFile]
    siblings: dict[str, IndexFile]
    result: Summary

    def failure(self, name: str) -> Reason | None:
        file = self.files[name].filename
        return next((p.reason for p in self.result.failures if p.file == file), None)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Case]:
    with Simulator() as simulator:
        files, siblings = {}, {}
        for name in [*LASTING, *PASSING, *RESUMED]:
            padding = 200_000 if name in RESUMED else 1500
            content = make_sdist(name, "1.0", padding=padding)
            files[name] = simulator.add_file(name, *content)
            siblings[name] = offer_sdist(simulator, name, "2.0")
        for name, (fault, _) in LASTING.items():
            if fault is None:
                page = HtmlError().body.ljust(len(files[name].content))
                fault = HtmlError(page)
            simulator.fault(files[name], fault)
        for name, fault in PASSING.items():
            simulator.fault(files[name], fault, nth=1)
        for name, fault in RESUMED.items():
            # Not a reset: that may throw away what the client has not read yet.
            simulator.fault(files[name], Truncate(at=100_000), nth=1)
            if fault is not None:
                simulator.fault(files[name], fault, nth=2)
        room = Room(tmp_path_factory.mktemp("files"), simulator)
        # The bounds are on what a file costs, whatever the machine does besides.
        result = room.mirror.sync()
        yield Case(room, simulator, files, siblings, result)


@pytest.mark.parametrize("name", [name for name, (_, why) in LASTING.items() if why])
def test_a_faulty_file_is_reported_with_its_reason_and_not_published(case: Case, name: str) -> None:
    assert case.failure(name) is LASTING[name][1]
    assert case.files[name].filename not in case.room.mirror.files(name)
    assert not case.room.mirror.path(case.files[name]).exists()


@pytest.mark.parametrize(
    "name", [*(name for name, (_, why) in LASTING.items() if why is None), *PASSING, *RESUMED]
)
def test_what_can_be_cured_is_published(case: Case, name: str) -> None:
    if name in ("resume-not-modified",):
        # That answer takes the second and last attempt; nothing wrong was taken for right.
        assert case.failure(name) in (Reason.BAD_RESPONSE, None)
        return
    assert case.failure(name) is None
    assert case.files[name].filename in case.room.mirror.files(name)
    assert case.room.mirror.holds(case.files[name])


@pytest.mark.parametrize("name", [*LASTING, *PASSING, *RESUMED])
def test_the_file_beside_a_faulty_one_is_published(case: Case, name: str) -> None:
    assert case.siblings[name].filename in case.room.mirror.files(name)


def test_the_run_says_that_files_failed_and_which(case: Case) -> None:
    assert case.result.state == "incomplete"
    failed = {problem.file for problem in case.result.failures}
    assert case.result.counts["files_failed"] == len(failed) == len(case.result.failures)
    assert all(problem.message and problem.project for problem in case.result.failures)
    assert set(case.result.stages) == {"download"}


def test_nothing_outside_of_the_mirror_root_is_touched(case: Case) -> None:
    case.room.check()


def test_private_addresses_were_not_asked(case: Case) -> None:
    for name in ("redirect-to-metadata", "redirect-to-other-host", "redirect-to-other-port"):
        (problem,) = [p for p in case.result.failures if p.file == case.files[name].filename]
        assert problem.attempts == 1
        assert "hosts" in problem.message


def test_resumed_transfers_send_only_the_rest(case: Case) -> None:
    asked = [
        request.headers.get("range") for request in case.simulator.find(case.files["resume-well"])
    ]
    assert asked[0] is None
    assert len(asked) == 2
    assert str(asked[1]).startswith("bytes=")


def test_healed_everything_comes_and_nothing_twice(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Last in this file: it changes what the others look at, so it works on a copy."""
    import shutil

    from tests.mirror import Mirror

    copy = Mirror(tmp_path_factory.mktemp("healed"), case.simulator, **case.room.mirror.sections)
    shutil.copytree(case.room.mirror.root, copy.root)
    with Simulator() as other:
        # The same index without faults, at the same address for the mirror's sake.
        other.index = case.simulator.index
        copy.upstreams[0]["url"] = other.url
        copy.configure()
        result = copy.sync()
        assert result.state == "completed", result.failures
        for name, file in case.files.items():
            assert copy.holds(file), name
            published = case.failure(name) is None
            assert other.downloads(file.filename) == (0 if published else 1), name
        for name, sibling in case.siblings.items():
            assert other.downloads(sibling.filename) == 0, name
    assert list((copy.root / ".pypimirror" / "staging").iterdir()) == []


# Whole upstreams


def test_a_refusing_upstream_is_named_and_what_is_published_stays(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = offer_sdist(simulator, "six", "1.0")
    room = Room(tmp_path_factory.mktemp("refused"), simulator)
    room.mirror.sync()
    with simulator.refusing():
        result = room.mirror.sync()
    assert result.state == "failed"
    assert {problem.reason for problem in result.failures} == {Reason.CONNECTION}
    assert room.mirror.files("six") == [file.filename]
    room.check()


def test_a_redirect_from_https_to_http_is_refused(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator() as plain, Simulator(tls=True) as secure:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.ca_file))
        monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_file))
        good, bad = offer_sdist(secure, "six", "1.0"), offer_sdist(secure, "six", "2.0")
        elsewhere = offer_sdist(plain, "six", "2.0")
        secure.fault(bad, Redirect(f"{plain.root}{elsewhere.path}"))
        room = Room(tmp_path_factory.mktemp("tls"), secure)
        room.mirror.upstreams[0]["hosts"] = ["127.0.0.1"]
        room.mirror.configure()
        result = room.mirror.sync()
    assert [problem.reason for problem in result.failures] == [Reason.REDIRECT]
    assert room.mirror.files("six") == [good.filename]
    assert plain.requests == []
    room.check()


def test_a_host_that_is_allowed_by_star_must_be_public(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = {f"host-{n}": host for n, host in enumerate(PRIVATE)}
    for name, host in names.items():
        simulator.add_file(name, *make_sdist(name, "1.0"), url=f"http://{host}/{name}-1.0.tar.gz")
        offer_sdist(simulator, name, "2.0")
    room = Room(tmp_path_factory.mktemp("star"), simulator)
    room.mirror.upstreams[0]["hosts"] = ["*"]
    room.mirror.configure()
    result = room.mirror.sync()
    found = {problem.project: problem.reason for problem in result.failures}
    literal = {name for name, host in names.items() if host[-1].isdigit() or host[0] == "["}
    assert {found[name] for name in literal} == {Reason.HOST_NOT_ALLOWED}
    assert set(found) == set(names)
    assert all(len(room.mirror.files(name)) == 1 for name in names)
    room.check()


def test_a_file_larger_than_allowed_is_not_fetched_whether_its_size_is_said_or_not(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = offer_sdist(simulator, "six", "1.0")
    said = simulator.add_file("six", *make_sdist("six", "2.0", padding=300_000))
    unsaid = simulator.add_file("six", *make_sdist("six", "3.0", padding=300_000), size=None)
    endless = simulator.add_file("six", *make_sdist("six", "4.0"), size=None)
    simulator.fault(endless, EndlessChunked())
    lying = simulator.add_file("six", *make_sdist("six", "5.0"), size=None)
    simulator.fault(lying, MissingLength())
    simulator.fault(lying, Replace(bytes(400_000)))
    room = Room(tmp_path_factory.mktemp("large"), simulator)
    room.mirror.configure(download={"max_file_size": 100_000})
    result = room.mirror.sync()
    found = {problem.file: problem.reason for problem in result.failures}
    assert found == {f.filename: Reason.TOO_LARGE for f in (said, unsaid, endless, lying)}
    assert room.mirror.files("six") == [small.filename]
    assert simulator.bytes_sent(said) < 300_000 or simulator.count(said) == 1
    assert list((room.mirror.root / ".pypimirror" / "staging").iterdir()) == []
    room.check()
