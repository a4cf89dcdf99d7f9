"""A mirror of our own mirror equals the mirror, and follows it.

In JSON, through `pypimirror serve`, the trees are equal to the byte. From a plain static server
only HTML can be had, so the HTML pages and all bytes are equal, and the JSON pages lack what HTML
cannot say: `test_over_html_…` names it all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.build import make_provenance, make_sdist, make_wheel
from tests.e2e import trees
from tests.e2e.mirror import Mirror, simple_page
from tests.e2e.serving import Recorder, serve, static
from tests.simulator import Simulator, Status

pytestmark = pytest.mark.timeout(300)

REASON = 'odd: <script>"&amp;" é'


#: Each has a test of its own below, so that the tests can share a chain of mirrors in any order.
OWN = (
    "archived",
    "deleted",
    "deselected",
    "late",
    "missed-a",
    "missed-b",
    "new-release",
    "quarantined",
    "selection-a",
    "selection-b",
    "withdrawn",
    "yanked",
)


def offer_everything(simulator: Simulator) -> None:
    """Projects with all that a page can say."""
    for number, name in enumerate(("alpha", "beta", "gamma", "Delta.Four", "epsilon")):
        for version in ("1.0", "1.1", "2.0rc1"):
            simulator.add_file(name, *make_wheel(name, version), core_metadata=True)
            simulator.add_file(name, *make_sdist(name, version), digests=("sha256", "blake2b_256"))
        simulator.project(name).extra["x-number"] = number
    alpha = simulator.file("alpha-1.0-py3-none-any.whl")
    alpha.yank(REASON)
    provenance = make_provenance(alpha.filename, bytes(alpha.content))
    alpha.set(provenance_body=provenance, requires_python='>=3.8, !=3.9.*, <"4"')
    alpha.set(extra={"x-colour": ["red", {"deep": REASON}], "data-hue": "7"})
    simulator.file("alpha-1.1.tar.gz").yank()
    beta = simulator.file("beta-1.0.tar.gz")
    beta.set(digests={"md5": hashlib.md5(bytes(beta.content)).hexdigest()})  # the weakest, alone
    simulator.file("beta-1.1-py3-none-any.whl").set(core_metadata=None, upload_time=None)
    simulator.add_file("gamma", *make_wheel("gamma", "1!2.0+local.7"), core_metadata=True)
    simulator.project("gamma").versions = ["0.9", "1.0", "1.1", "2.0rc1", "1!2.0+local.7"]
    simulator.project("beta").set_status("deprecated", REASON, moves_serial=True)
    simulator.project("empty")


def offer_own(simulator: Simulator) -> None:
    """A project for each test that changes something."""
    for name in OWN:
        simulator.add_file(name, *make_wheel(name, "1.0"), core_metadata=True)
        simulator.add_file(name, *make_sdist(name, "1.0"))
        simulator.add_file(name, *make_sdist(name, "2.0"))


@dataclass
class Chain:
    """An upstream, its mirror, and the mirror of that, with a note of what it asks."""

    upstream: Simulator
    first: Mirror
    second: Mirror
    recorder: Recorder

    def follow(self, *names: str) -> list[str]:
        """Sync both, the first with `names`; the projects that the second looked at."""
        self.first.sync(*names)
        return self.follow_first()

    def follow_first(self) -> list[str]:
        """Sync the second; the projects that it looked at, which now equal the first's."""
        self.recorder.forget()
        self.second.sync()
        looked = [path.split("/")[2] for path in self.recorder.pages if path != "/simple/"]
        for name in looked:
            assert self.difference(f"simple/{name}", f"packages/{name}") == {}
            assert listed(self.first, name) == listed(self.second, name)
        return looked

    def difference(self, *tops: str) -> dict[str, str]:
        """What differs between the two mirrors."""
        ours, theirs = (trees.contents(m.root, *tops) for m in (self.first, self.second))
        return trees.difference(ours, theirs)


def listed(mirror: Mirror, project: str) -> dict[str, Any] | None:
    """A project's entry in the root index, None where there is none."""
    index = json.loads((mirror.root / "simple/index.v1_json").read_text())
    return next((entry for entry in index["projects"] if entry["name"] == project), None)


@contextmanager
def chained(home: Path, *offers: Callable[[Simulator], None]) -> Iterator[Chain]:
    """A chain after its first sync, all of it in whole-list mode."""
    with Simulator() as simulator:
        for offer in offers:
            offer(simulator)
        first = Mirror(home / "first", simulator.url)
        first.sync()
        with serve(first) as url, Recorder(url) as recorder:
            second = Mirror(home / "second", recorder.url)
            second.sync()
            yield Chain(simulator, first, second, recorder)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain that no test changes."""
    with chained(tmp_path_factory.mktemp("unchanged"), offer_everything) as chain:
        yield chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain of which each test changes projects of its own."""
    with chained(tmp_path_factory.mktemp("chain"), offer_own) as chain:
        yield chain


@pytest.mark.thorough
@pytest.mark.slow
def test_a_mirror_of_the_corpus_mirror_equals_it(corpus_mirror: Mirror, tmp_path: Path) -> None:
    with serve(corpus_mirror) as url:
        second = Mirror(tmp_path / "second", url)
        second.sync()
        before = trees.touches(second.root)
        counts = second.sync()["counts"]
    ours, theirs = trees.contents(corpus_mirror.root), trees.contents(second.root)
    assert trees.difference(ours, theirs) == {}
    assert counts["pages_written"] == counts["files_downloaded"] == 0
    assert trees.touches(second.root) == before


@pytest.mark.thorough
def test_over_json_both_trees_are_equal_to_the_byte(unchanged: Chain) -> None:
    assert unchanged.difference() == {}
    assert trees.check(unchanged.second.root) == 5 * 6 + 1
    page = trees.offered(unchanged.second.root, "alpha")
    wheel = page["alpha-1.0-py3-none-any.whl"]
    assert wheel["yanked"] == REASON and wheel["x-colour"] == ["red", {"deep": REASON}]
    assert page["alpha-1.1.tar.gz"]["yanked"] is True
    assert simple_page(unchanged.second, "beta")["project-status"]["reason"] == REASON


@pytest.mark.thorough
def test_nothing_new_costs_the_second_mirror_one_request(unchanged: Chain) -> None:
    before = trees.touches(unchanged.second.root)
    assert unchanged.follow() == []
    assert unchanged.recorder.requests == [("/simple/", 304)]
    assert trees.touches(unchanged.second.root) == before


@pytest.mark.thorough
def test_a_third_mirror_in_the_chain_is_equal_too(unchanged: Chain, tmp_path: Path) -> None:
    with serve(unchanged.second) as url:
        third = Mirror(tmp_path / "third", url)
        third.sync()
    ours, theirs = trees.contents(unchanged.first.root), trees.contents(third.root)
    assert trees.difference(ours, theirs) == {}


@pytest.mark.thorough
def test_a_name_that_the_upstream_writes_unnormalised_is_the_same_in_both(
    simulator: Simulator, tmp_path: Path
) -> None:
    # The specification wants the normalised name in a page; not every server gives it. A mirror
    # that shows people the name as written, and tells mirrors the normalised one, is not followed.
    file = simulator.add_file("Delta.Four", *make_wheel("Delta.Four", "1.0"))
    said = {
        "meta": {"api-version": "1.0"},
        "name": "Delta.Four",
        "files": [{"filename": file.filename, "url": file.path, "hashes": file.digests}],
    }
    simulator.page("delta-four", json.dumps(said))
    first = Mirror(tmp_path / "first", simulator.url)
    first.sync()
    with serve(first) as url:
        second = Mirror(tmp_path / "second", url)
        second.sync()
    ours, theirs = trees.contents(first.root), trees.contents(second.root)
    assert trees.difference(ours, theirs) == {}


@pytest.mark.thorough
@pytest.mark.slow
def test_over_html_only_what_html_cannot_say_differs(unchanged: Chain, tmp_path: Path) -> None:
    with static(unchanged.first.root) as url:
        second = Mirror(tmp_path / "by-html", url, {"download": {"processes": 1, "connections": 4}})
        second.sync()
        before = trees.touches(second.root)
        assert second.sync()["counts"]["files_downloaded"] == 0
    assert trees.touches(second.root) == before
    ours, theirs = trees.contents(unchanged.first.root), trees.contents(second.root)
    different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    # The root index in JSON is equal, too: each page says its serial, in HTML in a comment.
    assert all(name.endswith("/index.v1_json") for name in different)
    assert "simple/index.v1_json" not in different
    for name in different:
        ours_page, theirs_page = json.loads(ours[name]), json.loads(theirs[name])
        # Keys that the specification does not have, of the page; and the upstream's versions,
        # in place of which there are those of the files.
        known = {key: value for key, value in ours_page.items() if not key.startswith("x-")}
        assert known.keys() == theirs_page.keys()
        for key in known.keys() - {"files", "versions"}:
            assert known[key] == theirs_page[key], (name, key)
        for our_file, their_file in zip(known["files"], theirs_page["files"], strict=True):
            # Of a file: other digests than sha256, the time, and unknown keys.
            kept = {k: v for k, v in our_file.items() if k not in ("upload-time", "hashes")}
            kept = {k: v for k, v in kept.items() if not k.startswith(("x-", "data-"))}
            sha256 = our_file["hashes"]["sha256"]
            assert their_file == {**kept, "hashes": {"sha256": sha256}}


@pytest.mark.thorough
@pytest.mark.slow
def test_a_new_release_flows_through_and_nothing_else_is_asked_for(chain: Chain) -> None:
    name, content = make_wheel("new-release", "3.0")
    chain.upstream.add_file("new-release", name, content, core_metadata=True)
    assert chain.follow() == ["new-release"]
    assert (chain.second.root / "packages/new-release" / name).read_bytes() == content
    assert chain.recorder.wheels == {name}


@pytest.mark.thorough
@pytest.mark.slow
def test_a_new_project_flows_through(chain: Chain) -> None:
    chain.upstream.add_file("new-project", *make_sdist("new-project", "1.0"))
    assert chain.follow() == ["new-project"]


@pytest.mark.thorough
@pytest.mark.slow
def test_a_yank_and_its_end_flow_through(chain: Chain) -> None:
    file = chain.upstream.file("yanked-1.0-py3-none-any.whl")
    for yanked, expected in ((REASON, REASON), (None, False)):
        file.set(yanked=yanked)
        assert chain.follow() == ["yanked"]
        said = trees.offered(chain.second.root, "yanked")[file.filename]["yanked"]
        assert said == expected
        assert chain.recorder.wheels == set()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_withdrawn_file_flows_through(chain: Chain) -> None:
    chain.upstream.file("withdrawn-1.0.tar.gz").remove()
    assert chain.follow() == ["withdrawn"]
    assert "withdrawn-1.0.tar.gz" not in trees.offered(chain.second.root, "withdrawn")
    # Its bytes stay for the grace period, in both.
    assert (chain.second.root / "packages/withdrawn/withdrawn-1.0.tar.gz").exists()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_deleted_project_flows_through(chain: Chain) -> None:
    chain.upstream.delete_project("deleted")
    assert chain.follow() == ["deleted"]
    assert not (chain.second.root / "simple/deleted").exists()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_quarantined_project_flows_through_and_comes_back(chain: Chain) -> None:
    chain.upstream.project("quarantined").quarantine(REASON)
    assert chain.follow() == ["quarantined"]
    assert trees.offered(chain.second.root, "quarantined") == {}
    status = simple_page(chain.second, "quarantined")["project-status"]
    assert status == {"status": "quarantined", "reason": REASON}
    chain.upstream.project("quarantined").activate(moves_serial=True)
    assert chain.follow() == ["quarantined"]
    assert len(trees.offered(chain.second.root, "quarantined")) == 3
    assert chain.recorder.wheels == set()  # the bytes were still there


@pytest.mark.thorough
@pytest.mark.slow
def test_an_archived_project_flows_through_once_the_first_mirror_has_looked(
    chain: Chain,
) -> None:
    # Archiving moves no serial of the upstream: its list shows nothing, a look does.
    chain.upstream.project("archived").archive(REASON)
    assert chain.follow() == []
    assert chain.follow("archived") == ["archived"]
    status = simple_page(chain.second, "archived")["project-status"]
    assert status == {"status": "archived", "reason": REASON}


@pytest.fixture
def first_selects(chain: Chain) -> Iterator[Callable[..., None]]:
    """Change the selection of the first mirror, until the end of the test."""
    yield lambda **values: chain.first.configure(select=values)
    chain.first.configure(select={"exclude": [], "exclude_files": []})
    chain.first.sync()
    chain.second.sync()


@pytest.mark.thorough
@pytest.mark.slow
def test_another_selection_of_the_first_mirror_flows_through_both_ways(
    chain: Chain, first_selects: Callable[..., None]
) -> None:
    # Its pages change, and no serial of the upstream does.
    first_selects(exclude=["selection-a<2"], exclude_files=["selection_b-1.0.tar.gz"])
    assert chain.follow() == ["selection-a", "selection-b"]
    assert list(trees.offered(chain.second.root, "selection-a")) == ["selection_a-2.0.tar.gz"]
    assert "selection_b-1.0.tar.gz" not in trees.offered(chain.second.root, "selection-b")
    first_selects(exclude=[], exclude_files=[])
    assert chain.follow() == ["selection-a", "selection-b"]
    assert len(trees.offered(chain.second.root, "selection-a")) == 3
    assert "selection_b-1.0.tar.gz" in trees.offered(chain.second.root, "selection-b")
    assert chain.follow() == []


@pytest.mark.thorough
@pytest.mark.slow
def test_a_deselected_project_leaves_both_mirrors_and_comes_back(
    chain: Chain, first_selects: Callable[..., None]
) -> None:
    first_selects(exclude=["deselected"])
    assert chain.follow() == ["deselected"]
    assert not (chain.second.root / "simple/deselected").exists()
    first_selects(exclude=[])
    assert chain.follow() == ["deselected"]
    assert len(trees.offered(chain.second.root, "deselected")) == 3


@pytest.mark.thorough
@pytest.mark.slow
def test_a_file_that_came_late_flows_through(chain: Chain) -> None:
    name, content = make_wheel("late", "3.0")
    file = chain.upstream.add_file("late", name, content)
    rule = chain.upstream.fault(file, Status(404))
    assert [f["file"] for f in chain.first.sync(code=1)["failures"]] == [name]
    assert chain.follow_first() == ["late"]
    chain.upstream.heal(rule)
    assert chain.follow() == ["late"]
    assert name in trees.offered(chain.second.root, "late")
    # And when the upstream's serial catches up with the one that the mirror gave itself.
    file.yank()
    assert chain.follow() == ["late"]
    assert trees.offered(chain.second.root, "late")[name]["yanked"] is True


@pytest.mark.thorough
@pytest.mark.slow
def test_changes_that_the_second_mirror_missed_arrive_together(chain: Chain) -> None:
    chain.upstream.add_file("missed-a", *make_sdist("missed-a", "5.0"))
    chain.first.sync()
    chain.upstream.file("missed_a-5.0.tar.gz").yank()
    chain.upstream.add_file("missed-b", *make_sdist("missed-b", "5.0"))
    assert chain.follow() == ["missed-a", "missed-b"]
