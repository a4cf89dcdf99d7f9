"""A lost catalog is rebuilt from the tree: what is there and right is not downloaded again."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline import sequence
from pypimirror.pipeline.download import adopt as adopt_module
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.storage.posix import PosixStorage
from tests.corpus.build import make_sdist, make_wheel
from tests.corpus.shadowmire import make_tree
from tests.integrity.watching import Watcher
from tests.mirror import Mirror, offer, offer_sdist, reasons
from tests.pipeline.conftest import MakeMirror
from tests.simulator import IndexFile, Simulator, Status

pytestmark = pytest.mark.sqlite  # the catalog is lost by removing its file


def adopt(mirror: Mirror) -> Summary:
    """Adopt the tree in this process."""

    def work(run: Run) -> None:
        adopt_module.adopt(run, sequence.sync)

    summary = run_sync(mirror.config, (), work, command="adopt", trigger="test")
    mirror.check()
    return summary


def lose_catalog(mirror: Mirror) -> None:
    """Remove the private directory, staging and all."""
    for path in sorted((mirror.root / ".pypimirror").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def proofs(mirror: Mirror) -> list[tuple[object, ...]]:
    """How each file is proven, and what is known of its bytes."""
    columns = "filename, state, size, sha256, proof, proof_algorithm, proof_source, metadata_sha256"
    return [tuple(row) for row in mirror.query(f"SELECT {columns} FROM files ORDER BY filename")]


def contents(mirror: Mirror) -> dict[str, bytes]:
    """What is served, byte for byte."""
    return {name: (mirror.root / name).read_bytes() for name in mirror.served()}


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """A mirror of three files of six and one of idna, whose catalog is lost."""
    files = [*offer(simulator, "six", "1.0", "2.0"), offer_sdist(simulator, "six", "3.0")]
    files += offer(simulator, "idna", "1.0")
    assert mirror.sync().state == "completed"
    simulator.forget()
    return files


@pytest.mark.parametrize("layout", ["project", "pypi"])
@pytest.mark.parametrize("way", [adopt, Mirror.sync], ids=["adopt", "sync"])
def test_what_is_there_is_not_downloaded_and_nothing_served_changes(
    make_mirror: MakeMirror, layout: str, way: object
) -> None:
    assert callable(way)
    with Simulator(layout=layout) as simulator:
        offer(simulator, "six", "1.0", "2.0")
        offer_sdist(simulator, "six", "3.0", digests=("md5",))
        offer(simulator, "idna", "1.0")
        mirror = make_mirror(simulator, mirror={"layout": layout})
        mirror.sync()
        before, known = contents(mirror), proofs(mirror)
        lose_catalog(mirror)
        simulator.forget()
        result = way(mirror)
        assert (result.state, result.failures) == ("completed", [])
        assert result.counts["files_reused"] == result.counts["files_verified"] == 4
        assert [r.path for r in simulator.requests if "/packages/" in r.path] == []
    assert (contents(mirror), proofs(mirror)) == (before, known)


def test_serials_of_pages_do_not_go_back(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    """Whoever follows this mirror would miss what changes next."""
    mirror.configure(select={"exclude_files": ["*-1.0-*"]})
    mirror.sync()
    serial = mirror.page("six")["meta"]["_last-serial"]
    assert serial > simulator.project("six").serial
    before = contents(mirror)
    lose_catalog(mirror)
    assert mirror.sync().state == "completed"
    assert contents(mirror) == before
    offer(simulator, "six", "4.0")
    simulator.project("six").serial = 1
    mirror.sync()
    assert mirror.page("six")["meta"]["_last-serial"] > serial


def test_adopting_reports_what_is_wrong_missing_and_foreign_and_fetches_nothing(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    damaged, missing, *_ = held
    content = bytearray(mirror.path(damaged).read_bytes())
    content[-1] ^= 1
    mirror.path(damaged).write_bytes(content)
    mirror.path(missing).unlink()
    stranger = mirror.root / "packages" / "six" / "six-9.tar.gz"
    stranger.write_bytes(b"whose?")
    lose_catalog(mirror)
    result = adopt(mirror)
    assert result.state == "incomplete"
    assert result.counts["files_missing"] == 1
    assert reasons(result.failures) == {
        damaged.filename: Reason.DIGEST_MISMATCH,
        "packages/six/six-9.tar.gz": Reason.FOREIGN,
    }
    assert [r.path for r in simulator.requests if "/packages/" in r.path] == []
    assert mirror.files("six") == [held[2].filename]
    assert mirror.path(damaged).read_bytes() == content, "it is not ours to delete"

    assert mirror.sync().state == "completed"
    assert all(mirror.holds(file) for file in held)
    assert simulator.downloads(held[2].filename) == 0
    assert stranger.exists()
    (aside,) = [p for p in (mirror.root / ".pypimirror" / "quarantine").iterdir() if not p.suffix]
    assert aside.read_bytes() == content, "what was in the way is kept for whoever asks"


def test_what_is_right_stays_on_its_page_at_every_step_of_a_sync(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page from before lets go of what is wrong, and of nothing else."""
    damaged, short, fine, _ = held
    mirror.path(damaged).write_bytes(b"x" * mirror.path(damaged).stat().st_size)
    mirror.path(short).write_bytes(b"x")
    lose_catalog(mirror)
    watcher = Watcher(mirror.root)
    steps: list[tuple[str, int]] = []

    def look(_: str, path: str) -> None:
        before = len(watcher.wrong)
        watcher.look()
        steps.append((path, len(watcher.wrong) - before))
        assert fine.filename in mirror.files("six")

    monkeypatch.setattr(
        "pypimirror.storage.posix.PosixStorage", partial(PosixStorage, on_step=look)
    )
    mirror.sync()
    assert all(mirror.holds(file) for file in held)
    assert all("six-1.0" in wrong or "six-2.0" in wrong for wrong in watcher.wrong)
    replaced = next(i for i, (path, _) in enumerate(steps) if path.endswith(damaged.filename))
    assert sum(wrong for _, wrong in steps[:replaced]) > 0, "the test sees what is wrong"
    assert sum(wrong for _, wrong in steps[replaced:]) == 0


def test_bytes_that_nobody_claims_a_digest_of_are_fetched(
    mirror: Mirror, simulator: Simulator
) -> None:
    """They cannot be told from others of that name."""
    file = simulator.add_file("six", *make_sdist("six", "1.0"), digests=(), size=None)
    mirror.sync()
    mirror.path(file).write_bytes(make_sdist("six", "1.0", padding=9)[1])
    lose_catalog(mirror)
    assert adopt(mirror).counts["files_missing"] == 1
    mirror.sync()
    assert mirror.holds(file)


def test_a_broken_archive_that_only_md5_vouches_for_leaves_its_page_first(
    mirror: Mirror, simulator: Simulator
) -> None:
    """It is taken for what was claimed, and then proven bad where it is."""
    name, content = make_sdist("six", "1.0")
    good = offer_sdist(simulator, "six", "2.0")
    broken = simulator.add_file("six", name, content[:-20], digests=("md5",))
    mirror.configure(verify={"accept": "partial"})
    mirror.sync()
    assert mirror.files("six") == [good.filename]
    mirror.path(broken).write_bytes(bytes(broken.content))  # as if a page had named it
    page = mirror.root / "simple" / "six" / "index.v1_json"
    document = json.loads(page.read_text())
    stolen = {**document["files"][0], "filename": name, "url": f"../../packages/six/{name}"}
    page.write_text(json.dumps({**document, "files": [*document["files"], stolen]}))
    lose_catalog(mirror)
    watcher = Watcher(mirror.root)
    with watcher.watching():
        assert adopt(mirror).state == "incomplete"
    assert mirror.files("six") == [good.filename]
    assert not mirror.path(broken).exists()
    assert mirror.state(name) == "quarantined"


def test_links_and_directories_in_the_place_of_a_file_are_not_taken_over(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], tmp_path: Path
) -> None:
    """What a link leads to is not in the mirror root, and may change behind its back."""
    path = mirror.path(held[0])
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    lose_catalog(mirror)
    assert mirror.sync().state == "completed"
    assert simulator.downloads(held[0].filename) == 1
    assert not path.is_symlink()


def test_what_was_put_back_by_hand_is_taken_over_too(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    """Also where the upstream has stopped to deliver it."""
    path, content = mirror.path(held[0]), bytes(held[0].content)
    path.unlink()
    simulator.fault(f"*/{held[0].filename}", Status(500))
    mirror.query("UPDATE files SET state = 0 WHERE filename = ?", held[0].filename)
    mirror.query("UPDATE projects SET has_work = 1, page_stale = 1")
    assert mirror.sync().state == "incomplete"
    path.write_bytes(content)
    assert adopt(mirror).state == "completed"
    assert mirror.files("six") == sorted(file.filename for file in held[:3])


def test_an_interrupted_adoption_goes_on(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(mirror)
    lose_catalog(mirror)
    take_in = adopt_module._take_in

    def interrupted(*arguments: object) -> None:
        take_in(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adopt_module, "_take_in", interrupted)
        assert adopt(mirror).state == "cancelled"
    assert contents(mirror) == before
    assert adopt(mirror).state == "completed"
    assert contents(mirror) == before
    assert [r.path for r in simulator.requests if "/packages/" in r.path] == []


def test_core_metadata_that_differs_is_told_though_other_files_come_by_download(
    mirror: Mirror, simulator: Simulator
) -> None:
    name, content = make_wheel("six", "1.0")
    simulator.add_file("six", name, content, core_metadata={"sha256": "1" * 64})
    mirror.sync()
    mirror.lose_catalog()
    (new,) = offer(simulator, "six", "2.0")
    for _ in range(2):
        result = mirror.sync()
        assert reasons(result.failures) == {name: "metadata-mismatch"}
        assert mirror.files("six") == [name, new.filename]
    assert mirror.query("SELECT COUNT(*) AS n FROM refusals")[0]["n"] == 1


def test_a_tree_of_shadowmire_is_adopted_in_place(tmp_path: Path, make_mirror: MakeMirror) -> None:
    with Simulator(layout="pypi") as simulator:
        files = [*offer(simulator, "six", "1.0", "2.0"), *offer(simulator, "idna", "1.0")]
        mirror = make_mirror(simulator, mirror={"layout": "pypi"})
        make_tree(mirror.root, simulator.index.projects.values())
        inodes = {file: (mirror.root / file.path[1:]).stat().st_ino for file in files}
        result = adopt(mirror)
        assert result.counts["files_reused"] == result.counts["files_verified"] == 3
        assert mirror.sync().counts["files_downloaded"] == 0
        assert simulator.count("/packages/*") == 0
        assert {f: (mirror.root / f.path[1:]).stat().st_ino for f in files} == inodes
        # Its HTML pages were links to others, which nobody brings up to date any more.
        assert not (mirror.root / "simple/six/index.html").is_symlink()
        left = {problem.file for problem in result.failures}
        assert left == {"simple/*/index.v1_html"}
