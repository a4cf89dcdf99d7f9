"""What tests of object storage share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.s3.clients import Clients
from pypimirror.storage.s3.storage import S3Storage
from pypimirror.storage.workspace import Workspace
from tests import buckets

Open = Callable[[Bucket], S3Storage]


@pytest.fixture(autouse=True)
def credentials(keys_of_the_bucket: None) -> None:
    """All these tests have the keys of the bucket."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "mirror")
    made.create()
    return made


@pytest.fixture
def bucket(seaweed: buckets.Server) -> Bucket:
    """A part of a bucket, empty."""
    return seaweed.bucket()


@pytest.fixture
def proxy(seaweed: buckets.Server) -> Iterator[buckets.Proxy]:
    """A proxy before the server."""
    with buckets.proxied(seaweed) as running:
        yield running


@pytest.fixture
def opened(workspace: Workspace) -> Open:
    """A function that opens the storage of a bucket, with little patience."""
    return lambda bucket: S3Storage(workspace, bucket, clients=Clients(bucket, buckets.HASTY))


@pytest.fixture
def storage(opened: Open, bucket: Bucket, proxy: buckets.Proxy) -> S3Storage:
    """A storage behind the proxy."""
    return opened(buckets.through(bucket, proxy))
