"""The closure of a selection, against a model that tries everything, and against uv."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pypimirror.domain.metadata.dependencies import of_wheel, split
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.select.closure.close import (
    Closure,
    ClosureRelease,
    FileRequirements,
    TooManyError,
    Walk,
    close,
)
from pypimirror.select.closure.masks import Masks
from pypimirror.select.closure.root import Root
from pypimirror.select.environments import Environments
from tests.corpus.build import core_metadata, make_wheel

NAMES = ("a", "b", "c", "d", "e-f")
VERSIONS = ("1.0", "1.1", "2.0rc1", "2.0")
EXTRAS = ("x", "y", "all")
PYTHONS = ("3.11", "3.12", "3.14")
PLATFORMS = {
    "manylinux_2_28_x86_64": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "win_amd64": {"sys_platform": "win32", "platform_machine": "AMD64"},
}
MARKERS = (
    *('python_version < "3.12"', 'sys_platform == "win32"', 'extra == "x"', 'extra == "y"'),
    *('extra == "all"', 'extra == "x" and python_version >= "3.12"'),
    *('(sys_platform == "linux" or extra == "y")', 'python_full_version < "3.12.4"'),
    'platform_machine != "x86_64" and extra == "all"',
)
SPECIFIERS = ("", ">=1.1", "==1.0", "<2", "~=1.0", "!=1.0", ">=2.0rc1", ">1.0,<3", "==9")
PYTHON_SPECIFIERS = (None, None, None, ">=3.12", "<3.12", ">=3.11.2", "<3.9")

#: By project and version: what it requires, and which Pythons it admits.
Graph = Mapping[tuple[str, str], tuple[Sequence[str], str | None]]


def written(name: str, extras: Sequence[str], versions: str, marker: str | None = None) -> str:
    """A requirement."""
    asked = ",".join(extras)
    return f"{name}{f'[{asked}]' if asked else ''}{versions}{f'; {marker}' if marker else ''}"


requirements = st.builds(
    written,
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(EXTRAS), max_size=2, unique=True),
    st.sampled_from(SPECIFIERS),
    st.none() | st.sampled_from(MARKERS),
)
graphs = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(VERSIONS)),
    st.tuples(st.lists(requirements, max_size=4), st.sampled_from(PYTHON_SPECIFIERS)),
    min_size=1,
    max_size=14,
)
roots = st.lists(
    st.builds(
        Root,
        st.sampled_from(NAMES),
        st.sampled_from(SPECIFIERS),
        st.lists(st.sampled_from(EXTRAS), max_size=2, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=2,
)


def releases_of(graph: Graph) -> dict[str, list[ClosureRelease]]:
    """The graph as the closure wants it, by way of core metadata."""
    found: dict[str, list[ClosureRelease]] = {}
    for (name, version), (requires, python) in sorted(graph.items()):
        said = of_wheel(core_metadata(name, version, requires=requires, requires_python=python))
        assert not said.faults
        found.setdefault(name, []).append(
            ClosureRelease(name, Version(version), version, (document(said),))
        )
    return found


def document(said: Requirements) -> FileRequirements:
    return FileRequirements(
        said.python, tuple(map(split, said.requires)), tuple(map(split, said.build))
    )


def closure_of(
    graph: Graph, wanted: Sequence[Root], pythons: Sequence[str], platforms: Sequence[str]
) -> Closure:
    masks = Masks(Environments(pythons, platforms))
    return close(wanted, releases_of(graph), masks, most=100)


# The model


@dataclass(frozen=True)
class Machine:
    """One real machine, down to the patch of its Python."""

    python: str
    platform: str

    def holds(self, requirement: Requirement, extra: str) -> bool:
        """Whether a requirement counts on some patch of the Python."""
        return requirement.marker is None or any(
            requirement.marker.evaluate(
                {
                    **PLATFORMS[self.platform],
                    "python_version": self.python,
                    "python_full_version": f"{self.python}.{patch}",
                    "extra": extra,
                }
            )
            for patch in (*range(8), 999)
        )

    def admitted(self, python: str | None) -> bool:
        """Whether this Python or an earlier one is admitted: uv looks at no upper bound."""
        allowed = SpecifierSet(python or "")
        earlier = range(int(self.python.partition(".")[2]) + 1)
        patches = (*range(8), 999)
        return any(allowed.contains(f"3.{m}.{p}") for m, p in product(earlier, patches))

    def needs(self, graph: Graph, wanted: Sequence[Root]) -> set[tuple[str, str, str]]:
        """Project, version and extra of all that is needed: everything is tried until it stays."""
        needed: set[tuple[str, str, str]] = set()
        asked = {(r.project, r.versions, extra) for r in wanted for extra in ("", *r.extras)}
        while True:
            before = len(needed), len(asked)
            for (name, version), (project, versions, extra) in product(graph, set(asked)):
                if name == project and fits(version, versions):
                    needed.add((name, version, extra))
            for name, version, extra in set(needed):
                requires, python = graph[name, version]
                for each in map(Requirement, requires) if self.admitted(python) else ():
                    if not self.holds(each, extra):
                        continue
                    if each.name != name:
                        asked |= {(each.name, str(each.specifier), e) for e in ("", *each.extras)}
                    elif fits(version, str(each.specifier)):
                        needed |= {(name, version, further) for further in each.extras}
            if before == (len(needed), len(asked)):
                return needed


def fits(version: str, versions: str) -> bool:
    return SpecifierSet(versions).contains(version, prereleases=True)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    graph={
        ("a", "1.0"): (["b[all]"], None),
        ("b", "1.0"): (['b[x,y]; extra == "all"', 'c; extra == "y"'], None),
        ("c", "1.0"): (["a"], None),
        ("c", "2.0"): ([], None),
    },
    wanted=[Root("a")],
    pythons=["3.11"],
    platforms=["win_amd64"],
)
@given(
    graphs,
    roots,
    st.lists(st.sampled_from(PYTHONS), min_size=1, unique=True),
    st.lists(st.sampled_from(sorted(PLATFORMS)), min_size=1, unique=True),
)
def test_the_closure_is_what_trying_everything_finds(
    graph: Graph, wanted: list[Root], pythons: list[str], platforms: list[str]
) -> None:
    found = closure_of(graph, wanted, pythons, platforms)
    told = {
        (release.project, release.shown, extra, number)
        for releases in found.releases.values()
        for release in releases
        for extra, mask in release.needed.items()
        for number in range(len(pythons) * len(platforms))
        if mask >> number & 1
    }
    model = {
        (*need, number)
        for number, pair in enumerate(product(pythons, platforms))
        for need in Machine(*pair).needs(graph, wanted)
    }
    assert told == model
    for name, version in graph:
        wanted_here = any((name, version, "", number) in model for number in range(9))
        assert (found.of(name, Version(version)) is not None) == wanted_here


def needs_of(closure: Closure) -> tuple[object, ...]:
    """All that a closure says, except who was the first to need something."""
    every = [release for releases in closure.releases.values() for release in releases]
    return (
        {(each.project, each.shown): each.needed for each in every if each.needed},
        {(each.project, each.shown) for each in closure.unknown},
        {
            (project, versions, demand.is_need, demand.environments)
            for project, demands in closure.demands.items()
            for versions, demand in demands.items()
        },
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs, roots, st.sets(st.sampled_from(NAMES)), st.randoms(use_true_random=False))
def test_a_closure_that_grows_is_the_closure_of_all(
    graph: Graph, wanted: list[Root], unread: set[str], chance: Random
) -> None:
    """Whatever becomes known first: what is selected, a release, or what it requires."""
    masks = Masks(Environments(PYTHONS, sorted(PLATFORMS)))
    every = [r for releases in releases_of(graph).values() for r in releases]
    steps: list[ClosureRelease | Root] = [
        ClosureRelease(r.project, r.version, r.shown) for r in every
    ]
    steps += [r for r in every if r.project not in unread]
    steps += wanted
    chance.shuffle(steps)
    walk = Walk(masks, most=100)
    for step in steps:
        if isinstance(step, Root):
            walk.extend([step], {})
        else:
            walk.extend([], {step.project: [step]})
    whole = releases_of(graph)
    for release in (r for name in unread for r in whole.get(name, ())):
        release.documents = ()
    assert needs_of(walk.closure) == needs_of(close(wanted, whole, masks, most=100))


# What uv takes


def check_with_uv(
    directory: Path, graph: Graph, wanted: list[Root], python: str, platform: str
) -> None:
    """Whatever uv takes of these wheels, in one environment, is in the closure."""
    for (name, version), (requires, admitted) in graph.items():
        file, content = make_wheel(name, version, requires=requires, requires_python=admitted)
        (directory / file).write_bytes(content)
    asked = "\n".join(written(root.project, root.extras, root.versions) for root in wanted)
    called = {"manylinux_2_28_x86_64": "x86_64-manylinux_2_28", "win_amd64": "windows"}[platform]
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "uv",
                "pip",
                "compile",
                "--quiet",
                "--no-index",
                "--no-config",
                "--no-header",
            ),
            *("--find-links", str(directory), "--no-cache", "--no-annotate", "--no-build"),
            *(
                "--python",
                sys.executable,
                "--python-version",
                python,
                "--python-platform",
                called,
                "-",
            ),
        ],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:  # they contradict each other
        assert "No solution found" in done.stderr, done.stderr
        return
    found = closure_of(graph, wanted, [python], [platform])
    for line in done.stdout.split():
        name, version = line.split("==")
        assert found.of(name.partition("[")[0], Version(version)) is not None, line


@pytest.mark.parametrize(
    ("number", "cases"),
    [(number, 2) for number in range(2)]
    + [pytest.param(n, 20, marks=pytest.mark.thorough) for n in range(2, 4)],
)
def test_what_uv_takes_is_in_the_closure(
    number: int, cases: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(
        deadline=None,
        max_examples=cases,
        phases=[Phase.generate],  # each case takes a process
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs, roots)
    def check(graph: Graph, wanted: list[Root]) -> None:
        check_with_uv(
            tmp_path_factory.mktemp("wheels"),
            graph,
            wanted,
            PYTHONS[number % 2],
            sorted(PLATFORMS)[number % 2],
        )

    check()


# Who needs what


def chain(graph: Mapping[str, Sequence[str]], *wanted: str, **more: Any) -> Closure:
    """The closure of a graph with one version of each project."""
    full: Graph = {(name, "1.0"): (requires, None) for name, requires in graph.items()}
    masks = Masks(Environments(PYTHONS, ["win_amd64"]))
    return close([Root(name) for name in wanted], releases_of(full), masks, most=3, **more)


def test_whoever_asked_first_is_the_end_of_a_shortest_chain() -> None:
    found = chain({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["a"]}, "a")
    by, _ = found.of("d", Version("1.0")) or (None, 0)
    assert by is not None and by.project == "b"
    assert by.by is not None and by.by.project == "a" and by.by.by is None


def test_more_projects_than_are_allowed_are_told_with_their_chain() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["d"], "d": ["e-f"]}
    assert len(chain(graph, "a", "e-f").demands) == 5  # what is selected does not count
    with pytest.raises(TooManyError, match=r"e-f <- d 1.0 <- c 1.0 <- b 1.0 <- a 1.0"):
        chain(graph, "a")


def test_what_an_sdist_is_built_with_counts_where_that_is_asked_for() -> None:
    sdist = ClosureRelease("a", Version("1"), "1", (FileRequirements("", (), (split("b>=2"),)),))
    masks = Masks(Environments(PYTHONS))
    assert set(close([Root("a")], {"a": [sdist]}, masks, most=9).demands) == {"a"}
    sdist.needed.clear()
    found = close([Root("a")], {"a": [sdist]}, masks, most=9, build=True)
    assert set(found.demands["b"]) == {">=2"}


def test_a_release_that_nobody_knows_is_unknown_and_not_guessed() -> None:
    unknown = ClosureRelease("a", Version("1"), "1")
    found = close([Root("a")], {"a": [unknown]}, Masks(Environments()), most=9)
    assert found.unknown == [unknown] and set(found.demands) == {"a"}
