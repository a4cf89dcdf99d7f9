"""A project's page in PyPI's legacy JSON form (`/pypi/<project>/json`), for tools that need it.

`info` comes from the core metadata of the newest release that has some here. Values that only PyPI
knows (downloads, owners, vulnerabilities) are empty, as PyPI itself leaves most of them today. No
I/O, like `pypimirror.render.rendering`. Source: the section "JSON API" of PyPI's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.version import Version

from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_of
from pypimirror.domain.formats import format_of
from pypimirror.render.pages import Page, PageFile
from pypimirror.render.rendering import link, offered

if TYPE_CHECKING:
    from packaging.metadata import RawMetadata

_encode = msgspec.json.Encoder(order="deterministic").encode

_TEXTS = (
    *("author", "author_email", "description", "description_content_type", "download_url"),
    *("home_page", "license", "license_expression", "maintainer", "maintainer_email"),
    *("requires_python", "summary"),
)
_DIGESTS = ("blake2b_256", "md5", "sha256")
_LISTS = ("classifiers", "dynamic", "license_files", "provides_extra", "requires_dist")


def newest(page: Page) -> PageFile | None:
    """Return the file whose core metadata is used for `info`: of the newest final release."""
    held = (file for file in offered(page) if file.elsewhere is None)
    files = [file for file in held if file.core_metadata is not None]
    return max(files, key=lambda file: _age(page.project, file), default=None)


def project_json(page: Page, metadata: bytes | None, base: str) -> bytes:
    """Return a project's page. `metadata` belongs to the `newest` file; `base` is the prefix of
    addresses.
    """
    releases: dict[str, list[dict[str, Any]]] = {
        version: [] for version in page.versions or () if bounded.version(version) is not None
    }
    for file in offered(page):
        version = version_of(file.filename, page.project)
        if version is not None:
            key = next(
                (known for known in releases if bounded.version(known) == version), str(version)
            )
            releases.setdefault(key, []).append(_file(file, base))
    with_files = [version for version, files in releases.items() if files]
    latest = max(with_files, key=_rank, default=None)
    body = _encode(
        {
            "info": _info(page, metadata, latest, releases.get(latest or "", [])),
            "releases": dict(sorted(releases.items(), key=lambda item: _rank(item[0]))),
            "urls": releases.get(latest or "", []),
            "vulnerabilities": [],
        }
    )
    # Two objects are joined, so that a server finds the serial at the beginning of the page.
    return _encode({"last_serial": page.serial})[:-1] + b"," + body[1:]


def _info(
    page: Page, metadata: bytes | None, latest: str | None, files: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    raw: RawMetadata = {}
    if metadata is not None:
        from packaging.metadata import parse_email  # slow to import, and for this form alone

        raw = parse_email(metadata)[0]
    info: dict[str, Any] = {key: raw.get(key) or "" for key in _TEXTS}
    info |= {key: raw.get(key) or None for key in _LISTS}
    info["classifiers"] = info["classifiers"] or []
    info["requires_python"] = info["requires_python"] or None
    reasons = [file["yanked_reason"] for file in files if file["yanked"]]
    return info | {
        "name": raw.get("name") or page.project,
        "version": latest or "",
        "keywords": ",".join(raw.get("keywords") or ()),
        "platform": ",".join(raw.get("platforms") or ()),
        "project_urls": raw.get("project_urls") or None,
        "yanked": bool(files) and len(reasons) == len(files),
        "yanked_reason": reasons[0] if files and len(reasons) == len(files) else None,
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
    }


def _file(file: PageFile, base: str) -> dict[str, Any]:
    form = format_of(file.filename)
    is_wheel = form is not None and form.type == "wheel"
    return {
        "comment_text": "",
        "core-metadata": {"sha256": file.core_metadata} if file.core_metadata else False,
        "digests": {name: file.digests[name] for name in _DIGESTS if name in file.digests},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "md5_digest": file.digests.get("md5"),
        "packagetype": form.packagetype if form else "sdist",
        "python_version": file.filename.split("-")[-3] if is_wheel else "source",
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": (file.upload_time or "").partition(".")[0].removesuffix("Z"),
        "upload_time_iso_8601": file.upload_time,
        "url": link(file, base),
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
    }


def _age(project: str, file: PageFile) -> tuple[bool, bool, Version, str]:
    version = version_of(file.filename, project)
    known = version or Version("0")
    return version is not None, not known.is_prerelease, known, file.filename


def _rank(text: str) -> tuple[bool, Version]:
    version = bounded.version(text) or Version("0")
    return not version.is_prerelease, version
