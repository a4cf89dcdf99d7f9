"""A client decides on the mirror as it decides on the upstream: the same versions, for the same
reasons, with no more bytes than it needs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.fetch import PIP_VERSIONS
from tests.e2e import upstream
from tests.e2e.clients import call, pip, said_on_error, uv_pip, write_lines
from tests.e2e.serving import Recorder
from tests.simulator import Simulator

pytestmark = pytest.mark.timeout(300)  # for a machine with much else to do

NEWEST_PIP = PIP_VERSIONS[-1]
#: A tree of dependencies (hatchling has four), and one that has to step back: dateutil wants six.
REQUIREMENTS = ("hatchling", "python-dateutil", "six<1.17", "click", "markupsafe")
ANSWERS = {
    "click==8.1.8",
    "hatchling==1.27.0",
    "markupsafe==3.0.2",
    "packaging==25.0",
    "pathspec==0.12.1",
    "pluggy==1.6.0",
    "python-dateutil==2.9.0.post0",
    "six==1.16.0",
    "trove-classifiers==2025.5.9.12",
}


def compiled(index: str, file: Path, *options: str) -> str:
    """What `uv pip compile` answers, with hashes; it tells nothing of where it asked."""
    command = uv_pip("compile", index)
    return call(*command, "--no-header", "--generate-hashes", *options, file)


def pins(answer: str) -> set[str]:
    """The pinned versions in an answer of `uv pip compile`."""
    return {line.split()[0] for line in answer.splitlines() if "==" in line}


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "wanted.in", REQUIREMENTS)


def test_uv_resolves_the_same_from_upstream_and_mirror(
    index: str, corpus_upstream: Simulator, wanted: Path
) -> None:
    from_upstream = compiled(corpus_upstream.url, wanted)
    assert pins(from_upstream) == ANSWERS
    assert compiled(index, wanted) == from_upstream


def test_uv_resolves_the_same_before_a_cutoff(
    served: str, corpus_upstream: Simulator, tmp_path: Path
) -> None:
    wanted = write_lines(tmp_path / "wanted.in", [upstream.DATED, "click"])
    before = ("--exclude-newer", upstream.cutoff(corpus_upstream))
    from_upstream = compiled(corpus_upstream.url, wanted, *before)
    assert pins(from_upstream) == {"packaging==24.2", "click==8.1.8"}
    assert compiled(served, wanted, *before) == from_upstream
    assert "packaging==25.0" in pins(compiled(served, wanted))


@pytest.mark.thorough
def test_pip_chooses_the_same_before_a_cutoff(
    served: str, corpus_upstream: Simulator, pip_wheels: dict[str, Path]
) -> None:
    moment = upstream.cutoff(corpus_upstream)
    for url in (corpus_upstream.url, served):
        command = pip(pip_wheels[NEWEST_PIP], "index", url)
        command[3:3] = ["versions", "--json", upstream.DATED]
        # Files on the mirror without a time would be an error here, not a shorter list.
        assert '"versions": ["24.2"]' in call(*command, "--uploaded-prior-to", moment)
        assert '"versions": ["25.0", "24.2"]' in call(*command)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("version", PIP_VERSIONS[::2])
def test_pip_lists_the_same_versions(
    served: str,
    plain: str,
    on_disk: str,
    corpus_upstream: Simulator,
    pip_wheels: dict[str, Path],
    version: str,
) -> None:
    answers = []
    for url in (corpus_upstream.url, served, plain, on_disk):
        command = pip(pip_wheels[version], "index", url)
        command[3:3] = ["versions", "zope.event"]
        answers.append(call(*command))
    assert "Available versions: 5.0, 4.6" in answers[0]
    assert set(answers) == {answers[0]}


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("version", PIP_VERSIONS[::2])
def test_pip_passes_over_what_is_yanked_and_says_why_where_it_is_pinned(
    served: str,
    plain: str,
    corpus_upstream: Simulator,
    pip_wheels: dict[str, Path],
    tmp_path: Path,
    version: str,
) -> None:
    upstreams = (corpus_upstream.url, served, plain) if version == NEWEST_PIP else (served, plain)
    for number, url in enumerate(upstreams):
        target, log = tmp_path / f"{number}", tmp_path / f"{number}.log"
        command = [*pip(pip_wheels[version], "download", url), "--quiet", "--dest", str(target)]
        call(*command, upstream.YANKED)
        call(*command, f"{upstream.YANKED}==0.4.6", "--log", log)
        assert f"Reason for being yanked: {upstream.YANK_REASON}\n" in log.read_text()
        assert sorted(path.name for path in target.iterdir()) == [
            "colorama-0.4.5-py2.py3-none-any.whl",
            "colorama-0.4.6-py2.py3-none-any.whl",
        ]


def test_uv_passes_over_what_is_yanked_unless_it_is_pinned(
    recorded: Recorder, corpus_upstream: Simulator, tmp_path: Path
) -> None:
    some = write_lines(tmp_path / "some.in", [upstream.YANKED])
    pinned = write_lines(tmp_path / "pinned.in", [f"{upstream.YANKED}==0.4.6"])
    answers = []
    for url in (corpus_upstream.url, recorded.url):
        assert pins(compiled(url, some)) == {"colorama==0.4.5"}
        answers.append(compiled(url, pinned))
    assert pins(answers[0]) == {"colorama==0.4.6"}
    assert answers[0] == answers[1]


@pytest.mark.thorough
@pytest.mark.slow
def test_requires_python_is_respected(
    recorded: Recorder,
    corpus_upstream: Simulator,
    pip_wheels: dict[str, Path],
    tmp_path: Path,
) -> None:
    some = write_lines(tmp_path / "some.in", [upstream.DEMANDING])
    newest = f"{upstream.DEMANDING}==2.0"
    for number, url in enumerate((corpus_upstream.url, recorded.url)):
        assert f"{upstream.DEMANDING}==1.0" in pins(compiled(url, some))
        command = [*pip(pip_wheels[NEWEST_PIP], "download", url), "--no-deps"]
        call(*command, "--dest", tmp_path / str(number), upstream.DEMANDING)
        names = [path.name for path in (tmp_path / str(number)).iterdir()]
        assert names == ["needs_the_future-1.0-py3-none-any.whl"]
        assert "3.99" in said_on_error(*command, newest)


def test_uv_resolves_from_core_metadata_without_a_wheel(recorded: Recorder, wanted: Path) -> None:
    # markupsafe is there as sdists alone, so it is left out: uv has to open those.
    write_lines(wanted, [line for line in REQUIREMENTS if line != "markupsafe"])
    assert pins(compiled(recorded.url, wanted)) == ANSWERS - {"markupsafe==3.0.2"}
    assert len(recorded.metadata) >= len(ANSWERS) - 1
    assert recorded.wheels == set()


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recorded", "version"),
    [("served", PIP_VERSIONS[-1]), ("plain", PIP_VERSIONS[0])],
    indirect=["recorded"],
)
def test_pip_resolves_from_core_metadata_and_fetches_only_what_it_chose(
    recorded: Recorder, pip_wheels: dict[str, Path], tmp_path: Path, version: str
) -> None:
    # The wheels of what is not chosen stay where they are.
    command = pip(pip_wheels[version], "download", recorded.url)
    call(*command, "--quiet", "--dest", tmp_path, "hatchling", "packaging<25")
    chosen = {path.name for path in tmp_path.iterdir()}
    assert recorded.wheels == chosen
    assert recorded.metadata >= chosen
