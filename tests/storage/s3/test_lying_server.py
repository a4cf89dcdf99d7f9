"""A real server that takes any condition of a write and honours none: s3rver.

`tests/storage/test_contract.py` runs on it as well. There is one promise that nothing can keep on
it: it writes over the very file that it sends, so a reader may get a part of an object.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.domain.objects.bucket import Bucket
from tests import buckets
from tests.environment import isolated
from tests.mirror import offer
from tests.sampling import THOROUGH
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket

pytestmark = THOROUGH


@pytest.fixture
def bucket(s3rver: buckets.Server) -> Bucket:
    """A part of its bucket, used as that of any other server."""
    return s3rver.bucket(exclusive=False)


def pypimirror(mirror: InBucket, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pypimirror", *arguments],
        cwd=mirror.mirror.base,
        env=isolated(**buckets.ENVIRONMENT),
        capture_output=True,
        text=True,
    )


def test_it_is_refused_with_the_reason_and_nothing_is_written(
    tmp_path: Path, simulator: Simulator, bucket: Bucket
) -> None:
    offer(simulator, "six", "1.0")
    mirror = InBucket(tmp_path, simulator, bucket)
    for command in (["sync", "--inline"], ["doctor"]):
        ended = pypimirror(mirror, *command)
        said = " ".join((ended.stdout + ended.stderr).split())
        assert ended.returncode != 0, said
        assert "ignores the condition If-None-Match and If-Match of a write" in said
        assert "s3.exclusive = true" in said
    store = buckets.client(bucket.endpoint)
    assert store.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix)["KeyCount"] == 0


def test_it_has_a_mirror_if_the_operator_promises_that_one_run_at_a_time_writes(
    tmp_path: Path, simulator: Simulator, s3rver: buckets.Server
) -> None:
    (gone,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror = InBucket(tmp_path, simulator, s3rver.bucket(exclusive=True))
    assert mirror.sync().state == "completed"
    assert mirror.faults() == []
    gone.remove()
    (new,) = offer(simulator, "six", "2.0")
    simulator.delete_project("idna")
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert mirror.faults() == []
    assert [path for path in mirror.content() if path.endswith(".whl")] == [
        f"packages/six/{new.filename}"
    ]
    assert not simulator.downloads(gone.filename)
