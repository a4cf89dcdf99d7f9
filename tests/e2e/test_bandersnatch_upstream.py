"""A tree that bandersnatch made of real packages, behind web servers, as an upstream.

bandersnatch mirrors from a mirror of ours, which offers what it asks an index for: the list with
serials, and the legacy JSON with `base_url`. So there are three mirrors in a row.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import checker
from tests.corpus.build import make_wheel
from tests.corpus.fetch import PIP_VERSIONS
from tests.e2e import trees, upstream
from tests.e2e.clients import call, installed, make_environment, pip
from tests.e2e.mirror import Mirror, simple_page
from tests.e2e.serving import Recorder, find_nginx, nginx, serve, static
from tests.environment import isolated
from tests.simulator import Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: What bandersnatch is told to write, and who serves that.
TREES = ("ALL nginx", "ALL files", "HTML static", "JSON serve")


class Bandersnatch:
    """A mirror of bandersnatch's."""

    def __init__(self, program: Path, home: Path, master: str) -> None:
        self.program, self.home = program, home
        self.settings = f"master = {master}\nallow-non-https = true\nworkers = 3\ntimeout = 60\n"

    def sync(self, form: str, name: str = "") -> Path:
        """Mirror, in one of its forms of pages; what a web server is to serve."""
        home = self.home / (name or form)
        home.mkdir(parents=True, exist_ok=True)
        config = home / "bandersnatch.conf"
        config.write_text(
            f"[mirror]\ndirectory = {home}\n{self.settings}json = false\nhash-index = false\n"
            f"core-metadata = true\nstop-on-error = true\nsimple-format = {form}\n"
        )
        done = subprocess.run(
            [self.program, "-c", config, "mirror"],
            env=isolated(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return home / "web"


class Chain:
    """The simulator, our mirror of it, and bandersnatch's mirror of ours."""

    def __init__(self, home: Path, program: Path, corpus: Path, stack: ExitStack) -> None:
        self.simulator = upstream.load(stack.enter_context(Simulator()), corpus)
        self.first = Mirror(home / "first", self.simulator.url)
        self.first.sync()
        master = stack.enter_context(serve(self.first)).removesuffix("simple/")
        self.first.configure(
            publish={"formats": ["html", "json", "legacy"], "base_url": master},
            delete={"grace": "0s"},
        )
        self.first.sync()
        self.bandersnatch = Bandersnatch(program, home / "bandersnatch", master.rstrip("/"))


@pytest.fixture(scope="module")
def chain(
    bandersnatch: Path, corpus_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chain]:
    """Made once; tests that change it use forms of pages that no other test uses."""
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("chain")
        yield Chain(home, bandersnatch, corpus_directory, stack)


@contextmanager
def served(web: Path, server: str, home: Path) -> Iterator[str]:
    """The index of a tree of bandersnatch's."""
    if server == "files":
        yield f"{web.as_uri()}/simple/"
        return
    if server == "serve":
        tree = Mirror(home / "served", "http://127.0.0.1:9/simple/")
        tree.configure(mirror={"directory": str(web)})
        running = serve(tree)
    else:
        home.mkdir(exist_ok=True)
        running = static(web) if server == "static" else nginx(web, home)
    with running as url:
        yield url


def said(mirror: Mirror, project: str, form: str) -> list[list[object]]:
    """What of a page survives bandersnatch's pages of a form."""
    told = []
    for file in sorted(simple_page(mirror, project)["files"], key=lambda file: file["filename"]):
        yanked = file.get("yanked", False)
        facts = [file["filename"], file["hashes"]["sha256"], file["size"]]
        facts += [file.get("requires-python"), file.get("core-metadata")]
        # Its JSON has no reasons of yanks, and no HTML has times.
        facts += [yanked] if form == "HTML" else [bool(yanked), file.get("upload-time")]
        told.append(facts)
    return told


@pytest.mark.thorough
@pytest.mark.parametrize("tree", list(TREES))
def test_a_tree_of_bandersnatch_is_mirrored_completely_and_then_left_alone(
    chain: Chain, tree: str, tmp_path: Path, pip_wheels: dict[str, Path]
) -> None:
    form, _, server = tree.partition(" ")
    if server == "nginx" and find_nginx() is None:
        pytest.skip("nginx is not installed")
    web = chain.bandersnatch.sync(form)
    with ExitStack() as stack:
        url = stack.enter_context(served(web, server, tmp_path / "server"))
        recorder = None
        if server != "files":
            recorder = stack.enter_context(Recorder(url))
            url = recorder.url
        mirror = Mirror(tmp_path / "second", url)
        counts = mirror.sync()["counts"]

        # All that the first mirror has, to the byte, with what its pages say.
        first = trees.contents(chain.first.root, "packages")
        assert trees.difference(trees.contents(mirror.root, "packages"), first) == {}
        assert trees.check(mirror.root) == counts["files_downloaded"] > 50
        for project in (upstream.YANKED, upstream.DEMANDING, upstream.DATED):
            assert said(mirror, project, form) == said(chain.first, project, form)

        before = trees.touches(mirror.root)
        if recorder is not None:
            recorder.forget()
        counts = mirror.sync()["counts"]
        assert counts["files_downloaded"] == counts["pages_written"] == 0
        assert trees.touches(mirror.root) == before
        if recorder is not None:
            assert recorder.pages == sorted(recorder.paths)  # pages alone

    if form == "ALL" and server != "nginx":
        return
    with serve(mirror) as url:
        python = make_environment(tmp_path / "environment")
        command = pip(pip_wheels[PIP_VERSIONS[-1]], "install", url, python)
        call(*command, "--quiet", "hatchling", "python-dateutil", upstream.DEMANDING)
        found = installed(python)
        assert (found["hatchling"], found["python-dateutil"]) == ("1.27.0", "2.9.0.post0")
        assert found[upstream.DEMANDING] == "1.0"


@pytest.mark.thorough
def test_a_tree_that_bandersnatch_made_is_adopted_without_a_download(
    chain: Chain, tmp_path: Path
) -> None:
    web = chain.bandersnatch.sync("ALL", "adopted")
    before = trees.touches(web, "packages")
    conf = web.parent / "bandersnatch.conf"
    mirror = Mirror(tmp_path, chain.first.upstream)
    mirror.config.unlink()
    adopted = json.loads(mirror.run("adopt", "--bandersnatch", str(conf), "--json").stdout)
    assert adopted["counts"]["files_missing"] == 0
    assert adopted["counts"]["files_verified"] == len(before) - len(list(web.rglob("*.metadata")))
    assert {problem["file"] for problem in adopted["failures"]} == {"simple/*/index.v1_html"}
    outcome = mirror.run("sync", "--json")
    assert json.loads(outcome.stdout)["counts"]["bytes_downloaded"] == 0
    files = {name for name in before if not name.endswith(".metadata")}
    after = trees.touches(web, "packages")
    assert {name: after[name] for name in files} == {name: before[name] for name in files}
    assert checker.check(web) == []


@pytest.mark.thorough
def test_what_bandersnatch_follows_is_followed(chain: Chain, tmp_path: Path) -> None:
    web = chain.bandersnatch.sync("ALL")
    with served(web, "serve", tmp_path / "server") as url:
        mirror = Mirror(tmp_path / "second", url)
        mirror.sync()
        name, content = make_wheel("six", "9.0")
        chain.simulator.add_file("six", name, content, core_metadata=True)
        chain.simulator.file("six-1.17.0.tar.gz").yank("broken")
        chain.first.sync()
        chain.bandersnatch.sync("ALL")
        counts = mirror.sync()["counts"]
    assert counts["files_downloaded"] == 1
    offered = trees.offered(mirror.root, "six")
    assert name in offered
    assert offered["six-1.17.0.tar.gz"]["yanked"] is True
