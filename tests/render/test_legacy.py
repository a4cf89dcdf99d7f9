"""PyPI's legacy JSON of a project."""

from __future__ import annotations

import json
from typing import Any

from pypimirror.domain.model import ProjectStatus
from pypimirror.render.legacy import newest, project_json
from pypimirror.render.pages import Page, PageFile
from pypimirror.render.rendering import RELATIVE

METADATA = b"""\
Metadata-Version: 2.1
Name: Six
Version: 2.0
Summary: A tool
Classifier: Topic :: Utilities
Requires-Dist: idna>=3
Requires-Python: >=3.8
Keywords: a,b
Project-URL: Home, http://127.0.0.1/

What it is.
"""


def a_file(name: str, **more: Any) -> PageFile:
    digests = {"sha256": "1" * 64, "md5": "2" * 32, "sha512": "3" * 128}
    return PageFile(name, f"packages/six/{name}", digests, 12, **more)


def a_page(*files: PageFile, **more: Any) -> Page:
    said: dict[str, Any] = {"status": ProjectStatus.ACTIVE, "versions": None, **more}
    return Page("six", (1, 4), 7, status_reason=None, files=files, **said)


def document(page: Page, metadata: bytes | None = METADATA, base: str = RELATIVE) -> Any:
    return json.loads(project_json(page, metadata, base))


UPLOADED = "2026-01-01T10:00:00.5Z"
WHEEL = a_file("six-2.0-py3-none-any.whl", core_metadata="4" * 64, upload_time=UPLOADED)
SDIST = a_file("six-1.0.tar.gz", requires_python=">=3.6")


def test_it_says_what_the_newest_release_is_and_has() -> None:
    found = document(a_page(SDIST, WHEEL, versions=("0.9", "1.0", "2.0")))
    assert found["info"]["name"] == "Six"
    assert found["info"]["version"] == "2.0"
    assert found["info"]["summary"] == "A tool"
    assert found["info"]["classifiers"] == ["Topic :: Utilities"]
    assert found["info"]["requires_dist"] == ["idna>=3"]
    assert found["info"]["requires_python"] == ">=3.8"
    assert found["info"]["project_urls"] == {"Home": "http://127.0.0.1/"}
    assert found["info"]["description"].strip() == "What it is."
    assert found["last_serial"] == 7
    assert list(found["releases"]) == ["0.9", "1.0", "2.0"]
    assert found["releases"]["0.9"] == []
    assert found["urls"] == found["releases"]["2.0"]
    (wheel,) = found["urls"]
    assert wheel["url"] == "../../packages/six/six-2.0-py3-none-any.whl"
    assert wheel["digests"] == {"sha256": "1" * 64, "md5": "2" * 32}
    assert (wheel["packagetype"], wheel["python_version"]) == ("bdist_wheel", "py3")
    assert wheel["core-metadata"] == {"sha256": "4" * 64}
    assert wheel["upload_time"] == "2026-01-01T10:00:00"
    (sdist,) = found["releases"]["1.0"]
    assert (sdist["packagetype"], sdist["python_version"]) == ("sdist", "source")
    assert sdist["requires_python"] == ">=3.6"
    assert sdist["core-metadata"] is False


def test_addresses_begin_as_configured() -> None:
    found = document(a_page(WHEEL), base="https://cdn.example.org/m/")
    assert found["urls"][0]["url"] == f"https://cdn.example.org/m/{WHEEL.path}"


def test_a_final_release_goes_before_a_pre_release_and_a_yank_is_told() -> None:
    early = a_file("six-3.0rc1-py3-none-any.whl", core_metadata="5" * 64)
    yanked = a_file("six-2.0-py3-none-any.whl", core_metadata="4" * 64, yanked="broken")
    page = a_page(early, yanked)
    assert newest(page) is yanked
    info = document(page)["info"]
    assert (info["version"], info["yanked"], info["yanked_reason"]) == ("2.0", True, "broken")


def test_without_metadata_or_files_it_is_empty_and_whole() -> None:
    assert newest(a_page(SDIST)) is None
    assert document(a_page(SDIST), None)["info"]["name"] == "six"
    empty = document(a_page(WHEEL, status=ProjectStatus.QUARANTINED), None)
    assert (empty["releases"], empty["urls"], empty["info"]["version"]) == ({}, [], "")


def test_a_file_without_a_version_is_in_no_release() -> None:
    assert document(a_page(a_file("six-latest.tar.gz")), None)["releases"] == {}


def test_metadata_that_is_no_metadata_breaks_nothing() -> None:
    for rubbish in (b"", b"\xff\x00", b"Name\n\n", b"Metadata-Version: 9\nName: \xff\n"):
        assert document(a_page(WHEEL), rubbish)["info"]["version"] == "2.0"
