"""What a page says of a file and our page says again: each detail goes all the way by itself."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import msgspec
import pytest

from pypimirror.catalog.records import FileRecord
from pypimirror.domain.model import DETAILS, File, FileDetails, ProjectPage, details_of
from pypimirror.pipeline.discover.decisions.comparing import as_before, as_file
from pypimirror.pipeline.discover.decisions.decide import columns
from pypimirror.render import rendering
from pypimirror.render.pages import Page, PageFile
from pypimirror.upstream.json import parse_page

SHA = "ab" * 32
#: What each detail may say, where that is not any text.
VALUES = {"requires-python": ">=3.8", "upload-time": "2024-01-02T03:04:05.000006Z"}


def told(key: str, **more: Any) -> dict[str, Any]:
    """A page in JSON with one file that says one detail."""
    file = {"filename": "six-1.zip", "url": "http://host/six-1.zip", "hashes": {"sha256": SHA}}
    file |= {key: VALUES.get(key, "some text"), **more}
    return {"meta": {"api-version": "1.1"}, "name": "six", "files": [file]}


def read(document: dict[str, Any]) -> ProjectPage:
    return parse_page(json.dumps(document).encode(), url="http://host/six/", project="six")


@pytest.mark.parametrize(("name", "key"), DETAILS.items())
def test_a_detail_goes_from_the_upstream_through_the_catalog_to_our_page(
    name: str, key: str
) -> None:
    document = told(key)
    page = read(document)
    (file,) = page.files
    assert getattr(file, name) == VALUES.get(key, "some text") and not file.extra
    values = columns(file, file.digests, None, None)
    row = FileRecord(
        **(dict.fromkeys(FileRecord.__struct_fields__) | values | {"filename": file.filename})
    )
    assert details_of(as_file(row)) == details_of(file)
    bare = read(told(key, **{key: None})).files[0]
    bare_page = msgspec.structs.replace(page, files=(bare,))
    assert as_before(bare_page, {file.filename: row}).files == (file,)
    shown = PageFile(
        filename=row.filename,
        path="packages/six/six-1.zip",
        digests=file.digests,
        size=1,
        extra={key: "of another page"},
        **details_of(row),
    )
    ours = Page("six", (1, 1), None, page.status, None, ("1",), (shown,))
    (entry,) = json.loads(rendering.page_json(ours))["files"]
    assert entry[key] == VALUES.get(key, "some text")
    assert read({**document, "files": [entry]}).files[0] == msgspec.structs.replace(
        file, size=1, url=read({**document, "files": [entry]}).files[0].url
    )


def test_the_catalog_has_a_column_of_the_same_type_for_each_detail() -> None:
    stated, stored = get_type_hints(FileDetails), get_type_hints(FileRecord)
    assert {name: stored.get(name) for name in DETAILS} == stated
    assert set(DETAILS) <= {*File.__struct_fields__} & {*PageFile.__struct_fields__}
