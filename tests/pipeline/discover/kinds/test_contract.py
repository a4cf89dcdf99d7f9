"""The contract of a kind of upstream: two questions, and what is relied on of the answers.

Each kind passes it, and so does the one in memory, with which a whole sync runs in the last test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest

from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import (
    File,
    ListedProject,
    Problem,
    ProjectList,
    ProjectPage,
    Reason,
)
from pypimirror.download.protocol import FetchPage, ListResult, PageResult
from pypimirror.pipeline.discover.kinds import registry
from pypimirror.pipeline.discover.kinds.kind import Place, UpstreamKind
from pypimirror.pipeline.run import Run
from tests.corpus.build import make_sdist, make_wheel
from tests.mirror import Mirror
from tests.pools import inline
from tests.simulator import IndexFile, Simulator

LINKS = "/downloads/"


class MemoryKind:
    """Projects with their files, in memory."""

    has_pages = True

    def __init__(self, projects: dict[str, list[File]]) -> None:
        self.projects = projects
        self.away = False

    def listing(
        self, run: Run, upstream: UpstreamSection, place: Place
    ) -> tuple[ListResult, ProjectList | None]:
        del run, upstream, place
        if self.away:
            return ListResult(0, problem=Problem(Reason.CONNECTION, "it is away")), None
        return ListResult(0), ProjectList([ListedProject(name) for name in sorted(self.projects)])

    def page_job(
        self, number: int, place: Place, project: str, candidates: Sequence[str] = ()
    ) -> FetchPage:
        del candidates
        return FetchPage(number, place[0], f"{place[1]}{project}/", project)

    def pages(
        self, run: Run, jobs: Sequence[tuple[UpstreamSection, FetchPage]]
    ) -> Iterator[PageResult]:
        del run
        for _, job in jobs:
            files = self.projects.get(job.project)
            if self.away or files is None:
                reason = Reason.CONNECTION if self.away else Reason.MISSING
                yield job.failed(Problem(reason, "no page", job.project))
                continue
            page = ProjectPage(job.project, job.project, files=files)
            digest = hashlib.sha256(repr(files).encode()).hexdigest()
            yield PageResult(job.id, page=page, digest=digest)


@pytest.fixture
def files(simulator: Simulator) -> list[IndexFile]:
    made = [
        simulator.add_file("six", *make_sdist("six", "1.0")),
        simulator.add_file("six", *make_wheel("six", "2.0")),
        simulator.add_file("idna", *make_wheel("idna", "1.0")),
    ]
    anchors = [f'<a href="{f.quoted_path}#sha256={f.sha256}">{f.filename}</a>' for f in made]
    simulator.serve(LINKS, f"<html><body>{''.join(anchors)}</body></html>", "text/html")
    return made


def offered(simulator: Simulator, files: list[IndexFile]) -> dict[str, list[File]]:
    """The same in memory."""
    found: dict[str, list[File]] = {}
    for file in files:
        entry = File(file.filename, simulator.root + file.quoted_path, {"sha256": file.sha256})
        found.setdefault(file.project.normalized, []).append(entry)
    return found


Ask = Callable[[Callable[[Run, UpstreamKind, UpstreamSection], None]], None]


@pytest.fixture(params=["simple", "links", "memory"])
def ask(
    request: pytest.FixtureRequest, tmp_path: Path, simulator: Simulator, files: list[IndexFile]
) -> Ask:
    """Lets a test look at an upstream of one kind, within a run."""
    mirror = Mirror(tmp_path, simulator)
    kind = registry.KINDS.get(request.param) or MemoryKind(offered(simulator, files))
    if request.param == "links":
        mirror.upstreams[0] |= {"kind": "links", "url": simulator.root + LINKS}
        mirror.configure()

    def within(look: Callable[[Run, UpstreamKind, UpstreamSection], None]) -> None:
        done: list[None] = []
        result = mirror.sync(
            work=lambda run: done.append(look(run, kind, run.config.upstream[0])),
            make_pools=inline,
            sound=False,
        )
        assert done == [None], result.message

    return within


def place(upstream: UpstreamSection) -> Place:
    return upstream.name, upstream.url


def test_it_lists_its_projects(ask: Ask) -> None:
    def look(run: Run, kind: UpstreamKind, upstream: UpstreamSection) -> None:
        answer, found = kind.listing(run, upstream, place(upstream))
        assert answer.problem is None
        assert found is not None
        assert sorted(project.name for project in found.projects) == ["idna", "six"]

    ask(look)


def test_pages_have_the_files_of_their_project_and_no_others(
    ask: Ask, files: list[IndexFile]
) -> None:
    def look(run: Run, kind: UpstreamKind, upstream: UpstreamSection) -> None:
        names = ["six", "idna"]
        jobs = [kind.page_job(n, place(upstream), name) for n, name in enumerate(names)]
        results = {each.id: each for each in kind.pages(run, [(upstream, job) for job in jobs])}
        for number, name in enumerate(names):
            page = results[number].page
            assert page is not None and results[number].problem is None
            assert results[number].digest
            expected = {f.filename: f.sha256 for f in files if f.project.normalized == name}
            assert {f.filename: f.digests["sha256"] for f in page.files} == expected

    ask(look)


def test_a_project_that_it_does_not_have_is_missing_and_costs_the_others_nothing(ask: Ask) -> None:
    def look(run: Run, kind: UpstreamKind, upstream: UpstreamSection) -> None:
        jobs = [kind.page_job(n, place(upstream), name) for n, name in enumerate(["none", "six"])]
        results = {each.id: each for each in kind.pages(run, [(upstream, job) for job in jobs])}
        problem = results[0].problem
        assert problem is not None and problem.reason is Reason.MISSING
        assert results[1].page is not None

    ask(look)


def test_an_upstream_that_is_away_is_a_problem_and_no_empty_list(
    ask: Ask, simulator: Simulator
) -> None:
    def look(run: Run, kind: UpstreamKind, upstream: UpstreamSection) -> None:
        if isinstance(kind, MemoryKind):
            kind.away = True
        with simulator.refusing():
            answer, found = kind.listing(run, upstream, place(upstream))
            assert found is None and answer.problem is not None
            (result,) = kind.pages(run, [(upstream, kind.page_job(0, place(upstream), "six"))])
            assert result.problem is not None and result.problem.reason is not Reason.MISSING

    ask(look)


def test_the_configuration_knows_all_kinds_and_no_others() -> None:
    assert set(get_args(UpstreamSection.model_fields["kind"].annotation)) == set(registry.KINDS)


def test_another_kind_is_mirrored_like_any(
    tmp_path: Path,
    simulator: Simulator,
    files: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = MemoryKind(offered(simulator, files))
    monkeypatch.setitem(registry.KINDS, "simple", kind)
    mirror = Mirror(tmp_path, simulator, delete={"grace": "0s", "max_share": 1.0})
    assert mirror.sync(make_pools=inline).state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert all(mirror.holds(file) for file in files)
    del kind.projects["idna"], kind.projects["six"][0]
    assert mirror.sync(make_pools=inline).state == "completed"
    assert mirror.projects == ["six"]
    assert mirror.files("six") == [files[1].filename]
    assert not any(request.path.startswith("/simple/") for request in simulator.requests)
