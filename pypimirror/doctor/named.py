"""Checks what the selection needs: upstreams that have the named projects, and uv.

A sync reports a project that no upstream has. This check reports it before the sync.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from pypimirror.config.settings import Config
from pypimirror.doctor import selected
from pypimirror.doctor.finding import Finding, failed, ok, skipped, warning
from pypimirror.doctor.upstreams import ask
from pypimirror.download.protocol import Probe, Probed
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.resolve import uv
from pypimirror.resolve.uv import ResolveError
from pypimirror.select.selection import policy
from pypimirror.system.space import readable

_NAME, _ON_DEMAND = "projects", "on demand"

#: How many of the named projects to ask for. Each takes a request to each upstream that may own it.
_LOOKED_AT = 25

_THERE = 200
_ABSENT = (404, 410)


def check(config: Config) -> Iterator[Finding]:
    """Check the first of the named projects, each at the upstreams that may own it."""
    selection = selected.selection(config)
    named = selection.named
    if len(named) == len(config.upstream) == 1:
        return  # the check of the upstream has asked for this project
    jobs: list[Probe] = []
    for project in named[:_LOOKED_AT]:
        upstreams = [config.upstream[position] for position in selection.owners(project)]
        if all(kind_of(upstream).has_pages for upstream in upstreams):  # else it may be on a page
            jobs += [
                Probe(len(jobs) + n, upstream.name, f"{upstream.url}{project}/", project)
                for n, upstream in enumerate(upstreams)
            ]
    if not jobs:
        return
    answers = ask(config, jobs)
    asked: dict[str, list[Probed | None]] = {}
    for job in jobs:
        asked.setdefault(job.project, []).append(answers.get(job.id))
    absent = [name for name, found in asked.items() if all(map(_is_absent, found))]
    if absent:
        yield warning(
            _NAME,
            f"no upstream has {', '.join(absent)}",
            "Check the spelling in select.projects, and the address in [[upstream]] url",
        )
    else:
        there = sum(any(a is not None and a.status == _THERE for a in f) for f in asked.values())
        told = f"{len(named)} named, {len(asked)} asked for, {there} there"
        yield ok(_NAME, told) if there else skipped(_NAME, "no upstream says which are there")


def check_on_demand(config: Config) -> Iterator[Finding]:
    """Check what clients may ask for, and whether the disk has room for `max_size`."""
    section = config.on_demand
    if not section.projects:
        return
    policy(config)  # its errors say what is wrong with the entries
    limit = int(section.max_size)
    where = next(path for path in (config.directory, *config.directory.parents) if path.exists())
    whole = None if config.bucket is not None else shutil.disk_usage(where).total
    if not limit and not section.keep:
        yield warning(
            _ON_DEMAND,
            "nothing limits what clients ask for: on_demand.max_size and on_demand.keep are 0",
            "Set one of them, or watch the free space",
        )
    elif whole is not None and limit > whole:
        yield warning(
            _ON_DEMAND,
            f"on_demand.max_size is {readable(limit)}, and the disk of {where} has "
            f"{readable(whole)}",
            "Set it to less, and leave room for files in their grace period ([delete] grace)",
        )
    else:
        number = len(section.projects)
        yield ok(
            _ON_DEMAND,
            f"{number} {'entry' if number == 1 else 'entries'}, {readable(limit)} at most",
        )


def check_resolver(config: Config) -> Iterator[Finding]:
    """Look for uv if `select.dependencies` is "resolved" or `select.check` is set."""
    if config.select.dependencies != "resolved" and not config.select.check:
        return
    try:
        found = uv.find()
    except ResolveError as error:
        yield failed("uv", f"{error}", "Until then, syncs end with this failure")
    else:
        yield ok("uv", f"{found.path}, version {'.'.join(map(str, found.version))}")


def _is_absent(answer: Probed | None) -> bool:
    return answer is not None and answer.problem is None and answer.status in _ABSENT
