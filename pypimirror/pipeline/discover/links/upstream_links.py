"""Discover, the part on metadata-only files: may a page lead to where the upstream has them?

Nothing is fetched of such a file, so nothing but its address is checked here: it has to be one that
this mirror itself would ask, and that others can. What it leads to, installers hold against the
digest that the page names; `pipeline.discover.decisions.decide` sees to it that there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pypimirror.catalog.records import FileRecord
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectName, ProjectPage, Reason
from pypimirror.pipeline.context.remotes import places
from pypimirror.pipeline.discover.decisions.decide import Link
from pypimirror.pipeline.run import Run

if TYPE_CHECKING:
    from pypimirror.download.protocol import Remote


def links(
    run: Run,
    upstream: UpstreamSection,
    place: str,
    page: ProjectPage,
    selected: Sequence[bool],
    held: Mapping[str, FileRecord],
) -> Mapping[str, Link]:
    """Return the ways to those files that our page leads to at the upstream, or is to lead to.

    `place` is the upstream's alternate that the page came from, if it did; `selected` goes with
    the page's files.
    """
    asked = run.selection.linked(ProjectName(page.project), page.files)
    if not any(asked) and not any(file.linked for file in held.values()):
        return {}  # as of most projects
    found = [
        (file, verdict is not None)
        for file, verdict, is_in in zip(page.files, asked, selected, strict=True)
        if is_in and (verdict or _is_linked(held.get(file.filename)))
    ]
    if not found:
        return {}
    remote = _remote(upstream, place or upstream.name)
    return {
        file.filename: Link(
            lasts=lasts,
            fault=_fault(remote, file.url),
            provenance=file.provenance is not None and not _fault(remote, file.provenance),
        )
        for file, lasts in found
    }


def _remote(upstream: UpstreamSection, place: str) -> Remote:
    """Return one of an upstream's places, with the hosts that its links may lead to."""
    # Imported when there is need: it brings requests.
    from pypimirror.download.protocol import Remote

    url = next(url for name, url in places(upstream) if name == place)
    return Remote(place, url, upstream.hosts)


def _fault(remote: Remote, url: str) -> tuple[Reason, str] | None:
    """Return why no page may lead to an address, as a clause on the file, or None."""
    from pypimirror.download.failure import FetchError
    from pypimirror.download.http.hosts import (
        HostError,
        HostPolicy,
        is_spelled_private,
        not_public,
        parse_url,
    )

    try:
        address = parse_url(url)
    except FetchError:  # its message has the address
        return Reason.UNSAFE_URL, "its address is none of http or https, so others cannot fetch it"
    if "@" in urlsplit(url).netloc:
        return Reason.UNSAFE_URL, "its address has a login in it"
    host = address.origin.host
    try:
        if HostPolicy(remote).public_only(address.origin) and is_spelled_private(host):
            raise not_public(address.origin, host)
    except HostError as error:
        return error.reason, error.of(remote).message
    return None


def _is_linked(held: FileRecord | None) -> bool:
    return held is not None and bool(held.linked)
