"""Whole syncs into a bucket: what a reader of the bucket finds keeps promises 1 to 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypimirror.storage.s3.storage import S3Storage
from pypimirror.storage.workspace import Workspace
from tests import buckets
from tests.mirror import attest, offer, offer_sdist
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket
from tests.storages import damage_file

pytestmark = pytest.mark.usefixtures("keys_of_the_bucket")


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, seaweed: buckets.Server) -> InBucket:
    return InBucket(tmp_path, simulator, seaweed.bucket())


def test_a_mirror_is_made_changed_and_emptied_in_a_bucket(
    mirror: InBucket, simulator: Simulator
) -> None:
    (wheel,) = offer(simulator, "six", "1.0")
    attest(wheel)
    sdist = offer_sdist(simulator, "six", "0.9")
    (other,) = offer(simulator, "idna", "2.0")
    assert mirror.sync().state == "completed"
    assert mirror.faults() == []
    content = mirror.content()
    assert content[f"packages/six/{wheel.filename}"] == bytes(wheel.content)
    assert f"packages/six/{wheel.filename}.metadata" in content
    assert f"packages/six/{wheel.filename}.provenance" in content
    assert not (mirror.mirror.root / "packages").exists()
    assert list((mirror.mirror.root / ".pypimirror" / "staging").iterdir()) == []

    simulator.forget()
    assert mirror.sync().state == "completed"
    assert mirror.content() == content

    sdist.remove()
    simulator.delete_project("idna")
    offer(simulator, "attrs", "1.0")
    assert mirror.sync().state == "completed"
    assert mirror.faults() == []
    served = mirror.content()
    assert not {path for path in served if sdist.filename in path or "/idna/" in path}
    assert "simple/attrs/index.html" in served
    assert not simulator.downloads(wheel.filename) + simulator.downloads(other.filename)


def test_what_another_process_has_put_is_seen_when_workers_have_ended(
    tmp_path: Path, seaweed: buckets.Server
) -> None:
    """Else a page of the coordinator lacks a file that a worker has put in the last minute."""
    workspace, bucket = Workspace(tmp_path), seaweed.bucket()
    workspace.create()
    coordinator, worker = S3Storage(workspace, bucket), S3Storage(workspace, bucket)
    assert coordinator.size("packages/six/six-1.0.zip") is None
    worker.write([("packages/six/six-1.0.zip", [b"bytes"])])
    coordinator.refresh()
    assert coordinator.size("packages/six/six-1.0.zip") == 5


def test_objects_have_the_headers_that_serve_sends(mirror: InBucket, simulator: Simulator) -> None:
    """So a CDN in front of the bucket answers as `pypimirror serve` does."""
    (wheel,) = offer(simulator, "six", "1.0")
    sdist = offer_sdist(simulator, "six", "0.9")
    assert mirror.sync().state == "completed"
    store = buckets.client(mirror.bucket.endpoint)

    def headers(path: str) -> tuple[str, str, str | None]:
        told = store.head_object(Bucket=mirror.bucket.name, Key=mirror.bucket.key(path))
        assert len(told["Metadata"]["sha256"]) == 64
        assert told.get("ContentEncoding") is None
        return told["ContentType"], told["CacheControl"], None

    page, file = "public, max-age=0, must-revalidate", "public, max-age=31536000, immutable"
    expected = {
        "simple/six/index.html": ("text/html; charset=utf-8", page),
        "simple/index.v1_json": ("application/vnd.pypi.simple.v1+json", page),
        f"packages/six/{wheel.filename}": ("application/zip", file),
        f"packages/six/{wheel.filename}.metadata": ("text/plain; charset=utf-8", file),
        f"packages/six/{sdist.filename}": ("application/gzip", file),
    }
    assert {path: headers(path)[:2] for path in expected} == expected


def test_credentials_that_end_in_mid_run_end_it_and_no_page_lacks_its_bytes(
    mirror: InBucket, simulator: Simulator, seaweed: buckets.Server
) -> None:
    """At each PUT in turn: the bytes of a file, a page, the root index."""
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    with buckets.proxied(seaweed) as proxy:
        mirror.reach(buckets.through(mirror.bucket, proxy))
        for part in (".metadata", "packages/six/", "simple/six/", "simple/index.html"):
            proxy.break_("*", part, status=400, code="ExpiredToken", times=999)
            summary = mirror.sync()
            assert summary.state == "failed", part
            assert "have expired" in summary.message and "aws sso login" in summary.message
            assert mirror.faults(agree=False) == [], part
            proxy.rules.clear()
        simulator.forget()
        assert mirror.sync().state == "completed"
    assert mirror.faults() == []
    assert not any(simulator.downloads(each) for each in ("six", "idna"))


def test_a_refused_key_fails_alone_and_the_next_run_does_the_rest(
    mirror: InBucket, simulator: Simulator, seaweed: buckets.Server
) -> None:
    offer(simulator, "six", "1.0")
    (other,) = offer(simulator, "idna", "1.0")
    with buckets.proxied(seaweed) as proxy:
        mirror.reach(buckets.through(mirror.bucket, proxy))
        for part in ("packages/six/", "simple/six/"):
            proxy.break_("PUT", part, status=403, code="AccessDenied", times=999)
            summary = mirror.sync()
            assert summary.state == "incomplete", summary
            assert {failure.project for failure in summary.failures} == {"six"}
            assert mirror.faults(agree=False) == []
            assert f"packages/idna/{other.filename}" in mirror.content()
            proxy.rules.clear()
        assert mirror.sync().state == "completed"
    assert mirror.faults() == []


def test_a_removal_that_is_refused_is_told_and_done_later(
    mirror: InBucket, simulator: Simulator, seaweed: buckets.Server
) -> None:
    (gone,) = offer(simulator, "six", "1.0")
    offer(simulator, "six", "2.0")
    assert mirror.sync().state == "completed"
    gone.remove()
    with buckets.proxied(seaweed) as proxy:
        mirror.reach(buckets.through(mirror.bucket, proxy))
        proxy.break_("DELETE", "packages/", status=403, code="AccessDenied", times=999)
        summary = mirror.sync()
        assert summary.state == "incomplete"
        assert all("s3:DeleteObject" in failure.message for failure in summary.failures)
        assert mirror.faults() == []
        assert any(gone.filename in path for path in mirror.content())
    mirror.reach(mirror.bucket)
    assert mirror.sync().state == "completed"
    assert not any(gone.filename in path for path in mirror.content())


def test_bytes_that_change_between_proof_and_put_are_not_put(
    mirror: InBucket, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad disk, after the proof: the bytes are hashed once more while they are sent."""
    (bad,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    place = S3Storage.place

    def rot(storage: S3Storage, moves: Any, *more: Any) -> dict[str, int]:
        for source, key in moves:
            if key.endswith(bad.filename):
                damage_file(source, truncate=False)
        return place(storage, moves, *more)

    with monkeypatch.context() as patched:
        patched.setattr(S3Storage, "place", rot)
        summary = mirror.sync()
    assert summary.state == "incomplete"
    (failure,) = summary.failures
    assert failure.file == bad.filename
    assert "have changed since they were verified" in failure.message
    assert mirror.faults() == []
    assert f"packages/six/{bad.filename}" not in mirror.content()
    assert mirror.sync().state == "completed"
    assert mirror.content()[f"packages/six/{bad.filename}"] == bytes(bad.content)
