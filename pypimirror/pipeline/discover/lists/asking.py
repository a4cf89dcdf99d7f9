"""Discover, the part on getting an upstream's project list: asked for conditionally, and parsed.

What it means for the catalog is decided in `pypimirror.pipeline.discover.lists.lists`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pypimirror.catalog.queries import projects
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.addresses import NONE
from pypimirror.domain.model import ProjectList, ReadError
from pypimirror.download.protocol import FetchList, ListResult
from pypimirror.download.unchanged import is_unchanged
from pypimirror.pipeline.context.remotes import further_places, remotes
from pypimirror.pipeline.discover.links import link_index
from pypimirror.pipeline.discover.lists import trust
from pypimirror.pipeline.run import Run
from pypimirror.system import regular
from pypimirror.upstream.listing import parse_list
from pypimirror.upstream.read import page_headers


def fetch(run: Run, upstream: UpstreamSection) -> tuple[ListResult, ProjectList | None]:
    """Ask for an upstream's list; there is none where the answer says why or "not modified".

    Where it fails, the alternates are asked in turn: of a list that one of them gave, the answer
    is still the upstream's, with its problem.
    """
    first, found = _fetch_from(run, upstream, (upstream.name, upstream.url))
    if first.problem is None:
        return first, found
    for name, url in further_places(upstream):
        _, found = _fetch_from(run, upstream, (name, url))
        if found is not None:
            told = f"{upstream.name}: {first.problem.message} Its project list was taken from {url}"
            run.reporter.note("warning", told)
            return first, found
    return first, None


def _fetch_from(
    run: Run, upstream: UpstreamSection, place: tuple[str, str]
) -> tuple[ListResult, ProjectList | None]:
    """Ask for the list at one of an upstream's places, given by name and address."""
    if upstream.kind == "links":
        return link_index.listing(run, upstream, place)
    if not upstream.has_list:
        return ListResult(0), None
    name, url = place
    path = run.workspace.staging / f"list.{upstream.name}"
    known = validators(run, upstream)
    if name != upstream.name:  # validators of one place are no other's
        known = dict.fromkeys(known)
    job = FetchList(0, name, url, str(path), known["etag"], known["last_modified"])
    headers = page_headers(job.etag, job.last_modified) | {"User-Agent": run.config.user_agent}
    conditional = bool(job.etag or job.last_modified)
    if conditional and _is_unchanged(run, name, headers):
        return ListResult(job.id, not_modified=True), None
    (result,) = run.fetch([job])
    assert isinstance(result, ListResult)
    if result.problem is not None or result.not_modified:
        return result, None
    try:
        found = parse_list(regular.read(str(path)), result.content_type, result.url)
    except ReadError as error:
        return msgspec.structs.replace(result, problem=error.problem), None
    finally:
        run.workspace.unstage(path.name)
    for warning in found.warnings:
        run.reporter.note("warning", f"{name}: {warning}")
    return result, found


def validators(run: Run, upstream: UpstreamSection) -> dict[str, str | None]:
    """Return the validators by which an upstream's list may be "not modified"."""
    with run.catalog.read() as connection:
        known = projects.get_list(connection, upstream.name)
    if (
        known is None
        or known.selection != run.selection.digest
        or trust.is_over(known.read_at, run.now, trust.LIST_TRUST, upstream.name)
    ):
        return {"etag": None, "last_modified": None}
    return {"etag": known.etag, "last_modified": known.last_modified}


def _is_unchanged(run: Run, name: str, headers: dict[str, str]) -> bool:
    """Whether a place plainly answers that it is unchanged; noted where the next run may ask, too.

    A place behind a proxy or a login that is configured is a worker's affair.
    """
    remote = next(remote for remote in remotes(run.config) if remote.name == name)
    if remote.authorization or remote.proxy not in ("", NONE):
        return False
    direct = remote.proxy == NONE
    timeout = run.config.download.timeout
    if not is_unchanged(remote.url, headers, timeout, ca_file=remote.ca_file, direct=direct):
        return False
    if not direct and not remote.ca_file:  # what the next run asks knows of neither
        run.discovered.unchanged[name] = remote.url, headers
    return True


def memory(run: Run, result: ListResult, found: ProjectList, *, done: bool) -> dict[str, Any]:
    """Return what is to be remembered of a list that was read.

    It must be read again, whether it changes or not, unless `done`: where names of it were passed
    over, and where it does not tell by serials which of its projects have changed.
    """
    return {
        "etag": result.etag if done else None,
        "last_modified": result.last_modified if done else None,
        "serial": found.serial,
        "selection": run.selection.digest,
        "read_at": run.now,
    }
