"""A file that is asked for goes into the bucket of a mirror that is served from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.on_demand.messages import Here
from tests import buckets
from tests.mirror import offer
from tests.on_demand.fetcher import Fetcher
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket

pytestmark = pytest.mark.usefixtures("keys_of_the_bucket")


def test_a_file_goes_into_the_bucket(
    simulator: Simulator, tmp_path: Path, seaweed: buckets.Server
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = InBucket(tmp_path, simulator, seaweed.bucket(), on_demand={"projects": ["*"]})
    with Fetcher(mirror.mirror) as fetcher:
        answer = fetcher.file("six", file.filename)
        assert isinstance(answer, Here) and Path(answer.path).read_bytes() == bytes(file.content)
        fetcher.wait_placed(mirror.mirror, file.filename)
    assert mirror.content()[f"packages/six/{file.filename}"] == bytes(file.content)
    assert mirror.sync().state == "completed"
    assert mirror.faults() == []
    assert simulator.downloads(file.filename) == 1
