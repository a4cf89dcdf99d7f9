"""The contents of pages, before they become HTML or JSON.

`pypimirror.pipeline.publish.contents` reads the catalog into these types, and
`pypimirror.render.rendering` turns them into bytes. In the mirror root, they contain only verified
files, and those of metadata-only projects. With on demand, the fetcher's own pages also list files
that may be fetched.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pypimirror.domain.model import FileDetails, ProjectStatus


class Elsewhere(msgspec.Struct, frozen=True):
    """The upstream's addresses of a file that is not here."""

    url: str  #: absolute, http or https
    provenance: str | None = None  #: the address of its attestations


class PageFile(FileDetails, frozen=True):
    """A file on its project's page: verified here, linked at the upstream, or to be fetched."""

    filename: str
    path: str  #: below the mirror root, unquoted, with "/": packages/six/six-1.16.0.tar.gz
    #: Proven on this mirror, or claimed for a file that is elsewhere or expected. "sha256" is
    #: always present, unless the file is expected.
    digests: dict[str, str]
    size: int | None  #: bytes; None: unknown, for a file elsewhere
    core_metadata: str | None = None  #: sha256 of the .metadata file: verified here, or claimed
    provenance: bool = False  #: whether it has attestations, here or elsewhere
    elsewhere: Elsewhere | None = None  #: None: its bytes are here
    expected: bool = False  #: not here yet: it comes, and is verified, when somebody asks for it
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class Page(msgspec.Struct, frozen=True):
    """One project's page."""

    project: str  #: a ProjectName
    api_version: tuple[int, int]
    serial: int | None
    status: ProjectStatus
    status_reason: str | None
    versions: tuple[str, ...] | None
    files: tuple[PageFile, ...]  #: sorted by file name
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class RootEntry(msgspec.Struct, frozen=True, gc=False):
    """One project in the root index."""

    project: str  #: a ProjectName
    serial: int | None
