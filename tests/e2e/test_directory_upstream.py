"""Mirroring from a directory: another mirror's tree, or files that lie about (find-links)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.corpus.build import make_sdist, make_wheel
from tests.mirror import Mirror, offer, reasons
from tests.pipeline.conftest import warm_workers as warm_workers
from tests.simulator import Simulator


def mirror_of(tmp_path: Path, url: str, **more: Any) -> Mirror:
    mirror = Mirror(tmp_path / "second")
    mirror.upstreams = [{"name": "directory", "url": url, **more}]
    mirror.configure(delete={"grace": "0s"})
    return mirror


@pytest.fixture
def first(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror whose tree is the upstream."""
    mirror = Mirror(tmp_path / "first", simulator, delete={"grace": "0s"})
    offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "zope.interface", "1.0")
    mirror.sync()
    return mirror


@pytest.mark.parametrize("formats", [["json", "html"], ["html"]], ids=["json", "html"])
def test_a_mirrors_tree_is_mirrored_and_followed(
    tmp_path: Path, simulator: Simulator, first: Mirror, formats: list[str]
) -> None:
    first.configure(publish={"formats": formats})
    first.sync()
    second = mirror_of(tmp_path, f"file://{first.root}/simple/")
    assert second.sync().state == "completed"
    assert second.projects == ["six", "zope-interface"]
    assert second.files("six") == sorted(
        p.name for p in (first.root / "packages/six").glob("*.whl")
    )
    again = second.sync()
    assert again.counts["files_downloaded"] == again.counts["pages_written"] == 0
    offer(simulator, "six", "3.0")
    simulator.delete_project("zope.interface")
    first.sync()
    assert second.sync().state == "completed"
    assert second.projects == ["six"]
    assert len(second.files("six")) == 3


def test_a_directory_of_files_is_mirrored_by_what_is_in_them(tmp_path: Path) -> None:
    lying = tmp_path / "lying about"
    lying.mkdir()
    for name, content in (
        make_wheel("six", "1.0"),
        make_sdist("six", "1.0"),
        make_wheel("idna", "2"),
    ):
        (lying / name).write_bytes(content)
    (lying / "notes.txt").write_text("no distribution")
    broken, content = make_wheel("attrs", "1.0")
    (lying / broken).write_bytes(content[:-30])
    url = f"file://{lying}/".replace(" ", "%20")
    second = mirror_of(tmp_path, url, kind="links")
    result = second.sync()
    assert reasons(result.failures) == {broken: "bad-archive"}
    assert len(second.files("six")) == 2
    (lying / broken).write_bytes(content)
    assert second.sync("attrs").state == "completed"
    assert second.files("attrs") == [broken]
    (lying / make_wheel("idna", "2")[0]).unlink()
    second.sync()
    assert "idna" not in second.projects


def test_nothing_outside_of_the_directory_is_read(tmp_path: Path, first: Mirror) -> None:
    name, content = make_wheel("six", "9.0")
    secret = tmp_path / name
    secret.write_bytes(content)
    page = first.root / "simple" / "six" / "index.html"
    links = "".join(
        f'<a href="{href}">{name}</a>' for href in (f"../../../../{name}", f"file://{secret}")
    )
    (first.root / "simple" / "six" / "index.v1_json").unlink()
    page.write_text(page.read_text().replace("</body>", f"{links}</body>"))
    linked = make_wheel("six", "8.0")[0]
    (first.root / "packages" / "six" / linked).symlink_to(secret)
    page.write_text(
        page.read_text().replace("</body>", f'<a href="../../packages/six/{linked}">x</a></body>')
    )
    second = mirror_of(tmp_path, f"file://{first.root}/simple/")
    result = second.sync()
    assert set(reasons(result.failures).values()) == {"host-not-allowed"}
    assert name not in second.files("six")
    assert linked not in second.files("six")


def test_a_page_of_the_network_never_leads_to_files_of_this_machine(
    tmp_path: Path, simulator: Simulator
) -> None:
    name, content = make_wheel("six", "9.0")
    (tmp_path / name).write_bytes(content)
    offer(simulator, "six", "1.0")
    simulator.add_file("six", name, content, url=f"file://{tmp_path / name}")
    mirror = Mirror(tmp_path / "m", simulator)
    assert reasons(mirror.sync().failures) == {name: "unsafe-url"}
    assert name not in mirror.files("six")


def test_a_directory_that_is_not_there_is_an_upstream_that_does_not_answer(tmp_path: Path) -> None:
    second = mirror_of(tmp_path, f"file://{tmp_path}/nothing/simple/")
    result = second.sync(sound=False)
    assert result.state == "failed"
    assert "nothing/simple" in result.message


@pytest.mark.parametrize("named", [True, False])
def test_files_of_other_hosts_come_only_from_those_that_are_named(
    tmp_path: Path, simulator: Simulator, named: bool
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    links = tmp_path / "links"
    links.mkdir()
    address = f"{simulator.root}{file.quoted_path}#sha256={file.sha256}"
    (links / "index.html").write_text(f'<html><a href="{address}">{file.filename}</a></html>')
    hosts = {"hosts": ["127.0.0.1"]} if named else {}
    mirror = mirror_of(tmp_path, f"file://{links}/", kind="links", **hosts)
    result = mirror.sync()
    if named:
        assert mirror.files("six") == [file.filename]
    else:
        assert set(reasons(result.failures).values()) == {"host-not-allowed"}
