"""Checks the round trip: publishes a page and a file, fetches them over HTTP, and compares.

It uses a scratch directory, and the same code and web server as the mirror itself. For a mirror on
object storage, it uses a part of the bucket that is not served, and empties it at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from urllib.parse import urljoin
from urllib.request import ProxyHandler, build_opener

from msgspec.structs import replace

from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, skipped
from pypimirror.doctor.scratch import scratch
from pypimirror.domain.layout import file_path, page_paths
from pypimirror.domain.model import NEWEST_API, ProjectStatus
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.render import rendering
from pypimirror.render.pages import Page, PageFile
from pypimirror.storage.opening import open_storage
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import interrupts

_NAME = "round trip"
_PROJECT, _FILE = "pypimirror-doctor", "pypimirror_doctor-1.0.tar.gz"
_SIZE = 1 << 20
#: Seconds that the server may take to start, and to give an answer.
_PATIENCE = 30.0


def check(config: Config) -> Iterator[Finding]:
    """Check that a published file comes back unchanged."""
    with scratch(config) as directory:
        if directory is None:
            yield skipped(_NAME, "cannot be tried before the first sync")
            return
        bucket = _aside(config.bucket)
        workspace = Workspace(directory)
        storage = open_storage(workspace, bucket=bucket)
        workspace.create()
        try:
            digest = _publish(workspace, storage)
            with _served(_source(directory, bucket)) as address:
                yield _fetch(address, digest) if address is not None else _not_started()
        finally:
            if bucket is not None:
                _empty(storage)


def _not_started() -> Finding:
    return failed(_NAME, "the web server did not start", "Read what 'pypimirror serve' prints")


def _aside(bucket: Bucket | None) -> Bucket | None:
    """Return a part of the bucket that is not served."""
    if bucket is None:
        return None
    return replace(bucket, prefix=bucket.key(f".pypimirror/doctor-{secrets.token_hex(8)}"))


def _empty(storage: Storage) -> None:
    """Remove the objects that the check has put."""
    for top in ("simple", "packages"):
        for key in list(storage.keys(top, lambda _: None)):
            storage.remove(key)


def _source(directory: Path, bucket: Bucket | None) -> list[str]:
    """Return the options of the web server: the directory, or a configuration for the bucket."""
    if bucket is None:
        return ["--directory", str(directory)]
    values = {
        "endpoint": bucket.endpoint,
        "region": bucket.region,
        "addressing": bucket.addressing,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    file = directory / "pypimirror.toml"
    file.write_text("\n".join([f"[mirror]\nstorage = {json.dumps(bucket.shown)}\n[s3]", *lines]))
    return ["--bucket", str(file)]


def _publish(workspace: Workspace, storage: Storage) -> str:
    """Publish one file on one page; return its sha256."""
    storage.create()
    content = os.urandom(_SIZE)
    digest = hashlib.sha256(content).hexdigest()
    workspace.staged(1).write_bytes(content)
    path = file_path(_PROJECT, _FILE, None)
    storage.place([(workspace.staged(1), path)])
    file = PageFile(filename=_FILE, path=path, digests={"sha256": digest}, size=_SIZE)
    page = Page(
        project=_PROJECT,
        api_version=NEWEST_API,
        serial=1,
        status=ProjectStatus.ACTIVE,
        status_reason=None,
        versions=("1.0",),
        files=(file,),
    )
    forms = {"html": rendering.page_html(page), "json": rendering.page_json(page)}
    storage.write((name, [forms[form]]) for form, name in page_paths(_PROJECT, forms).items())
    storage.flush()
    return digest


@contextmanager
def _served(source: list[str]) -> Iterator[str | None]:
    """Serve a mirror on loopback; yield the address, or None if the server does not start."""
    command = [sys.executable, "-P", "-m", "pypimirror.serve.server", *source]
    command += ["--port", "0", "--json"]
    with (
        interrupts.raised(),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server,
    ):
        alarm = Timer(_PATIENCE, server.kill)
        alarm.start()
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            alarm.cancel()
            yield str(json.loads(line)["url"]) if line else None
        finally:
            alarm.cancel()
            server.kill()


def _fetch(address: str, digest: str) -> Finding:
    opener = build_opener(ProxyHandler({}))  # no proxy leads to this machine's loopback
    index = f"{address}simple/{_PROJECT}/"
    with opener.open(
        f"{index}?format=application/vnd.pypi.simple.v1%2Bjson", timeout=_PATIENCE
    ) as r:
        (file,) = json.load(r)["files"]
    with opener.open(urljoin(index, file["url"]), timeout=_PATIENCE) as answer:
        found = hashlib.sha256(answer.read()).hexdigest()
    if not found == file["hashes"]["sha256"] == digest:
        return failed(_NAME, "the bytes that came back differ", "Check disk and memory")
    return ok(_NAME, "published a page and a file, fetched them over HTTP: the same bytes")
