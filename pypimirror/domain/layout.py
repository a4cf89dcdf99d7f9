"""The layout of the mirror root: paths only, independent of the storage. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection

#: The permissions of the private directory, which holds refused bytes and the catalog. An operator
#: may change them afterwards; runs never change them.
PRIVATE = 0o700

#: The served directories of the mirror root.
SERVED = ("simple", "packages", "pypi")

#: All directories of this program in the mirror root.
OWN = (*SERVED, ".pypimirror")

#: The form of an upstream's path that `layout = "pypi"` takes over.
_HASHED = re.compile(r"/packages/([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/[^/]+")

METADATA_SUFFIX = ".metadata"
PROVENANCE_SUFFIX = ".provenance"


def page_paths(project: str | None, formats: Collection[str]) -> dict[str, str]:
    """Return the path of each form of a project's page, or of the root index."""
    names = {"html": "index.html", "json": "index.v1_json"}
    directory = "simple" if project is None else f"simple/{project}"
    paths = {form: f"{directory}/{names[form]}" for form in formats if form in names}
    if project is not None and "legacy" in formats:
        paths["legacy"] = f"pypi/{project}/json"
    return paths


def file_path(project: str, filename: str, location: str | None) -> str:
    """Return the path of a file below the mirror root."""
    return f"{location or 'packages/' + project}/{filename}"


def hashed_location(url_path: str) -> str | None:
    """Return the directory that `layout = "pypi"` takes over from an upstream's address, or
    None.
    """
    match = _HASHED.search(url_path)
    return f"packages/{match[1]}" if match else None
