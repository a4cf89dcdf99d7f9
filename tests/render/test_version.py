"""A renderer that makes something else of the same input is another version.

Without that, pages on disk would stay as an older program wrote them, and `verify` would call each
of them damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from pypimirror.catalog.states import State
from pypimirror.domain.model import ProjectStatus
from pypimirror.pipeline.publish import contents, forms
from pypimirror.render import rendering, version
from pypimirror.render.pages import Elsewhere, Page, PageFile, RootEntry

METADATA = b"""Metadata-Version: 2.4
Name: Six
Version: 2.0
Summary: A tool
Keywords: a,b
Classifier: Topic :: Utilities
Requires-Dist: idna>=3
Requires-Python: >=3.8
Project-URL: Home, https://example.org/

What it is: <b> & "c".
"""

#: A row of `files` as the catalog has it, where nothing else is said.
FILE: dict[str, Any] = {
    "filename": "six-2.0-py3-none-any.whl",
    "url": "https://example.org/six-2.0-py3-none-any.whl",
    "location": None,
    "state": State.PUBLISHED,
    "size": 34041,
    "sha256": b"\x5a" * 32,
    "digests": None,
    "metadata_claim": None,
    "metadata_sha256": None,
    "upload_time": None,
    "requires_python": None,
    "yanked": None,
    "provenance": None,
    "provenance_sha256": None,
    "extra": None,
    "kept": None,
    "linked": None,
}

FILES = (
    FILE,
    FILE
    | {
        "filename": "six-1.0 <&\"'>é.tar.gz",
        "location": "packages/ab/cd/é",
        "digests": json.dumps({"md5": "ab" * 16, "blake2b_256": "cd" * 32}),
        "metadata_sha256": b"\x01" * 32,
        "upload_time": "2026-01-01T10:00:00.5Z",
        "requires_python": ">=3.6,<4",
        "yanked": "broken & <bad>\t",
        "provenance": "https://example.org/p",
        "provenance_sha256": b"\x02" * 32,
        "extra": json.dumps({"x-new": [1, {"a": None}], "size": 0}),
    },
    FILE
    | {
        "filename": "six-0.9.zip",
        "url": "https://files.example.org/six-0.9.zip#sha256=00",
        "state": State.LINKED,
        "size": None,
        "metadata_claim": b"\x03" * 32,
        "provenance": "https://files.example.org/six-0.9.zip.provenance",
        "linked": True,
        "yanked": "",
    },
    FILE | {"filename": "six-0.8.tar.gz", "kept": 1.0},
)

#: Rows of `projects`.
PROJECTS: tuple[dict[str, Any], ...] = (
    {
        "name": "six",
        "api_version": "1.4",
        "page_serial": 42,
        "status": "archived",
        "status_reason": "No <longer> kept",
        "versions": json.dumps(["0.9", "1.0", "2.0"]),
        "extra": json.dumps({"x-more": True, "name": "other"}),
    },
    {
        "name": "six",
        "api_version": None,
        "page_serial": None,
        "status": None,
        "status_reason": None,
        "versions": None,
        "extra": None,
    },
    {
        "name": "six",
        "api_version": "1.1",
        "page_serial": 7,
        "status": "quarantined",
        "status_reason": None,
        "versions": None,
        "extra": None,
    },
)


def run_with(base_url: str, *, provenance: bool) -> Any:
    """What `contents` asks of a run."""
    publish = SimpleNamespace(formats=forms.ALL, base_url=base_url, provenance=provenance)
    storage = SimpleNamespace(read=lambda _: METADATA)
    return SimpleNamespace(config=SimpleNamespace(publish=publish), storage=storage)


def rendered() -> Iterator[bytes]:
    """Everything that is rendered of a fixed input, piece by piece."""
    held: list[Any] = [SimpleNamespace(**file) for file in FILES]
    for base, provenance in (("", True), ("https://cdn.example.org/m/", False)):
        run = run_with(base, provenance=provenance)
        for project in PROJECTS:
            row: Any = SimpleNamespace(**project)
            for path, chunks in contents.page_forms(run, contents.page_of(run, row, held)):
                yield from (path.encode(), *chunks)
    entries = [RootEntry("a", None), RootEntry("six", 42), RootEntry("é<&", 7)]
    for form in rendering.ROOT_FORMS.values():
        for api_version, serial in (((1, 0), None), ((1, 4), 42), ((9, 9), 1)):
            yield from rendering.root(form, entries, api_version=api_version, serial=serial)


def digest() -> str:
    return hashlib.sha256(b"\0".join(rendered())).hexdigest()


def test_what_is_rendered_changes_only_with_the_version() -> None:
    assert digest() == version.DIGESTS[-1], (
        "Pages are rendered differently. If that is meant, append the digest "
        f'"{digest()}" to DIGESTS in pypimirror/render/version.py: then pages on disk are rendered '
        "again. Replace the last one only if no mirror can have been written with it."
    )


def test_two_versions_are_never_the_same() -> None:
    assert len(set(version.DIGESTS)) == version.VERSION


def test_the_input_has_all_that_a_page_can_say() -> None:
    """A field that the input leaves out could change unseen."""
    run = run_with("", provenance=True)
    held: list[Any] = [SimpleNamespace(**file) for file in FILES]
    row: Any = SimpleNamespace(**PROJECTS[0])
    page = contents.page_of(run, row, held)
    for field in Page.__struct_fields__:
        assert getattr(page, field) not in (None, {}, ()), field
    # Only pages on demand list files that are expected, and these are not kept.
    for field in set(PageFile.__struct_fields__) - {"expected"}:
        assert any(getattr(file, field) not in (None, {}, False) for file in page.files), field
    assert page.status is ProjectStatus.ARCHIVED
    elsewhere = [file.elsewhere for file in page.files if file.elsewhere is not None]
    assert all(getattr(elsewhere[0], field) for field in Elsewhere.__struct_fields__)
