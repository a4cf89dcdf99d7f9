"""Checks that upstreams' project lists can be read, and lead to project pages.

It asks only if the selection needs lists. It does not read a long list: only a public index has
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

from packaging.utils import canonicalize_name

from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config
from pypimirror.doctor import selected
from pypimirror.doctor.finding import Finding, failed, ok, warning
from pypimirror.doctor.upstreams import NAME_THEM, ask
from pypimirror.domain.model import ProjectName
from pypimirror.download.protocol import Probe, Probed
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.lists.listings import NO_LIST, candidates
from pypimirror.select.selection import Selection

#: How many pages to look for; one of them is enough.
_LOOKED_FOR = 3


def check(config: Config) -> Iterator[Finding]:
    """Check the list of each index that has one."""
    selection = selected.selection(config)
    if not selection.needs_list:
        return
    upstreams = [u for u in config.upstream if kind_of(u).has_pages and u.has_list]
    answers = ask(config, [Probe(n, u.name, u.url, "", True) for n, u in enumerate(upstreams)])
    for number, upstream in enumerate(upstreams):
        answer = answers.get(number)
        if answer is not None:
            yield from _judge(config, selection, upstream, answer)


def _judge(
    config: Config, selection: Selection, upstream: UpstreamSection, answer: Probed
) -> Iterator[Finding]:
    name = f"list of {upstream.name}"
    if answer.problem is not None:
        yield failed(name, answer.problem.message, _ADDRESS)
    elif answer.status in NO_LIST:
        yield warning(
            name,
            f"{upstream.url}: there is no list (HTTP {answer.status})",
            f"{_ADDRESS}. {NAME_THEM}",
        )
    elif answer.status == 200 and answer.listed is None:
        yield ok(name, f"{answer.url}: is long, and was not read")
    elif answer.status == 200 and answer.listed is not None:
        yield _look(config, upstream, name, answer.url, _wanted(selection, answer.listed))


def _wanted(selection: Selection, listed: dict[str, str]) -> dict[str, str]:
    found = {}
    for written, place in listed.items():
        project = ProjectName(canonicalize_name(written))
        if selection.project(project):
            found[project] = place
    return dict(list(found.items())[:_LOOKED_FOR])


def _look(
    config: Config, upstream: UpstreamSection, name: str, url: str, wanted: dict[str, str]
) -> Finding:
    """Check that the list leads to the page of at least one wanted project."""
    if not wanted:
        return warning(name, f"{url}: has no selected project", _SELECT)
    jobs = [
        Probe(0, upstream.name, urljoin(upstream.url, place), project)
        for project, at in wanted.items()
        for place in candidates(upstream, project, None, urljoin(url, at))
    ]
    jobs = [Probe(n, job.remote, job.url, job.project) for n, job in enumerate(jobs)]
    answers = ask(config, jobs)
    for number, job in enumerate(jobs):
        answer = answers.get(number)
        if answer is not None and answer.problem is None and answer.status == 200:
            return ok(name, f"{url}: leads to pages, such as that of {job.project}")
    return failed(name, f"{url}: has {', '.join(wanted)}, but none of them has a page", _ADDRESS)


_ADDRESS = "Check the address in [[upstream]] url; it is the one that ends in /simple/"
_SELECT = "Check the names and globs in select.projects"
