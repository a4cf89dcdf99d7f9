"""Mirrors in a bucket, run through the real pipeline, and seen only through the storage."""

from __future__ import annotations

import itertools
import secrets
import shutil
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.pipeline.summary import Summary
from tests import buckets, checker
from tests.mirror import Mirror
from tests.pools import inline
from tests.simulator import Simulator

_numbers = itertools.count()


class InBucket:
    """A mirror in a part of a bucket."""

    def __init__(
        self, base: Path, simulator: Simulator, bucket: Bucket, **sections: dict[str, Any]
    ) -> None:
        self.bucket = bucket
        self.simulator = simulator
        self.sections = {"delete": {"grace": "0s", "max_share": 1.0}} | sections
        self.mirror = Mirror(base, simulator, **self._all(bucket))

    def _all(self, bucket: Bucket) -> dict[str, dict[str, Any]]:
        s3 = {"endpoint": bucket.endpoint, "connections": bucket.connections}
        s3["exclusive"] = bucket.exclusive
        mirror = {"storage": bucket.shown, **self.sections.get("mirror", {})}
        return self.sections | {"mirror": mirror, "s3": s3}

    def reach(self, bucket: Bucket) -> None:
        """Reach the same mirror in another way, such as through a proxy."""
        self.mirror.configure(**self._all(bucket))

    def copy(self, base: Path) -> InBucket:
        """Return a copy of the mirror, with its catalog and its objects, somewhere else."""
        bucket = replace(self.bucket, prefix=f"tests/{secrets.token_hex(6)}")
        store = buckets.client(bucket.endpoint)
        told = store.list_objects_v2(Bucket=bucket.name, Prefix=self.bucket.key(""))
        for each in told.get("Contents", ()):
            path = each["Key"][len(self.bucket.key("")) :]
            source = {"Bucket": bucket.name, "Key": each["Key"]}
            store.copy_object(Bucket=bucket.name, Key=bucket.key(path), CopySource=source)
        if self.mirror.root.exists():
            shutil.copytree(self.mirror.root, base / "mirror")
        return InBucket(base, self.simulator, bucket, **self.sections)

    def sync(self, **more: Any) -> Summary:
        """Do a whole sync."""
        return self.mirror.sync(**{"make_pools": inline} | more)

    def faults(self, *, agree: bool = True) -> list[str]:
        """Return what is wrong with promises 1 to 3, as a reader of the bucket sees it."""
        root = self.mirror.base / f"seen-{next(_numbers)}"
        for name in ("simple", "packages"):
            (root / name).mkdir(parents=True)
        for path, content in self.content().items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        found = checker.check(root, agree=agree)
        shutil.rmtree(root)
        return found

    def content(self) -> dict[str, bytes]:
        """Return all served objects, by path."""
        return buckets.content(self.bucket)
