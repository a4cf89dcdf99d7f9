"""Where things belong below the mirror root: names alone, whatever the mirror is kept on. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

#: The permissions of the private directory: it has bytes that were refused, and the catalog. An
#: operator may widen them afterwards; no run does, or narrows them.
PRIVATE = 0o700

#: What is served of the mirror root.
SERVED = ("simple", "packages", "pypi")

#: What is this program's own there.
OWN = (*SERVED, ".pypimirror")

#: What upstream's own path of a file must look like to be taken over with `layout = "pypi"`.
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
    """Return where a file belongs, below the mirror root."""
    return f"{location or 'packages/' + project}/{filename}"


def hashed_location(url_path: str) -> str | None:
    """Return the directory that `layout = "pypi"` takes over from an upstream's address."""
    match = _HASHED.search(url_path)
    return f"packages/{match[1]}" if match else None
