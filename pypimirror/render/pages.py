"""What a page says, before it is HTML or JSON.

The catalog is read into these types (`pypimirror.pipeline.publish.contents`);
`pypimirror.render.rendering` turns them into bytes. Only verified files get here, and those of
metadata-only projects.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pypimirror.domain.model import FileDetails, ProjectStatus


class Elsewhere(msgspec.Struct, frozen=True):
    """Where the upstream has a file that is not here."""

    url: str  #: absolute, http or https
    provenance: str | None = None  #: the same, of its attestations


class PageFile(FileDetails, frozen=True):
    """One file, as its project's page shows it: verified here, or elsewhere."""

    filename: str
    path: str  #: below the mirror root, unquoted, with "/": packages/six/six-1.16.0.tar.gz
    #: All proven on this mirror, or of a file elsewhere as claimed; "sha256" is always there.
    digests: dict[str, str]
    size: int | None  #: bytes; None where a file is elsewhere and nobody says
    core_metadata: str | None = None  #: sha256 of the .metadata file: held and verified, or claimed
    provenance: bool = False  #: whether its attestations are held beside it, or are elsewhere
    elsewhere: Elsewhere | None = None  #: None where its bytes are here
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
