"""A real old-style case: an index of md5-only HTML pages, links without hashes on a second host,
one truncated file at one of two places. The mirror ends complete and right, and nobody who reads
it meanwhile is ever led to a bad file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tests.corpus.build import make_sdist, make_wheel
from tests.links import LinkMirror, page, put, with_digest
from tests.mirror import DOWNLOAD
from tests.simulator import Simulator, Status, Truncate

INDEXED = [make_sdist("pyold", f"0.{n}") for n in range(6)] + [make_wheel("pyold", "1.0")]
ELSEWHERE = [make_sdist("pyold", f"0.{n}a1", suffix=".zip") for n in range(3)]
BOTH = make_sdist("pyold", "0.9", padding=30_000)  #: at two places, truncated at one
HIDDEN = make_sdist("pyold", "0.8.1")  #: behind a download without a name
EVERYTHING = [*INDEXED, *ELSEWHERE, BOTH, HIDDEN]


class Watcher:
    """Reads pages and files as a client would, all the time, and notes what is wrong."""

    def __init__(self, root: Path, good: dict[str, bytes]) -> None:
        self.root = root
        self.good = good
        self.wrong: list[str] = []
        self.seen: set[str] = set()

    def look(self) -> None:
        """Read every page and every file that it links to."""
        for found in self.root.glob("simple/*/index.*"):
            for href, name in self.links(found):
                path = found.parent / unquote(urldefrag(href)[0])
                content = path.read_bytes() if path.exists() else b"nothing"
                self.seen.add(name)
                if content != self.good[name]:
                    self.wrong.append(f"{found}: {name}: {len(content)} bytes")

    def links(self, path: Path) -> list[tuple[str, str]]:
        """The links of a page with the names that they are for."""
        text = path.read_text()
        if path.suffix == ".v1_json":
            return [(file["url"], file["filename"]) for file in json.loads(text)["files"]]
        parser = HTMLParser()
        found: list[str] = []
        parser.handle_starttag = lambda tag, attrs: found.extend(  # type: ignore[method-assign]
            value or "" for name, value in attrs if tag == "a" and name == "href"
        )
        parser.feed(text)
        return [(href, unquote(urldefrag(href)[0]).rpartition("/")[2]) for href in found]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look without a pause within the block, and once more at its end."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.look()


@pytest.fixture
def second() -> Iterator[Simulator]:
    """The second host."""
    with Simulator(host="127.0.0.2") as running:
        yield running


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, second: Simulator) -> LinkMirror:
    """A mirror of the whole case."""
    own = [with_digest(put(simulator, made), made, "md5") for made in (*INDEXED, BOTH)]
    elsewhere = [put(second, made) for made in (*ELSEWHERE, BOTH)]
    second.serve(
        "/get.php",
        HIDDEN[1],
        "application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{HIDDEN[0]}"'},
    )
    home = page(second, "/pyold/", *elsewhere, "/get.php?download=81", title="pyold at home")
    marked = f'<a href="{home}" rel="homepage">home</a>'
    page(simulator, "/simple/pyold/", *own, marked, title="Links for pyold")
    page(simulator, "/simple/", '<a href="pyold/">pyold</a>', title="Simple Index")
    upstream = {"url": simulator.url, "follow_external": True, "hosts": ["127.0.0.2"]}
    return LinkMirror(tmp_path, upstream, download=DOWNLOAD | {"processes": 2})


@pytest.mark.parametrize("cut", ["at-the-index", "at-home"])
@pytest.mark.parametrize("how", ["on-the-wire", "on-disk"])
def test_the_mirror_ends_complete_and_right_and_no_page_ever_links_to_a_bad_file(
    mirror: LinkMirror, simulator: Simulator, second: Simulator, cut: str, how: str
) -> None:
    bad = simulator if cut == "at-the-index" else second
    if how == "on-disk":
        put(bad, BOTH, content=BOTH[1][:-700])
    else:
        bad.fault(f"/packages/{BOTH[0]}", Truncate(at=len(BOTH[1]) - 700))
    watcher = Watcher(mirror.root, dict(EVERYTHING))
    with watcher.watching():
        result = mirror.sync()
    assert watcher.wrong == []
    assert (result.state, result.failures) == ("completed", [])
    assert watcher.seen == {name for name, _ in EVERYTHING}
    assert mirror.has(*EVERYTHING)
    mirror.check()


def test_each_files_proof_says_what_it_rests_on(mirror: LinkMirror) -> None:
    mirror.sync()
    proofs = {row["filename"]: row for row in mirror.query("SELECT * FROM files")}
    for name, _ in (*INDEXED, BOTH):
        assert (proofs[name]["proof"], proofs[name]["proof_algorithm"]) == (1, "md5")
    for name, _ in (*ELSEWHERE, HIDDEN):
        assert (proofs[name]["proof"], proofs[name]["proof_algorithm"]) == (3, None)


def test_a_file_truncated_at_its_only_place_is_left_out_and_the_rest_goes_on(
    mirror: LinkMirror, second: Simulator
) -> None:
    put(second, ELSEWHERE[0], content=ELSEWHERE[0][1][:-30])
    watcher = Watcher(mirror.root, dict(EVERYTHING))
    with watcher.watching():
        result = mirror.sync()
    assert watcher.wrong == []
    assert [problem.file for problem in result.failures] == [ELSEWHERE[0][0]]
    assert watcher.seen == {name for name, _ in EVERYTHING if name != ELSEWHERE[0][0]}


def test_the_command_ends_with_0(
    mirror: LinkMirror, simulator: Simulator, second: Simulator
) -> None:
    import os
    import subprocess
    import sys

    put(simulator, BOTH, content=BOTH[1][:-700])
    second.fault(f"/packages/{ELSEWHERE[0][0]}", Status(503), nth=1)
    mirror.configure(download={"tries": 3})
    command = [sys.executable, "-m", "pypimirror", "sync", "--config", str(mirror.file), "--json"]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["state"] == "completed"
    assert mirror.has(*EVERYTHING)
