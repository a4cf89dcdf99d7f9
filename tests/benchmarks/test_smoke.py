"""The benchmark works, at sizes that say nothing: no time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import check, corpus, requester, shapes
from benchmarks.contestant import Scenario
from benchmarks.goals import GOALS
from benchmarks.measure import Cost, run
from benchmarks.report import text
from benchmarks.rounds import Row, Table
from tests.on_demand.site import until
from tests.simulator import Chunked, Simulator

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path("/dev/shm")


def call(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def leftovers() -> set[str]:
    if not SHARED.is_dir():
        return set()
    return {name for name in os.listdir(SHARED) if name.startswith("pypimirror-")}


@pytest.mark.thorough
@pytest.mark.slow
def test_comparison(tmp_path: Path) -> None:
    before = leftovers()
    call("benchmarks", "--smoke", "--storage", str(tmp_path / "work"), "--output", str(tmp_path))
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {(row["corpus"], row["scenario"], row["contestant"]): row for row in report["rows"]}
    for scenario in (Scenario.FIRST, Scenario.SAME, Scenario.CHANGED, Scenario.RESUME):
        assert rows["long-tail", scenario, "pypimirror"]["seconds"] > 0
    assert rows["tls", Scenario.FIRST, "pypimirror's engine"]["seconds"] > 0
    assert rows["latency", Scenario.FIRST, "pypimirror"]["seconds"] > 0
    assert not [row for row in report["rows"] if row["wrong"]]
    assert len(report["goals"]) == len(GOALS)
    ET.parse(tmp_path / "report.svg")
    assert not any((tmp_path / "work").iterdir())
    assert leftovers() <= before


@pytest.mark.thorough
@pytest.mark.slow
def test_scale(tmp_path: Path) -> None:
    arguments = ("--smoke", "--database", "sqlite", "--storage", str(tmp_path / "work"))
    call("benchmarks.scale", *arguments, "--output", str(tmp_path))
    report = json.loads((tmp_path / "scale.json").read_text())
    assert [step["wrong"] for step in report["steps"]] == [[]]
    ET.parse(tmp_path / "scale.svg")
    assert not any((tmp_path / "work").iterdir())


@pytest.mark.thorough
@pytest.mark.slow
def test_on_demand(tmp_path: Path, application_directory: Path) -> None:
    arguments = ("--rounds", "1", "--size", "1000000", "--requests", "50")
    some = ("--contestant", "direct", "--contestant", "pypimirror")
    where = ("--storage", str(tmp_path / "work"), "--output", str(tmp_path))
    call("benchmarks.on_demand", *arguments, *some, *where)
    assert "memory of the fetcher" in (tmp_path / "on_demand.txt").read_text()
    assert not any((tmp_path / "work").iterdir())


@pytest.mark.thorough
@pytest.mark.slow
def test_hits(tmp_path: Path) -> None:
    call("benchmarks.hits", "--pairs", "1", "--requests", "50", "--output", str(tmp_path))
    assert "file, pip, again" in (tmp_path / "hits.txt").read_text()


@pytest.mark.thorough
@pytest.mark.slow
def test_static_server_stands_in_for_nginx(tmp_path: Path) -> None:
    environment = os.environ | {"BENCHMARKS_STATIC": "1"}
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--corpus", "latency"]
    command += ["--corpus", "tls", "--contestant", "pypimirror's engine"]
    command += ["--storage", str(tmp_path / "work"), "--output", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=380
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "served by benchmarks.static" in done.stderr


@pytest.fixture
def small(tmp_path: Path) -> corpus.Corpus:
    shape = shapes.Shape("small", 3, 9, 90_000, spread=1.0, even=False)
    built = corpus.build(tmp_path / "corpus", shape)
    built.render("http://127.0.0.1:1")
    return built


def test_same_seed_same_corpus(small: corpus.Corpus, tmp_path: Path) -> None:
    again = corpus.build(tmp_path / "again", small.shape)
    other = corpus.build(tmp_path / "other", small.shape, seed=2)
    assert (again.items, again.serials) == (small.items, small.serials)
    assert other.serials != small.serials


def test_change_shows_on_page_and_list(small: corpus.Corpus) -> None:
    before = dict(small.serials)
    (name,) = small.advance()
    page = json.loads((small.directory / "pages" / f"{name}.json").read_bytes())
    listed = json.loads((small.directory / "simple.json").read_bytes())["projects"]
    assert page["meta"]["_last-serial"] == small.serials[name] > max(before.values())
    assert {"_last-serial": small.serials[name], "name": name} in listed
    assert page["files"][-1]["filename"] == small.projects[name][-1].filename


def test_long_tail_is_what_it_says() -> None:
    sizes = sorted(shapes.sizes(shapes.LONG_TAIL, 1))
    assert 25_000 < sizes[len(sizes) // 2] < 36_000
    assert abs(sum(sizes) / shapes.LONG_TAIL.total - 1) < 0.05
    counts = shapes.counts(shapes.LONG_TAIL, 1)
    assert (sum(counts), min(counts)) == (shapes.LONG_TAIL.files, 1)


def test_check_sees_wrong_and_missing_bytes(small: corpus.Corpus) -> None:
    items = small.items
    wanted = [(small.directory / item.path, item) for item in items]
    assert check.files(wanted) == []
    wanted[0][0].write_bytes(b"else")
    wanted[1][0].unlink()
    assert len(check.files(wanted)) == 2
    assert check.mirror(small.directory, small, small.projects)


def test_cost_of_a_process_tree(tmp_path: Path) -> None:
    child = "a = bytearray(64 << 20); import time; time.sleep(0.6)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    cost = run([sys.executable, "-c", code], env=dict(os.environ), cwd=tmp_path)
    assert (cost.status, cost.seconds > 0.6, cost.peak > 64 << 20) == (0, True, True)
    killed = run(["sleep", "30"], env=dict(os.environ), cwd=tmp_path, timeout=0.2)
    assert (killed.status, killed.seconds < 10) == (-9, True)


def test_goals_and_wrong_results() -> None:
    cost = Cost(1.0, 1.0, 1, 1, 0.0, 0.0, 0, "", "")
    ours = Row("long-tail", Scenario.FIRST, "pypimirror", costs=[cost])
    theirs = Row("long-tail", Scenario.FIRST, "bandersnatch", costs=[cost], scale=7.0)
    lines = [goal.line(Table([ours, theirs])) for goal in GOALS]
    assert lines[0][2:] == ("7.00 x", "yes")
    theirs.wrong.append("a file is missing")
    assert GOALS[0].line(Table([ours, theirs]))[3] == "not measured"
    assert "WRONG: a file is missing" in text(Table([ours, theirs]), {})


def test_requester_reads_whole_answers_of_each_form(simulator: Simulator) -> None:
    simulator.serve("/length", b"x" * 300_000)
    simulator.serve("/chunks", b"x" * 300_000)
    simulator.fault("/chunks", Chunked())
    urls = [f"{simulator.root}/length", f"{simulator.root}/chunks"]
    assert requester.repeat(urls, 20) > 0
    # The requester has the last byte before the simulator notes that it has sent it.
    until(lambda: all(request.finished for request in simulator.requests))
    asked = sorted(request.path for request in simulator.requests)
    assert asked == ["/chunks"] * 10 + ["/length"] * 10
    simulator.serve("/chunks", status=503)
    with pytest.raises(ValueError, match="not a good answer"):
        requester.repeat(urls, 20)
