"""A listing: the contents of an upstream's page of a project, and the decisions on its files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from pypimirror.domain.model import File, ProjectPage
from pypimirror.download.protocol import PageResult
from pypimirror.verify import proof


class Offer(NamedTuple):
    """A file that may be fetched: the claims of all sources, and its links."""

    digests: dict[str, str]  #: hex, by algorithm
    links: tuple[tuple[str, str], ...]  #: the name of a place and an address, the best first


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The contents of an upstream's page of a project when it was read last, and the decisions."""

    upstream: str  #: the name of the project's owner
    place: str  #: the alternate that sent the page; "": the upstream itself
    selection: str  #: digest of the policy that decided
    page: ProjectPage
    checked_at: float  #: when the upstream last said so; seconds since the epoch
    until: float | None = None  #: when time alone changes the decision; None: never
    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None
    digest: str = ""  #: sha256 of the upstream's page, hex
    at: str = ""  #: as in `PageResult`
    #: Why files of the page may not be fetched, by name.
    refused: dict[str, str] = {}
    #: Files that the page links to at the upstream, and the addresses of their attestations there.
    linked: dict[str, str | None] = {}
    #: The claims and links of files about which other sources said something as well, by name.
    #: Listings on disk, also of earlier versions, have them as `pooled`.
    merged: dict[str, Offer] = msgspec.field(default_factory=dict, name="pooled")

    def is_fresh(self, now: float, fresh: float, selection: str) -> bool:
        """Whether the upstream need not be asked at `now`."""
        return (
            0 <= now - self.checked_at < fresh
            and self.selection == selection
            and not self.is_over(now)
        )

    def is_over(self, now: float) -> bool:
        """Whether time has changed the decision."""
        return self.until is not None and now >= self.until

    def file(self, filename: str) -> File | None:
        """Return the file of this name; None if the page does not have it."""
        return next((each for each in self.page.files if each.filename == filename), None)

    def offer(self, file: File) -> Offer:
        """Return the claims and the links of a file of the page."""
        found = self.merged.get(file.filename)
        if found is not None:
            return found
        source = self.place or self.upstream
        return Offer(file.digests, tuple((source, url) for url in (file.url, *file.other_urls)))

    def result(self, number: int) -> PageResult:
        """Return the answer that brought the page, for the job with this id."""
        return PageResult(
            number,
            page=self.page,
            etag=self.etag,
            last_modified=self.last_modified,
            serial=self.serial,
            digest=self.digest,
            at=self.at,
        )


class FileToFetch(NamedTuple):
    """A file of a listing that may be fetched."""

    project: str
    file: File
    listing: Listing
    offer: Offer

    @property
    def pair(self) -> tuple[str, str]:
        """Its project and its name."""
        return self.project, self.file.filename

    def is_provable(self, accept: str) -> bool:
        """Whether its claimed digests are proof enough; `accept` is `[verify] accept`."""
        digests = self.offer.digests
        if proof.needs_structure(digests):
            return False
        return proof.level(digests, shared=False, structure="") <= proof.weakest(accept)


#: Most files of all listings that are kept in memory. A file takes some 1,200 bytes.
MOST_FILES = 4000


class RecentListings:
    """The listings that were used last, so that they need not be read again for each file.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Listing] = OrderedDict()
        self._files = 0

    def get(self, project: str) -> Listing | None:
        """Return the listing of a project if it is here."""
        with self._lock:
            if (found := self._found.get(project)) is not None:
                self._found.move_to_end(project)
            return found

    def note(self, project: str, listing: Listing) -> None:
        """Keep a listing instead of an older one of the same project, unless it is huge."""
        with self._lock:
            self._drop(project)
            if _weight(listing) > MOST_FILES // 4:  # it would leave no place for others
                return
            self._found[project] = listing
            self._files += _weight(listing)
            while self._files > MOST_FILES:
                self._drop(next(iter(self._found)))

    def note_read(self, project: str, listing: Listing) -> Listing:
        """Keep what was read from the store, unless a newer listing was noted meanwhile.

        Return the newer one.
        """
        with self._lock:
            noted = self._found.get(project)
            if noted is not None and noted.checked_at >= listing.checked_at:
                return noted
        self.note(project, listing)
        return listing

    def _drop(self, project: str) -> None:
        if (found := self._found.pop(project, None)) is not None:
            self._files -= _weight(found)


def _weight(listing: Listing) -> int:
    return len(listing.page.files) + 1
