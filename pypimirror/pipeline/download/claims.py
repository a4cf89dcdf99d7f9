"""The claims about a file's bytes in its row of the catalog."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from pypimirror.catalog.records import ProjectFile
from pypimirror.pipeline.discover.decisions.comparing import MAIN
from pypimirror.verify.digests import Claims

_NONE, _MAIN = frozenset[str](), frozenset({MAIN})
_decode = msgspec.json.Decoder(dict[str, str]).decode


def claims_of(row: ProjectFile) -> Claims:
    """Return the digests and the size that the bytes of a file must have."""
    digests = _decode(row.digests) if row.digests else {}
    if row.sha256 is not None:
        digests[MAIN] = row.sha256.hex()
    return Claims(digests, row.size)


def algorithms_of(row: ProjectFile) -> Collection[str]:
    """Return the algorithms of the claimed digests."""
    if not row.digests:
        return _NONE if row.sha256 is None else _MAIN
    return claims_of(row).digests.keys()
