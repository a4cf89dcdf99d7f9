"""`up` with a mirror in a bucket: its web server serves it, and an empty one is synced at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from pypimirror.config.settings import load
from pypimirror.up.everything import RunningParts
from pypimirror.up.parts import plan, prepare
from pypimirror.up.supervisor import Supervisor
from tests import buckets
from tests.corpus.build import make_wheel
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket
from tests.up.test_everything import Api


def read(address: str) -> bytes:
    with urlopen(address) as answer:
        found: bytes = answer.read()
    return found


@pytest.mark.usefixtures("keys_of_the_bucket")
def test_a_mirror_in_a_bucket_is_served_and_an_empty_one_is_synced_at_once(
    tmp_path: Path, simulator: Simulator, seaweed: buckets.Server
) -> None:
    name, content = make_wheel("daily", "1.0")
    simulator.add_file("daily", name, content)
    mirror = InBucket(tmp_path, simulator, seaweed.bucket(), up={"port": 0}, prefect={"port": 0})
    config, file, api = load(mirror.mirror.file), mirror.mirror.file, Api()

    async def work(url: str) -> None:
        prepare(config)
        parts = plan(config, file, web=True, server=True)
        assert parts.web is not None
        machine = RunningParts(replace(parts, api=url), config)
        await machine._first_sync()
        assert len(api.made) == 1
        assert (await asyncio.to_thread(mirror.sync)).state == "completed"
        await machine._first_sync()
        assert len(api.made) == 1, "the bucket is not empty any more"
        supervisor = Supervisor(parts.web)
        keeping = asyncio.create_task(supervisor.keep())
        await supervisor.ready.wait()
        page = await asyncio.to_thread(read, f"{parts.web_url}simple/daily/")
        assert name.encode() in page
        assert await asyncio.to_thread(read, f"{parts.web_url}packages/daily/{name}") == content
        await supervisor.stop(30)
        await keeping

    async def bounded(url: str) -> None:
        async with asyncio.timeout(60):
            await work(url)

    with api as url:
        asyncio.run(bounded(url))
