"""`pypimirror adopt --bandersnatch`: its tree is taken over where it is, and served on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checker import check
from tests.cli.conftest import Command
from tests.mirror import offer, offer_sdist
from tests.simulator import IndexFile, Simulator

pytestmark = pytest.mark.sqlite  # the catalog is as bandersnatch's options leave it

OLD_PAGE = "simple/six/versions/index_1000_2026-01-01T000000Z.html"
PAGES = ("index.html", "index.v1_html", "index.v1_json")


class Tree:
    """A tree as bandersnatch 8 leaves it, of what a simulator offers, and its configuration."""

    def __init__(self, home: Path, simulator: Simulator, *, more: str = "") -> None:
        self.web = home / "web"
        self.simulator = simulator
        self.conf = home.parent / "bandersnatch.conf"
        master = simulator.url.removesuffix("/simple/")
        self.conf.write_text(
            f"[mirror]\ndirectory = {home}\nmaster = {master}\nallow-non-https = true\n"
            f"json = true\nworkers = 3\n{more}"
        )
        for name in ("status", "generation", ".lock"):
            self.write(f"../{name}", b"1000")
        for project in simulator.index.projects.values():
            self.hold(project.normalized, project.files)
        for name in PAGES:
            self.write(f"simple/{name}", b"<!DOCTYPE html>")
        self.write("last-modified", b"20260101T00:00:00\n")

    def write(self, path: str, content: bytes) -> None:
        """Write a file below `web`."""
        target = self.web / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def hold(self, project: str, files: list[IndexFile]) -> None:
        """Write files and pages of a project."""
        links = []
        for file in files:
            self.write(file.path.lstrip("/"), bytes(file.content))
            if file.metadata is not None:
                self.write(f"{file.path.lstrip('/')}.metadata", file.metadata)
            href = f"../..{file.path}"
            links.append({"filename": file.filename, "url": href,
                          "hashes": {"sha256": file.sha256}})  # fmt: skip
        body = "".join(
            f'<a href="{link["url"]}#sha256={link["hashes"]["sha256"]}">{link["filename"]}</a>'
            for link in links
        )
        page = {"files": links, "meta": {"api-version": "1.1", "_last-serial": "999999"}}
        for name in PAGES:
            content = json.dumps(page) if name.endswith("json") else f"<html>{body}</html>"
            self.write(f"simple/{project}/{name}", content.encode())
        self.write(f"json/{project}", b"{}")
        link = self.web / "pypi" / project / "json"
        link.parent.mkdir(parents=True)
        link.symlink_to(f"../../json/{project}")

    def keep_versions(self) -> None:
        """Let a page lead to its version, as `keep_index_versions` does."""
        page = self.web / "simple/six/index.html"
        self.write(OLD_PAGE, page.read_bytes())
        page.unlink()
        page.symlink_to(self.web / OLD_PAGE)

    def asked_for_bytes(self) -> list[str]:
        """The files that the simulator was asked for."""
        return [r.path for r in self.simulator.requests if "/packages/" in r.path]

    def served(self) -> set[str]:
        """The paths that a web server has."""
        return {
            str(path.relative_to(self.web))
            for path in self.web.rglob("*")
            if path.is_file() and ".pypimirror" not in path.parts
        }


def test_a_tree_of_bandersnatch_is_adopted_without_a_download(tmp_path: Path, run: Command) -> None:
    with Simulator(layout="pypi") as simulator:
        files = [*offer(simulator, "six", "1.0", "2.0"), offer_sdist(simulator, "idna", "3.0")]
        tree = Tree(tmp_path / "home", simulator)
        tree.keep_versions()
        places = {tree.web / file.path.lstrip("/"): file for file in files}
        inodes = {place: place.stat().st_ino for place in places}
        before = tree.served()
        outcome = run("adopt", "--bandersnatch", str(tree.conf), "--json")
        report = outcome.json
        assert report["counts"]["files_reused"] == report["counts"]["files_verified"] == 3
        assert report["counts"]["files_missing"] == 0
        assert {o["option"]: o["outcome"] for o in report["options"]}["workers"] == "not needed"
        assert run("sync", "--inline").code == 0
        assert tree.asked_for_bytes() == []

        # What was served is served, at the same addresses; the pages are ours.
        assert before <= tree.served()
        for place, file in places.items():
            assert (place.read_bytes(), place.stat().st_ino) == (file.content, inodes[place])
        page = json.loads((tree.web / "simple/six/index.v1_json").read_text())
        assert {file["url"] for file in page["files"]} == {
            f"../..{file.path}" for file in files if file.project.name == "six"
        }
        assert page["meta"]["api-version"] == "1.4"
        legacy = tree.web / "pypi/six/json"
        assert sorted(json.loads(legacy.read_text())["releases"]) == ["1.0", "2.0"]
        assert not legacy.is_symlink()
        assert not (tree.web / "simple/six/index.html").is_symlink()
        assert check(tree.web) == []

        # What bandersnatch left beside is named and stays.
        left = {f["file"] for f in report["failures"]}
        assert outcome.code == 1
        assert left == {"simple/*/index.v1_html", "simple/*/versions/*"}
        assert any("3 old pages" in f["message"] for f in report["failures"])
        assert {f["file"] for f in run("verify", "--json").json["failures"]} == left
        assert (tree.web / "json/six").read_bytes() == b"{}"
        for path in [*tree.web.glob("simple/**/index.v1_html"), tree.web / OLD_PAGE]:
            path.unlink()
        assert run("verify").code == 0


def test_only_what_is_wrong_or_missing_is_fetched_and_what_is_gone_is_foreign(
    tmp_path: Path, run: Command
) -> None:
    with Simulator(layout="pypi") as simulator:
        damaged, missing, fine = offer(simulator, "six", "1.0", "2.0", "3.0")
        (malware,) = offer(simulator, "malware", "1.0")
        tree = Tree(tmp_path / "home", simulator, more="hash-index = true\n")
        simulator.index.delete_project("malware")
        tree.write(damaged.path.lstrip("/"), b"x" * len(damaged.content))
        (tree.web / missing.path.lstrip("/")).unlink()
        outcome = run("adopt", "--bandersnatch", str(tree.conf), "--quiet")
        assert outcome.code == 1
        assert "[mirror] hash-index: not possible" in outcome.out
        assert "workers" not in outcome.out
        assert malware.path.lstrip("/") in outcome.out
        assert tree.asked_for_bytes() == []
        run("sync", "--inline")
        assert sorted(tree.asked_for_bytes()) == sorted([damaged.path, missing.path])
        for file in (damaged, missing, fine):
            assert (tree.web / file.path.lstrip("/")).read_bytes() == file.content
        root = json.loads((tree.web / "simple/index.v1_json").read_text())
        assert [project["name"] for project in root["projects"]] == ["six"]


def test_a_configuration_that_is_there_is_not_replaced_unasked(
    tmp_path: Path, run: Command, simulator: Simulator
) -> None:
    tree = Tree(tmp_path / "home", simulator)
    ours = tmp_path / "pypimirror.toml"
    ours.write_text("# precious\n")
    refused = run("adopt", "--bandersnatch", str(tree.conf))
    assert refused.code == 2
    assert "--force" in refused.err
    assert ours.read_text() == "# precious\n"
    shown = run("adopt", "--bandersnatch", str(tree.conf), "--dry-run", "--json")
    assert shown.code == 0
    assert ours.read_text() == "# precious\n"
    assert not (tree.web / ".pypimirror").exists()
    assert simulator.requests == []
    run("adopt", "--bandersnatch", str(tree.conf), "--force", "--quiet")
    assert ours.read_text() == shown.json["text"]
    assert (tmp_path / "pypimirror.toml.bak").read_text() == "# precious\n"
    again = run("adopt", "--bandersnatch", str(tree.conf), "--json")
    assert again.json["state"] == "incomplete", "of what is foreign; the configuration is the same"


def test_what_cannot_be_adopted_leaves_no_configuration(
    tmp_path: Path, run: Command, simulator: Simulator
) -> None:
    conf = tmp_path / "b.conf"
    conf.write_text(f"[mirror]\ndirectory = {tmp_path}/nowhere\n")
    outcome = run("adopt", "--bandersnatch", str(conf))
    assert outcome.code == 2
    assert f"{tmp_path}/nowhere/web: there is no tree of bandersnatch" in outcome.err
    assert run("adopt", "--bandersnatch", str(tmp_path / "none.conf")).code == 2
    assert run("adopt", "--dry-run").code == 2
    assert not (tmp_path / "pypimirror.toml").exists()
    shown = run("adopt", "--bandersnatch", str(conf), "--dry-run")
    assert shown.code == 0
    assert 'layout = "pypi"' in shown.out
