"""Forms of pages, and where their links lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import ConfigError, parse
from pypimirror.domain.model import Reason
from tests.mirror import Mirror, offer
from tests.pipeline.audit.test_audit import verify
from tests.simulator import Simulator


def legacy(mirror: Mirror, project: str) -> Any:
    return json.loads((mirror.root / "pypi" / project / "json").read_text())


def test_the_legacy_json_is_written_where_it_is_asked_for_and_goes_with_its_project(
    mirror: Mirror, simulator: Simulator
) -> None:
    (old,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    assert not (mirror.root / "pypi").exists()
    mirror.configure(publish={"formats": ["json", "legacy"]})
    assert mirror.sync().state == "completed"
    assert legacy(mirror, "six")["info"]["version"] == "1.0"
    assert not (mirror.root / "simple" / "six" / "index.html").exists()
    (new,) = offer(simulator, "six", "2.0")
    mirror.sync()
    found = legacy(mirror, "six")
    assert found["info"]["summary"]
    assert {u["filename"] for files in found["releases"].values() for u in files} == {
        old.filename, new.filename
    }  # fmt: skip
    url = found["urls"][0]["url"]
    assert (mirror.root / "pypi" / "six" / url).resolve() == mirror.path(new)
    simulator.delete_project("six")
    mirror.sync()
    assert not (mirror.root / "pypi" / "six").exists()
    mirror.configure(publish={"formats": ["json"]})
    mirror.sync()
    assert not (mirror.root / "pypi" / "idna").exists()


def test_verify_knows_the_legacy_pages_and_mends_them(mirror: Mirror, simulator: Simulator) -> None:
    mirror.configure(publish={"formats": ["html", "legacy"]})
    offer(simulator, "six", "1.0")
    mirror.sync()
    assert verify(mirror).state == "completed"
    (mirror.root / "pypi" / "six" / "json").write_text("{}")
    (mirror.root / "pypi" / "stray").write_text("")
    found = {p.reason.value for p in verify(mirror).failures}
    assert found == {"page-differs", "foreign"}
    verify(mirror, repair=True)
    assert legacy(mirror, "six")["info"]["version"] == "1.0"
    assert (mirror.root / "pypi" / "stray").exists()


@pytest.mark.parametrize("base", ["https://cdn.example.org/m/", "/mirror/"])
def test_links_begin_with_the_base_url_and_change_with_it(
    mirror: Mirror, simulator: Simulator, base: str
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    serial = mirror.page("six")["meta"]["_last-serial"]
    mirror.configure(publish={"base_url": base})
    mirror.sync(sound=False)  # whose links are elsewhere now
    address = f"{base}packages/six/{file.filename}"
    assert mirror.page("six")["files"][0]["url"] == address
    assert f'href="{address}#sha256=' in (mirror.root / "simple/six/index.html").read_text()
    assert mirror.page("six")["meta"]["_last-serial"] > serial  # a follower must notice
    mirror.configure(publish={"base_url": ""})
    mirror.sync()
    assert mirror.page("six")["files"][0]["url"] == f"../../packages/six/{file.filename}"


@pytest.mark.parametrize(
    "publish",
    [
        {"formats": []}, {"formats": ["legacy"]}, {"base_url": "cdn.example.org"},
        {"base_url": "ftp://x/"}, {"base_url": "//x/"}, {"base_url": "/a b/"},
        {"base_url": "https://x/?q"}, {"base_url": '/"/'},
    ],
)  # fmt: skip
def test_what_is_no_form_or_base_is_refused(publish: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"publish\."):
        parse({"publish": publish}, Path("/pypimirror.toml"))


def test_pages_of_forms_that_are_no_more_are_no_strangers_until_the_next_sync_removes_them(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    mirror.configure(publish={"formats": ["html"]})
    assert [p for p in verify(mirror).failures if p.reason is Reason.FOREIGN] == []
    mirror.sync()
    assert not (mirror.root / "simple/six/index.v1_json").exists()
    (mirror.root / "simple/six/index.v1_json").touch()
    found = [p.file for p in verify(mirror).failures if p.reason is Reason.FOREIGN]
    assert found == ["simple/six/index.v1_json"]
