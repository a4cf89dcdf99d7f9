"""The claims of a page about the bytes of a file: digests, and what is checked like them.

The rules are the same for JSON and HTML. A value that is not a digest of its algorithm makes the
file refused; an unknown algorithm is only left out, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from pypimirror.domain.bounded import MAX_SPECIFIER
from pypimirror.domain.model import ALGORITHMS, Reason
from pypimirror.upstream.checks import RefusedError, Unused

_HEX = re.compile(r"[0-9a-f]*+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The form of digests in fragments of Gitea, and of others that follow URNs: "sha256-…".
_DASHED = re.compile(r"(\w+)[-:]([0-9a-f]{32,128})", re.I | re.A)
# What a fragment may have for pip besides digests.
_NO_DIGESTS = frozenset({"egg", "subdirectory"})

#: Kinds of unused claims.
UNKNOWN_DIGESTS = "digests of unknown algorithms were left out"
BAD_METADATA = "announcements of core metadata cannot be read and were left out"
UNCHECKED_METADATA = "digests of core metadata are not used, because none is a sha256"
OTHER_METADATA = "two keys announce different core metadata; the newer key counts"


def digests_of(claims: Mapping[str, str], unused: Unused | None = None) -> dict[str, str]:
    """Return the digests of known algorithms, in lower case. Unknown algorithms are `unused`.

    Raises `RefusedError` with BAD_DIGEST if a value is not a digest of its algorithm.
    """
    if len(claims) == 1 and _SHA256.fullmatch(claims.get("sha256", "")):
        return {"sha256": claims["sha256"]}
    digests: dict[str, str] = {}
    for name, value in claims.items():
        algorithm, digest = name.lower(), value.lower()
        # hashlib's blake2b is the 64-byte form. PyPI's upload API and others use the name for both
        # forms, so the length decides.
        if algorithm == "blake2b" and len(digest) == 2 * ALGORITHMS["blake2b_256"]:
            algorithm = "blake2b_256"
        size = ALGORITHMS.get(algorithm)
        if size is None:
            if unused is not None:
                unused.add(UNKNOWN_DIGESTS, name)
            continue
        if len(digest) != 2 * size or not _HEX.fullmatch(digest):
            raise RefusedError(Reason.BAD_DIGEST, f"its {algorithm} is not one of {size} bytes")
        if digests.setdefault(algorithm, digest) != digest:
            raise RefusedError(Reason.DIGEST_CONFLICT, f"it has two values of {algorithm}")
    return digests


def fragment_digests(fragment: str, unused: Unused | None = None) -> dict[str, str]:
    """Return the digests in a link's fragment, such as "sha256=…". Other parts are ignored.

    A digest in another notation counts too, although pip ignores it.
    """
    if "%" in fragment:
        fragment = unquote(fragment)
    claims: dict[str, str] = {}
    for part in fragment.split("&"):
        name, equals, value = part.partition("=")
        if dashed := _DASHED.fullmatch(part):
            name, equals, value = dashed[1], "=", dashed[2]
        if not equals or name.lower() in _NO_DIGESTS:
            continue
        if claims.setdefault(name, value) != value and digests_of({name: value}):
            raise RefusedError(Reason.DIGEST_CONFLICT, f"its link has two values of {name}")
    return digests_of(claims, unused)


def united(stated: dict[str, str], linked: Mapping[str, str]) -> dict[str, str]:
    """Merge the digests that a page states for a file with those in its link. They must agree."""
    for algorithm, digest in linked.items():
        if stated.get(algorithm, digest) != digest:
            message = f"its {algorithm} is {stated[algorithm]}, but its link says {digest}"
            raise RefusedError(Reason.DIGEST_CONFLICT, message)
    return {**stated, **linked}


def metadata_digests(
    claims: Mapping[str, str], unused: Unused, filename: str
) -> dict[str, str] | None:
    """Return the announced digests of core metadata; None, with a note, if they are not valid.

    The wheel can still be used: its core metadata is taken from the wheel anyhow.
    """
    try:
        digests = digests_of(claims, unused)
    except RefusedError:
        unused.add(BAD_METADATA, filename)
        return None
    if claims and "sha256" not in digests:
        unused.add(UNCHECKED_METADATA, filename)
    return digests


def requires_python(stated: str | None) -> str | None:
    """Return the stated requires-python; None if there is none.

    Raises `RefusedError` for a text with which installers would reject the whole project.
    """
    if stated and len(stated) > MAX_SPECIFIER:
        message = f"its requires-python has {len(stated)} characters"
        raise RefusedError(Reason.BAD_PAGE, message)
    return stated or None


def rank(digests: Mapping[str, str]) -> int:
    """Return the rank of the strongest claimed digest: lower is stronger."""
    return next((n for n, name in enumerate(ALGORITHMS) if name in digests), len(ALGORITHMS))
