"""What goes wrong upstream and in files, as clients of a mirror on demand see it.

The cases are those of `tests/hostile`. A client asks for each of them. It gets what is right, or an
error that says so: no complete answer that is wrong, and no 404 for what is only away.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from pypimirror.domain.model import Reason
from tests.corpus.build import make_sdist, make_wheel, pack_tar_gz, pack_zip
from tests.crash.test_full_disk import SIZE, ballast, without_reserve
from tests.crash.test_full_disk import disk as disk
from tests.hostile import test_files, test_names, test_pages
from tests.hostile.conftest import Room
from tests.mirror import Mirror, offer, offer_sdist
from tests.on_demand.site import (
    Got,
    ask,
    at_once,
    check_whole,
    on_demand,
    serving,
    until,
    wait_placed,
    whole,
)
from tests.simulator import (
    Chunked,
    Corrupt,
    Drip,
    EndlessChunked,
    Fault,
    HtmlError,
    IndexFile,
    MissingLength,
    Padded,
    Replace,
    Reset,
    Simulator,
    Truncate,
)
from tests.simulator.pages import json_project

pytestmark = pytest.mark.slow

LARGE = 9 << 20  #: bytes of a file that is streamed
DEMAND = {"projects": ["*"]}


@dataclass
class Asked:
    """What clients got, and the mirror afterwards."""

    room: Room
    files: dict[str, IndexFile]
    got: dict[str, Got]


# Files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Asked]:
    """Ask for each faulty file, all at once, and for a good one beside it."""
    with Simulator() as simulator:
        offered, beside = {}, []
        for name in [*test_files.LASTING, *test_files.PASSING]:
            file = offered[name] = simulator.add_file(name, *make_sdist(name, "1.0", padding=1500))
            beside.append(offer_sdist(simulator, name, "2.0"))
            if name in test_files.PASSING:
                simulator.fault(file, test_files.PASSING[name], nth=1)
                continue
            page = HtmlError(HtmlError().body.ljust(len(file.content)))
            simulator.fault(file, test_files.LASTING[name][0] or page)
        room = Room(tmp_path_factory.mktemp("files"), simulator, on_demand=DEMAND)
        with serving(room.mirror) as served:
            each = at_once([partial(served.get, file) for file in offered.values()])
            got = dict(zip(offered, each, strict=True))
            for file, each in zip(
                beside, at_once([partial(served.get, file) for file in beside]), strict=True
            ):
                assert (each.status, each.body) == (200, bytes(file.content))
            wait_placed(room.mirror, beside)
            for name in [*GOOD, *test_files.PASSING]:
                file = offered[name]
                if got[name].is_honest_error:  # after a while, what comes is streamed, or cut
                    got[name] = until(lambda file=file: _complete(served.get(file)))  # type: ignore[misc]
        yield Asked(room, offered, got)


GOOD = [name for name, (_, why) in test_files.LASTING.items() if why is None]


@pytest.mark.parametrize("name", [*GOOD, *test_files.PASSING])
def test_what_can_be_cured_comes(files: Asked, name: str) -> None:
    got = files.got[name]
    assert (got.status, got.body) == (200, bytes(files.files[name].content)), got
    assert got.complete


@pytest.mark.parametrize("name", sorted(test_files.LASTING.keys() - set(GOOD)))
def test_what_cannot_be_cured_is_an_honest_error(files: Asked, name: str) -> None:
    got = files.got[name]
    of_policy = test_files.LASTING[name][1] is Reason.HOST_NOT_ALLOWED
    assert got.is_honest_error or (of_policy and got.status == 403), got
    assert not files.room.mirror.path(files.files[name]).exists()


def test_nothing_outside_of_the_mirror_is_touched_by_files(files: Asked) -> None:
    files.room.check()


# Streams

STREAMS: dict[str, Fault] = {
    "flipped-first-bit": Corrupt(at=0),
    "flipped-bit": Corrupt(at=LARGE // 2),
    "flipped-last-bit": Corrupt(at=LARGE - 1),
    "truncated": Truncate(at=LARGE - 1),
    "padded": Padded(b"x"),
    "cut-without-length": MissingLength(at=LARGE - 1),
    "chunks-cut": Chunked(1 << 20, cut=True),
    "never-ending": EndlessChunked(body=True),
    "reset": Reset(after=LARGE - 1),
}


@pytest.fixture(scope="module")
def large() -> tuple[str, bytes]:
    """A file that is too large to be verified before its first byte is sent."""
    filename, content = make_sdist("large", "1.0", files={"noise": _noise(LARGE)})
    return filename, content


def _noise(size: int) -> bytes:
    return Random(1).randbytes(size)


@pytest.mark.parametrize("size", ["told", "untold"])
def test_a_large_file_that_is_wrong_is_cut_and_comes_when_the_upstream_is_right_again(
    tmp_path: Path, large: tuple[str, bytes], size: str
) -> None:
    filename, content = large
    with Simulator() as simulator:
        offered = {}
        for name, fault in STREAMS.items():
            told = {} if size == "told" else {"size": None}
            made = filename.replace("large", name.replace("-", "_"))
            offered[name] = simulator.add_file(name, made, content, **told)
            simulator.fault(offered[name], fault)
        download = {"timeout": 2, "tries": 1, "max_file_size": 2 * LARGE}
        mirror = on_demand(tmp_path, simulator, download=download)
        with serving(mirror) as served:
            some = list(offered.values())
            for file, got in zip(
                some, at_once([partial(served.get, file) for file in some]), strict=True
            ):
                too_large = got.status == 403 and b"max_file_size" in got.body
                assert got.is_honest_error or too_large, (file.filename, got.status)
            simulator.heal()
            for file in some[:2]:
                got = until(lambda file=file: _complete(served.get(file)))  # type: ignore[misc]
                assert got.body == content
        mirror.check(agree=False)


def _complete(got: Got) -> Got | None:
    return got if got.status in (200, 206) and got.complete else None


def _good(got: Got) -> Got | None:
    return got if got.status == 200 else None


def test_many_clients_of_a_slow_large_file_get_it_from_one_download(
    simulator: Simulator, tmp_path: Path, large: tuple[str, bytes]
) -> None:
    file = simulator.add_file("large", *large)
    hold = simulator.hold(file, after=LARGE // 2)
    mirror = on_demand(tmp_path, simulator)
    with serving(mirror) as served:

        def release() -> Got:
            # Its first part comes before its end.
            got = until(lambda: _good(served.get(file, leave_after=1 << 20)))
            assert got.body == large[1][: len(got.body)]
            hold.release()
            return got

        def come(**headers: str) -> Got:
            return until(lambda: _complete(served.get(file, **headers)))

        ranged = partial(come, Range="bytes=100-199")
        *clients, part, _ = at_once([*[come] * 50, ranged, release])
        assert all(got.complete and got.body == large[1] for got in clients)
        assert part.body in (large[1], large[1][100:200])
        assert part.status == (200 if part.body == large[1] else 206)
        wait_placed(mirror, [file])
        assert whole(simulator, file) == simulator.downloads(file.filename) == 1
    check_whole(mirror, [file])


@pytest.mark.thorough
def test_a_file_that_drips_keeps_its_clients_waiting_but_not_silent(
    simulator: Simulator, tmp_path: Path
) -> None:
    """1 KB/s: headers come after some seconds, and now and then a byte."""
    made = make_sdist("slow", "1.0", files={"noise": _noise(20_000)})
    file = simulator.add_file("slow", *made)
    simulator.fault(file, Drip(100, 0.1))
    mirror = on_demand(tmp_path, simulator)
    with serving(mirror) as served:
        got = served.get(file)
        assert (got.status, got.complete, got.body) == (200, True, made[1])
        wait_placed(mirror, [file])
    check_whole(mirror, [file])


@pytest.mark.parametrize("said", [10**12, 10**30, None])
def test_a_huge_claim_is_refused_before_anything_is_fetched(
    simulator: Simulator, tmp_path: Path, said: int | None
) -> None:
    file = simulator.add_file("huge", *make_sdist("huge", "1.0"), size=said)
    if said is None:
        simulator.fault(file, EndlessChunked())
    mirror = on_demand(tmp_path, simulator, download={"max_file_size": 1 << 20})
    with serving(mirror) as served:
        got = served.get(file)
        assert got.is_honest_error or got.status in (403, 404), got
        assert simulator.downloads(file.filename) == (1 if said is None else 0)
        assert simulator.bytes_sent(file.path) < 1 << 26
    mirror.check(agree=False)


# Archives of which no digest is known: only their structure says whether they are whole


def archives() -> dict[str, tuple[str, bytes]]:
    """Files that are not what their names say, by what is wrong."""
    sdist, tar = make_sdist("{}", "1.0")
    wheel, zipped = make_wheel("{}", "1.0")
    foreign = make_wheel("other", "1.0")[1]
    climbing = pack_zip({"../../evil.py": b"", "x-1.0/PKG-INFO": b"Name: x\nVersion: 1.0\n"})
    return {
        "cut": (sdist, tar[:-20]),
        "empty": (sdist, b""),
        "garbage-behind": (sdist, tar + b"garbage" * 100),
        "no-tar": (sdist, gzip.compress(b"no tar" * 1000)),
        "page": (wheel, b"<!DOCTYPE html><html><body>Log in.</body></html>" * 40),
        "cut-wheel": (wheel, zipped[:-30]),
        "wrong-crc": (sdist, tar[:-6] + b"xx" + tar[-4:]),
        "of-another-project": (wheel, foreign),
        "climbing": ("{}-1.0.zip", climbing),
        "bomb": (sdist, pack_tar_gz({"x-1.0/zeros": bytes(1 << 28)})),
    }


@pytest.fixture(scope="module")
def unproven(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Asked]:
    """Ask for each bad archive, and for a good one beside it."""
    with Simulator() as simulator:
        offered = {}
        for name, (filename, content) in archives().items():
            spelt = filename.format(name.replace("-", "_"))
            offered[name] = simulator.add_file(name, spelt, content, digests=())
        good = simulator.add_file("good", *make_wheel("good", "1.0"), digests=())
        room = Room(tmp_path_factory.mktemp("archives"), simulator, on_demand=DEMAND)
        with serving(room.mirror) as served:
            each = at_once([partial(served.get, file) for file in offered.values()])
            assert until(lambda: _complete(served.get(good))).body == bytes(good.content)
        yield Asked(room, offered, dict(zip(offered, each, strict=True)))


@pytest.mark.parametrize("name", archives())
def test_an_archive_that_nothing_proves_is_an_honest_error(unproven: Asked, name: str) -> None:
    got = unproven.got[name]
    assert got.is_honest_error or (name == "bomb" and got.status == 403), got
    assert not unproven.room.mirror.path(unproven.files[name]).exists()


def test_nothing_outside_of_the_mirror_is_touched_by_archives(unproven: Asked) -> None:
    unproven.room.check()


# Pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Asked]:
    """Ask for each faulty page of a project that nobody has asked for."""
    with Simulator(etags=False) as simulator:
        files = {name: offer_sdist(simulator, name, "1.0") for name in test_pages.CASES}
        for name, (fault, _) in test_pages.CASES.items():
            if name == "newer-minor":
                text = json.loads(json_project(simulator.project(name), simulator.style))
                fault = Replace(json.dumps(text | {"meta": {"api-version": "1.99"}}).encode())
            simulator.fault(f"/simple/{name}/", fault(name) if callable(fault) else fault)
        room = Room(tmp_path_factory.mktemp("pages"), simulator, on_demand=DEMAND)
        with serving(room.mirror) as served:
            got = at_once([partial(served.page, name) for name in files])
        yield Asked(room, files, dict(zip(files, got, strict=True)))


@pytest.mark.parametrize("name", test_pages.CASES)
def test_a_page_that_cannot_be_used_is_no_absent_project(pages: Asked, name: str) -> None:
    got, reason = pages.got[name], test_pages.CASES[name][1]
    if reason is None or (name == "length-too-small" and got.status == 200):
        assert got.files() == [pages.files[name].filename]
    else:
        assert got.is_honest_error, got


def test_nothing_outside_of_the_mirror_is_touched_by_pages(pages: Asked) -> None:
    pages.room.check()


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Asked]:
    """Ask for each page with a hostile entry, and for all that these pages list."""
    with Simulator() as simulator:
        projects = []
        simulator.serve("/files/any", test_names.BODY)
        for form in ("json", "html"):
            for name, (filename, _) in test_names.NAMES.items():
                bad = test_names.entry(filename.format(f"{form}-{name}"), url="/files/any")
                projects.append(f"{form}-{name}")
                test_names.offer(simulator, projects[-1], bad, form=form)
            for name, (link, _) in test_names.LINKS.items():
                projects.append(f"{form}-{name}")
                bad = f"{form}-{name}-1.0.zip"
                entry = test_names.entry(bad, url=link.format(bad))
                test_names.offer(simulator, projects[-1], entry, form=form)
        for name, (changes, _) in test_names.ENTRIES.items():
            simulator.serve(f"/files/{name}-1.0.zip", test_names.BODY)
            entry = test_names.entry(f"{name}-1.0.zip", **changes)
            projects.append(name)
            test_names.offer(simulator, name, entry, form="json")
        room = Room(tmp_path_factory.mktemp("names"), simulator, on_demand=DEMAND)
        with serving(room.mirror) as served:
            got = at_once([partial(served.page, name) for name in projects])
            for name, page in zip(projects, got, strict=True):
                if page.status == 200:
                    for filename in page.files():
                        given = served.file(name, filename)
                        good = given.status == 200 and given.body == test_names.BODY
                        honest = given.is_honest_error or given.status == 403
                        assert good or honest, (name, filename, given)
        yield Asked(room, {}, dict(zip(projects, got, strict=True)))


def test_hostile_names_and_links_are_not_on_a_page(names: Asked) -> None:
    for project, got in names.got.items():
        if project in test_names.ENTRIES:
            assert got.status in (200, 502), (project, got)
            continue
        assert got.files() == [test_names.good(project)], project
        for file in json.loads(got.body)["files"]:
            parts = urlsplit(file["url"])
            assert not parts.scheme and not parts.netloc, file
            assert parts.path == f"../../packages/{project}/{file['filename']}"


def test_nothing_outside_of_the_mirror_is_touched_by_names(names: Asked) -> None:
    assert names.room.around() == names.room.before


HOSTILE_PATHS = (
    "packages/six/..%2f..%2f.pypimirror/catalog.sqlite",
    "packages/%2e%2e/.pypimirror/catalog.sqlite",
    "packages/six/.metadata",
    "packages/six/six-1.0.tar.gz.metadata.metadata",
    "packages/six/numpy-1.0.zip",
    "packages/Six/six-1.0.tar.gz",
    "packages/six/six-1.0.tar.gz%00",
    f"packages/six/six-{'1' * 300}.zip",
    "simple/..%2f..%2f/",
    "simple/six%0d%0aX:y/",
    f"simple/{'a' * 5000}/",
)


def test_hostile_requests_cost_the_upstream_nothing(simulator: Simulator, tmp_path: Path) -> None:
    offer_sdist(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with serving(mirror) as served:
        for path in HOSTILE_PATHS:
            got = ask(served.url + path)
            assert got.status in (301, 302, 308, 400, 404, 414), (path, got)
    assert {request.path for request in simulator.requests} <= {"/simple/six/", "/simple/"}


def test_a_storm_of_wrong_names_costs_the_upstream_one_request_each(
    simulator: Simulator, tmp_path: Path
) -> None:
    offer_sdist(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    with serving(mirror) as served:
        names = [f"absent-{number}" for number in range(20)] * 10
        assert {got.status for got in at_once([partial(served.page, n) for n in names])} == {404}
        files = [partial(served.file, "six", f"six-9.{n % 20}.tar.gz") for n in range(200)]
        assert {got.status for got in at_once(files)} == {404}
    assert all(simulator.count(f"/simple/{name}/") == 1 for name in set(names))
    assert simulator.count("/simple/six/") == 1
    assert simulator.count("/packages/*") == 0


# The machine


@pytest.mark.parametrize("kind", ["fifo", "directory", "symbolic link"])
def test_what_is_no_file_in_the_store_is_replaced_and_never_followed(
    simulator: Simulator, tmp_path: Path, kind: str
) -> None:
    """Nobody but the fetcher writes there; but a page must not wait for ever on a FIFO."""
    file = offer_sdist(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with serving(mirror) as served:
        assert served.page("six").files() == [file.filename]
        store = mirror.root / ".pypimirror" / "on_demand" / "1"
        places = [store / "listings" / "six.json", *(store / "simple" / "six").glob("index*")]
        assert len(places) == 3
        places.append(store / "packages" / "six" / file.filename)
        for place in places:
            place.parent.mkdir(exist_ok=True)
            place.unlink(missing_ok=True)
            if kind == "fifo":
                os.mkfifo(place)
            elif kind == "directory":
                place.mkdir()
            else:
                place.symlink_to(secret)
        for got in (served.page("six"), served.get(file)):
            assert b"secret" not in got.body
            assert got.is_honest_error or got.status == 200, got
    assert secret.read_text() == "secret"
    mirror.check(agree=False)


def test_on_a_full_disk_what_is_held_is_served_and_the_rest_is_an_honest_error(
    simulator: Simulator, disk: Path
) -> None:
    (held,) = offer(simulator, "held", "1.0")
    new = simulator.add_file("new", *make_sdist("new", "1.0", files={"noise": _noise(1 << 20)}))
    mirror = without_reserve(Mirror(disk, simulator, on_demand=DEMAND))
    with serving(mirror) as served:
        assert served.get(held).body == bytes(held.content)
        wait_placed(mirror, [held])
        full = ballast(disk, 100_000)
        for _ in range(3):
            got = served.get(new)
            assert got.is_honest_error, got
            assert served.get(held).body == bytes(held.content)
            assert served.page("held").files() == [held.filename]
        full.unlink()
        got = until(lambda: _complete(served.get(new)))
        assert got.body == bytes(new.content)
        wait_placed(mirror, [new])
    assert shutil.disk_usage(disk).total <= SIZE
    check_whole(mirror, [held, new])
