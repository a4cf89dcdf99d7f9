"""Two servers, each with its fetcher, on one catalog and one storage: a file comes once."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests import buckets
from tests.corpus.build import make_sdist
from tests.databases import Databases
from tests.mirror import Mirror, offer
from tests.on_demand.site import Served, at_once, on_demand, serving, until, whole
from tests.simulator import IndexFile, Simulator
from tests.storage.s3.mirrors import InBucket

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keys_of_the_bucket")]

CLIENTS = 50


@dataclass
class Shared:
    """The mirrors of two servers, which share all but perhaps their directories."""

    mirrors: tuple[Mirror, Mirror]
    content: Callable[[], dict[str, bytes]] = field(default=dict)  #: of the bucket

    def holds(self, file: IndexFile) -> bool:
        mirror = self.mirrors[0]
        if mirror.state(file.filename) != "published":
            return False
        path = f"packages/{file.project.normalized}/{file.filename}"
        found = self.content()
        return found[path] == bytes(file.content) if found else mirror.holds(file)


@pytest.fixture(params=["one directory", "PostgreSQL", "PostgreSQL and a bucket"])
def shared(request: pytest.FixtureRequest, simulator: Simulator, tmp_path: Path) -> Shared:
    if request.param == "one directory":
        mirror = on_demand(tmp_path, simulator)
        return Shared((mirror, mirror))
    made: Databases = request.getfixturevalue("postgresql")
    catalog = {"catalog": made.migrated()}
    if request.param == "PostgreSQL":
        mirror = on_demand(tmp_path, simulator, mirror=catalog)
        return Shared((mirror, mirror))
    server: buckets.Server = request.getfixturevalue("seaweed")
    bucket = server.bucket()
    sections = {"on_demand": {"projects": ["*"]}, "mirror": catalog}
    one, other = (InBucket(tmp_path / n, simulator, bucket, **sections) for n in ("one", "other"))
    return Shared((one.mirror, other.mirror), one.content)


def get(served: Served, file: IndexFile) -> bytes:
    """Get a file, and ask again as long as the server says that it has it not yet."""
    got = until(lambda: got if (got := served.get(file)).status == 200 else None)
    assert got.complete
    return got.body


def test_fifty_clients_of_two_servers_cost_one_download(
    simulator: Simulator, shared: Shared
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    with serving(shared.mirrors[0]) as one, serving(shared.mirrors[1]) as other:
        jobs = [partial(get, (one, other)[number % 2], file) for number in range(CLIENTS)]
        assert set(at_once(jobs)) == {bytes(file.content)}
        until(lambda: shared.holds(file))
    assert whole(simulator, file) == 1


def test_when_the_fetcher_of_one_server_dies_the_other_one_goes_on(
    simulator: Simulator, shared: Shared
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    hold = simulator.hold(file, after=100)
    with serving(shared.mirrors[0]) as one, serving(shared.mirrors[1]) as other:

        def dies() -> bytes:
            first = one.get(file)
            assert first.is_honest_error, first
            return b""

        def waits() -> bytes:
            hold.wait_reached()
            assert other.page("six").files() == [file.filename]
            one.kill_fetcher()
            hold.release()
            return get(other, file)

        assert at_once([dies, waits])[1] == bytes(file.content)
        assert get(one, file) == bytes(file.content)
        until(lambda: shared.holds(file))
    assert simulator.downloads(file.filename) == 2  # that of the dead one, and one more


@pytest.mark.parametrize("digests", [("sha256",), ()], ids=["digest", "no digest"])
def test_a_client_hears_of_a_large_file_that_the_other_server_receives(
    simulator: Simulator, shared: Shared, digests: tuple[str, ...]
) -> None:
    """pip gives up after 15 seconds without a byte. The upstream sends the file only once."""
    large = make_sdist("six", "1.0", files={"noise": Random(1).randbytes(300_000)})
    file = simulator.add_file("six", *large, digests=digests)
    hold = simulator.hold(file, after=100, nth=1)
    with serving(shared.mirrors[0]) as one, serving(shared.mirrors[1]) as other:

        def first() -> bytes:
            return get(one, file)

        def second() -> bytes:
            hold.wait_reached()
            host, path = urlsplit(other.url).netloc, f"/packages/six/{file.filename}"
            connection = http.client.HTTPConnection(host, timeout=15)  # as pip
            with closing(connection):
                connection.request("GET", path)
                answer = connection.getresponse()
                assert answer.status == 200
                start = answer.read(1)
                hold.release()
                return start + answer.read()

        assert set(at_once([first, second])) == {large[1]}
        until(lambda: shared.holds(file))
    assert simulator.bytes_sent(file.path) < len(large[1]) + 100_000
