"""Discover: whether the page of a metadata-only project may link to the upstream's files.

Such a file is not fetched, so only its address is checked here. A page links only to an address
that this mirror itself may ask, and that others can reach. Installers check the file against the
digest on the page; `pypimirror.pipeline.discover.decisions.decide` requires that digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pypimirror.catalog.records import FileRecord
from pypimirror.config.sections import UpstreamSection
from pypimirror.domain.model import ProjectName, ProjectPage, Reason
from pypimirror.pipeline.context.remotes import places
from pypimirror.pipeline.discover.decisions.decide import UpstreamLink
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
) -> Mapping[str, UpstreamLink]:
    """Return how to link to each file that our page links, or shall link, to the upstream.

    `place` is the alternate that the page came from, or "". `selected` has one value for each of
    the page's files.
    """
    asked = run.selection.linked(ProjectName(page.project), page.files)
    if not any(asked) and not any(file.linked for file in held.values()):
        return {}  # the case of most projects
    found = [
        (file, verdict is not None)
        for file, verdict, is_in in zip(page.files, asked, selected, strict=True)
        if is_in and (verdict or _is_linked(held.get(file.filename)))
    ]
    if not found:
        return {}
    remote = remote_of(upstream, place or upstream.name)
    return {
        file.filename: UpstreamLink(
            lasts=lasts,
            fault=_fault(remote, file.url),
            provenance=file.provenance is not None and not _fault(remote, file.provenance),
        )
        for file, lasts in found
    }


def remote_of(upstream: UpstreamSection, place: str) -> Remote:
    """Return a place of an upstream, with the hosts that its links may use."""
    # Import it only if it is needed: it imports requests.
    from pypimirror.download.protocol import Remote

    url = next(url for name, url in places(upstream) if name == place)
    return Remote(place, url, upstream.hosts)


def host_fault(remote: Remote, url: str) -> tuple[Reason, str] | None:
    """Return why nothing is fetched from an address, because of its host alone, or None."""
    # All files of a page mostly have the same host.
    end = url.find("/", len("https://"))
    root = url if end < 0 else url[: end + 1]
    return _host_fault(remote.name, remote.url, tuple(remote.hosts), root)


@lru_cache(256)
def _host_fault(
    name: str, own: str, hosts: tuple[str, ...], root: str
) -> tuple[Reason, str] | None:
    from pypimirror.download.failure import FetchError
    from pypimirror.download.http.hosts import (
        HostError,
        HostPolicy,
        is_spelled_private,
        not_public,
        parse_url,
    )
    from pypimirror.download.protocol import Remote

    remote = Remote(name, own, hosts)
    try:
        origin = parse_url(root).origin
        if HostPolicy(remote).public_only(origin) and is_spelled_private(origin.host):
            raise not_public(origin, origin.host)
    except HostError as error:
        return error.reason, error.of(remote).message
    except FetchError:  # no address of a host: a download says what is wrong with it
        return None
    return None


def _fault(remote: Remote, url: str) -> tuple[Reason, str] | None:
    """Return why no page may link to an address, as a clause about the file, or None."""
    from pypimirror.download.failure import FetchError
    from pypimirror.download.http.hosts import parse_url

    try:
        parse_url(url)
    except FetchError:  # its message has the address
        return (
            Reason.UNSAFE_URL,
            "its address begins with neither http: nor https:, so others cannot fetch it",
        )
    if "@" in urlsplit(url).netloc:
        return Reason.UNSAFE_URL, "its address contains a login"
    return host_fault(remote, url)


def _is_linked(held: FileRecord | None) -> bool:
    return held is not None and bool(held.linked)
