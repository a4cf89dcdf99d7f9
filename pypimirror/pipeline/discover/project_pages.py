"""Discover: fetch project pages from an upstream of any kind.

`discover.kinds` has the code for each kind. The result is always a `PageResult`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from packaging.version import Version

from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.layout import hashed_location
from pypimirror.domain.model import File, ProjectPage
from pypimirror.download.protocol import FetchPage, PageResult
from pypimirror.pipeline.context.remotes import places
from pypimirror.pipeline.discover import page_memory
from pypimirror.pipeline.discover.kinds.kind import by_kind
from pypimirror.pipeline.discover.kinds.registry import KINDS, kind_of
from pypimirror.pipeline.run import Run
from pypimirror.upstream.grouping import project_of


def by_place(config: Config) -> dict[str, UpstreamSection]:
    """Return the upstream of each place, by the name of the place."""
    return {name: upstream for upstream in config.upstream for name, _ in places(upstream)}


def page_job(
    number: int,
    upstream: UpstreamSection,
    place: tuple[str, str],
    project: str,
    candidates: Sequence[str] = (),
) -> FetchPage:
    """Return the job that fetches a project's page from one of an upstream's places."""
    return kind_of(upstream).page_job(number, place, project, candidates)


def ask(run: Run, jobs: Iterable[FetchPage]) -> Iterator[PageResult]:
    """Fetch project pages, in any order. `page_memory.ask` explains how large ones are handled."""
    return page_memory.ask(run, jobs, partial(_ask, run))


def _ask(run: Run, jobs: Iterable[FetchPage]) -> Iterator[PageResult]:
    for name, asked in by_kind(jobs, by_place(run.config)).items():
        yield from KINDS[name].pages(run, asked)


def locations(page: ProjectPage) -> dict[str, str]:
    """Return the upstream's own directories of files, if no other project can have the same file.

    A name such as "foo-bar-1.zip" may be on the pages of foo and of foo-bar, and the upstream
    chooses the directory. So the directory is used only for the project that the file name belongs
    to.
    """
    found = {}
    for file in page.files:
        location = hashed_location(urlsplit(file.url).path)
        if location and project_of(file.filename) == page.project:
            found[file.filename] = location
    return found


def limited(page: ProjectPage, selected: Sequence[bool], limit: int) -> list[bool]:
    """Return `selected` with at most `limit` external files; those of the newest versions stay.

    `selected` has one value for each of the page's files. A limit of 0 means no limit.
    """
    external = set(page.external)
    chosen = [f for f, is_in in zip(page.files, selected, strict=True) if is_in]
    rivals = [file for file in chosen if file.filename in external]
    if not limit or len(rivals) <= limit:
        return list(selected)
    ranked = sorted(rivals, key=lambda file: _age(page.project, file), reverse=True)
    dropped = {file.filename for file in ranked[limit:]}
    return [
        is_in and file.filename not in dropped
        for file, is_in in zip(page.files, selected, strict=True)
    ]


def versions(page: ProjectPage, selected: Sequence[bool]) -> list[str] | None:
    """Return the versions for our page: the upstream's list without the deselected ones.

    An upstream's HTML page has no such list, so the versions are read from file names.
    """
    if page.api_version < (1, 1):
        return None
    if page.versions is not None and all(selected):
        return list(page.versions)
    chosen = {True: set[str](), False: set[str]()}
    for file, is_selected in zip(page.files, selected, strict=True):
        version = version_text(file.filename, page.project)
        if version is not None:
            chosen[is_selected].add(version)
    if page.versions is None:
        return sorted(chosen[True])
    dropped = chosen[False] - chosen[True]
    return [version for version in page.versions if version not in dropped]


def version_lines(page: ProjectPage) -> str:
    """Return the versions of a page's files as lines; an empty one for files without a version."""
    return "\n".join({version_text(file.filename, page.project) or "" for file in page.files})


def _age(project: str, file: File) -> tuple[bool, Any, str]:
    """Sort key for external files: newest versions last."""
    version = version_of(file.filename, project)
    return version is not None, version or Version("0"), file.filename
