"""A mirror in a bucket is served as one in a directory is, and a bucket that is away is told."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from werkzeug.test import Client, TestResponse

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.serve import bucket as buckets_served
from pypimirror.serve.app import create_app
from pypimirror.serve.bucket import BucketTree
from pypimirror.serve.negotiation import HTML, JSON
from pypimirror.storage.s3.clients import Clients
from tests import buckets
from tests.serve.tree import in_bucket, put

BIG = "/packages/big/big-1.0.tar.gz"
WHEEL = "/packages/six/six-1.16.0-py3-none-any.whl"
PAGES = ["/simple/", "/simple/six/"]
SHORT = buckets.Patience(tries=1, timeout=10)


@dataclass
class Served:
    """A mirror root, the bucket with the same content, and a way to break what leads there."""

    root: Path
    bucket: Bucket
    proxy: buckets.Proxy
    store: Any

    def tree(self, *, signed_for: float | None = None, **other: Any) -> BucketTree:
        """Open the bucket as a new server does."""
        bucket = replace(self.bucket, **({"endpoint": self.proxy.endpoint} | other))
        return BucketTree(bucket, Clients(bucket, SHORT), signed_for)

    def client(self, **options: Any) -> Client:
        """Return a client of a new server."""
        return Client(create_app(self.tree(**options)))


@pytest.fixture
def served(root: Path, seaweed: buckets.Server, keys_of_the_bucket: None) -> Iterator[Served]:
    with buckets.proxied(seaweed) as proxy:
        store = buckets.client(seaweed.endpoint)
        yield Served(root, in_bucket(root, seaweed), proxy, store)


def told(response: TestResponse) -> tuple[Any, ...]:
    """What an installer sees of an answer."""
    names = ("Content-Type", "Cache-Control", "Vary", "X-PyPI-Last-Serial", "Location", "Allow")
    found = tuple(response.headers.get(name) for name in names)
    return response.status_code, response.data, response.headers.get("Content-Length"), found


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_each_answer_is_that_of_the_same_tree_in_a_directory(served: Served, method: str) -> None:
    put(served.store, served.bucket, ".pypimirror/generation", b"secret")
    one, other = Client(create_app(served.root)), served.client()
    paths = [*PAGES, WHEEL, f"{WHEEL}.metadata", "/simple/Six/", "/simple", "/simple/nope/"]
    paths += ["/packages/six/nope.whl", "/packages/six/", "/pypi/six/json", "/x", "//simple//six"]
    paths += ["/.pypimirror/generation", "/packages/../.pypimirror/generation", "/packages/.a/b"]
    for path in paths:
        for accept in (HTML, JSON, "image/png"):
            asked = {"method": method, "headers": {"Accept": accept}}
            assert told(one.open(path, **asked)) == told(other.open(path, **asked)), path
    assert not any(".pypimirror" in path for _, path in served.proxy.seen)


@pytest.mark.parametrize("path", ["/simple/six/", WHEEL])
def test_conditions_and_ranges_mean_what_they_mean_elsewhere(served: Served, path: str) -> None:
    client = served.client()
    whole = client.get(path)
    etag, size = whole.headers["ETag"], len(whole.data)
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, whole.data[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{size}"
    assert client.get(path, headers={"Range": "bytes=-5"}).data == whole.data[-5:]
    changed = client.get(path, headers={"Range": "bytes=10-19", "If-Range": '"x"'})
    assert (changed.status_code, changed.data) == (200, whole.data)
    beyond = client.get(path, headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416


def test_of_a_file_only_the_part_that_is_asked_for_leaves_the_bucket(served: Served) -> None:
    content = bytes(range(256)) * 4096 * 8
    put(served.store, served.bucket, BIG[1:], content)
    got: list[tuple[int, int]] = []
    tree = served.tree()
    real = tree.body
    tree.body = lambda key, etag, start, end: (  # type: ignore[method-assign]
        got.append((start, end)) or real(key, etag, start, end)
    )
    client = Client(create_app(tree))
    asked = {"Range": "bytes=5000000-5000099"}
    assert client.get(BIG, headers=asked).data == content[5000000:5000100]
    assert got == [(5000000, 5000100)]
    assert client.head(BIG).headers["Content-Length"] == str(len(content))
    assert len(got) == 1
    assert client.get(BIG).data == content


def test_an_installation_asks_the_bucket_once_for_a_page(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = served.client()
    first = client.get("/simple/six/", headers={"Accept": JSON})
    asked = len(served.proxy.seen)
    for _ in range(20):
        assert client.get("/simple/six/", headers={"Accept": JSON}).data == first.data
    assert len(served.proxy.seen) == asked
    monkeypatch.setattr(buckets_served, "FRESH", 0.0)  # the seconds are over
    assert client.get("/simple/six/", headers={"Accept": JSON}).data == first.data
    put(served.store, served.bucket, "simple/six/index.v1_json", first.data + b" ")
    assert client.get("/simple/six/", headers={"Accept": JSON}).data == first.data + b" "
    served.store.delete_object(
        Bucket=served.bucket.name, Key=served.bucket.key("simple/six/index.v1_json")
    )
    assert client.get("/simple/six/").headers["Content-Type"] == "text/html; charset=utf-8"


def test_memory_for_pages_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets_served, "_MOST", 1000)
    tree = served.tree()
    client = Client(create_app(tree))
    for number in range(8):
        name = f"simple/p{number}/index.html"
        put(served.store, served.bucket, name, b"x" * 400)
        assert client.get(f"/simple/p{number}/").status_code == 200
    held = [answer.found.content for answer in tree._answers.values() if answer.found is not None]
    assert sum(len(content or b"") for content in held) == tree._kept <= 1000


def test_an_answer_that_left_the_memory_while_the_bucket_was_asked_counts_once(
    served: Served,
) -> None:
    tree = served.tree()
    key = "simple/six/index.html"
    page = tree._ask(key)
    assert page is not None
    mine, theirs = buckets_served._Answer(), buckets_served._Answer()
    tree._answers.clear()
    tree._kept = 0
    tree._keep(key, theirs, page)
    tree._keep(key, mine, page)
    assert tree._kept == page.size


@pytest.mark.parametrize("path", ["/simple/six/", WHEEL, "/packages/six/nope.whl"])
@pytest.mark.parametrize("broken", ["busy", "denied", "no bucket", "no server"])
def test_a_bucket_that_is_away_is_503_and_never_404(
    served: Served, path: str, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other: dict[str, Any] = {}
    if broken == "busy":
        served.proxy.break_("*", status=503, code="SlowDown", times=100)
    elif broken == "denied":
        served.proxy.break_("*", status=403, code="AccessDenied", times=100)
    elif broken == "no bucket":
        other["name"] = "nobody-has-made-this"
    else:
        other["endpoint"] = "http://127.0.0.1:9"
    tree = served.tree(**other)
    response = Client(create_app(tree)).get(path)
    assert response.status_code == 503
    assert not tree._answers  # else each name that clients make up would stay in memory
    assert response.headers["Retry-After"] == "10"
    assert "does not answer" in response.text
    assert response.headers["Cache-Control"] == "no-cache"


def test_a_connection_that_breaks_in_the_middle_of_a_file_is_taken_up_again(
    served: Served,
) -> None:
    content = bytes(range(256)) * 4000
    put(served.store, served.bucket, BIG[1:], content)
    tree = served.tree()
    real, starts = tree.body, list[int]()

    class Breaks:
        def __init__(self, sound: Any) -> None:
            self.sound = sound

        def read(self, size: int) -> bytes:
            if self.sound.tell() > 300_000 and len(starts) < 3:
                raise ConnectionResetError
            return bytes(self.sound.read(min(size, 200_000)))

        def close(self) -> None:
            self.sound.close()

    def body(key: str, etag: str, start: int, end: int) -> Breaks:
        starts.append(start)
        return Breaks(real(key, etag, start, end))

    tree.body = body  # type: ignore[method-assign]
    assert Client(create_app(tree)).get(BIG).data == content
    assert starts == [0, 400_000, 800_000]


def test_clients_are_sent_to_a_signed_address_for_files_and_never_for_pages(
    served: Served,
) -> None:
    client = served.client(signed_for=900)
    response = client.get(WHEEL)
    assert response.status_code == 302
    assert response.headers["Cache-Control"] == "private, max-age=60"
    assert "X-Amz-Expires=900" in response.headers["Location"]
    signed = client_of(served, 900).get(WHEEL).headers["Location"]
    with urllib.request.urlopen(signed) as answer:
        assert answer.read() == (served.root / WHEEL[1:]).read_bytes()
        assert answer.headers["Content-Type"] == "application/zip"
    with pytest.raises(urllib.error.HTTPError, match="403"):  # it is the signature that opens it
        urllib.request.urlopen(signed.partition("?")[0])
    assert client.head(WHEEL).status_code == 200
    assert client.get("/packages/six/nope.whl").status_code == 404
    for path in PAGES:
        assert client.get(path).status_code == 200


def client_of(served: Served, signed_for: float) -> Client:
    """Return a client of a server that asks the bucket without the proxy."""
    return served.client(signed_for=signed_for, endpoint=served.bucket.endpoint)
