"""A mirror root with real wheels in it, as a sync would leave it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pypimirror.domain.model import ProjectStatus
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.domain.objects.headers import of_path
from pypimirror.render.pages import Page, PageFile, RootEntry
from pypimirror.render.rendering import ROOT_FORMS, page_html, page_json
from pypimirror.render.rendering import root as render_root
from tests import buckets
from tests.corpus.build import make_wheel

SERIAL = 4711


def wheel(project: str, version: str, *, requires: Iterable[str] = ()) -> tuple[str, bytes, bytes]:
    """A wheel's file name, its bytes, and its core metadata."""
    filename, data = make_wheel(project, version, requires=requires, requires_python=">=3.8")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return filename, data, archive.read(name)


def add_project(root: Path, project: str, *wheels: tuple[str, bytes, bytes]) -> Page:
    """Put `wheels` and the page of their project into the mirror root."""
    files = []
    (root / "packages" / project).mkdir(parents=True, exist_ok=True)
    for filename, data, metadata in sorted(wheels):
        path = f"packages/{project}/{filename}"
        (root / path).write_bytes(data)
        (root / f"{path}.metadata").write_bytes(metadata)
        files.append(
            PageFile(
                filename=filename,
                path=path,
                digests={"sha256": hashlib.sha256(data).hexdigest()},
                size=len(data),
                requires_python=">=3.8",
                core_metadata=hashlib.sha256(metadata).hexdigest(),
            )
        )
    active, versions = ProjectStatus.ACTIVE, tuple(file.filename.split("-")[1] for file in files)
    page = Page(project, (1, 4), SERIAL, active, None, versions, tuple(files))
    directory = root / "simple" / project
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.html").write_bytes(page_html(page))
    (directory / "index.v1_json").write_bytes(page_json(page))
    return page


def add_root_index(root: Path, *projects: str) -> None:
    """Put the root index into the mirror root."""
    entries = [RootEntry(project, SERIAL) for project in projects]
    forms = {"index.html": ROOT_FORMS["html"], "index.v1_json": ROOT_FORMS["json"]}
    (root / "simple").mkdir(parents=True, exist_ok=True)
    for name, form in forms.items():
        chunks = render_root(form, entries, api_version=(1, 4), serial=SERIAL)
        (root / "simple" / name).write_bytes(b"".join(chunks))


def in_bucket(root: Path, server: buckets.Server) -> Bucket:
    """Put a mirror root into object storage, as a sync would leave it there."""
    bucket = server.bucket()
    store = buckets.client(server.endpoint)
    for path in (path for path in root.rglob("*") if path.is_file()):
        put(store, bucket, str(path.relative_to(root)), path.read_bytes())
    return bucket


def put(store: Any, bucket: Bucket, key: str, content: bytes) -> None:
    """Put one object."""
    kind, cache = of_path(key)
    store.put_object(
        Bucket=bucket.name,
        Key=bucket.key(key),
        Body=content,
        ContentType=kind,
        CacheControl=cache,
        Metadata={"sha256": hashlib.sha256(content).hexdigest()},
    )


def configure(file: Path, bucket: Bucket, *, redirect: bool = False) -> None:
    """Write a configuration of a mirror in a bucket."""
    file.write_text(
        f'[mirror]\ndirectory = "mirror"\nstorage = "{bucket.shown}"\n'
        f'[s3]\nendpoint = "{bucket.endpoint}"\n[serve]\nredirect = {str(redirect).lower()}\n'
    )
