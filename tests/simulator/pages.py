"""The index as pages: simple API JSON and HTML, with the habits of many servers.

Renders the data of `index`; `answers` decides what a client gets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any

from tests.simulator.index import Index, IndexFile, IndexProject, digest


@dataclass
class Style:
    """How a server writes its pages."""

    root: str = ""  #: scheme, host and port
    api_version: str | None = "1.4"  #: None: pages have no version, as of old servers
    serials: bool = True
    html_algorithm: str | None = "sha256"  #: the digest in the fragment; None for no fragment
    links: str = "relative"  #: or "absolute", or "root" for links that begin with a slash
    html_base: str | None = None  #: the href of a <base>; links are then relative to the root
    bare_html: bool = False  #: a page with only links: no data-, no meta

    @property
    def minor(self) -> int:
        """The minor version of the API; 9 for any newer major version."""
        major, _, minor = (self.api_version or "1.0").partition(".")
        return int(minor or 0) if major == "1" else 9


def link(file: IndexFile, style: Style) -> str:
    """The address of a file as on its page."""
    if file.url is not None:
        return file.url
    if style.html_base is not None:
        return file.quoted_path.lstrip("/")
    prefix = {"absolute": style.root, "root": "", "relative": "../.."}[style.links]
    return prefix + file.quoted_path


def provenance_path(file: IndexFile) -> str:
    """Where the provenance of a file is, percent-decoded."""
    return f"/integrity/{file.project.normalized}/{file.filename}/provenance"


def provenance_link(file: IndexFile, style: Style) -> str | None:
    """The address of the provenance as on the page."""
    return style.root + provenance_path(file) if file.provenance_body else file.provenance


def json_list(index: Index, style: Style) -> bytes:
    """The project list in JSON."""
    meta: dict[str, Any] = {}
    if style.api_version is not None:
        meta["api-version"] = style.api_version
    if style.serials:
        meta["_last-serial"] = index.serial
    projects = [
        {"name": project.name} | ({"_last-serial": project.serial} if style.serials else {})
        for project in listed(index)
    ]
    return encode({"meta": meta, "projects": projects})


def listed(index: Index) -> list[IndexProject]:
    """The projects that the list names, by name."""
    shown = [p for p in index.projects.values() if p.listed and p.status != "quarantined"]
    return sorted(shown, key=lambda project: project.normalized)


def json_project(project: IndexProject, style: Style) -> bytes:
    """A project's page in JSON, with the keys that its API version has."""
    meta: dict[str, Any] = {}
    if style.api_version is not None:
        meta["api-version"] = style.api_version
    if style.serials:
        meta["_last-serial"] = project.serial
    page: dict[str, Any] = {"meta": meta, "name": project.normalized}
    if style.minor >= 4:
        page["project-status"] = {"status": project.status}
        if project.reason is not None:
            page["project-status"]["reason"] = project.reason
    if style.minor >= 1:
        page["versions"] = project.shown_versions
    page["files"] = [json_file(file, style) for file in project.shown_files]
    return encode(page | project.extra)


def json_file(file: IndexFile, style: Style) -> dict[str, Any]:
    """One file of a page in JSON."""
    said: dict[str, Any] = {
        "filename": file.filename,
        "url": link(file, style),
        "hashes": file.digests,
        "requires-python": file.requires_python,
        "yanked": file.yanked if file.yanked is not None else False,
    }
    if file.core_metadata is not None:
        said["core-metadata"] = said["data-dist-info-metadata"] = file.core_metadata
    if file.gpg_sig is not None:
        said["gpg-sig"] = file.gpg_sig
    if style.minor >= 1:
        if file.size is not None:
            said["size"] = file.size
        if file.upload_time is not None:
            said["upload-time"] = file.upload_time
    if style.minor >= 3:
        said["provenance"] = provenance_link(file, style)
    return said | file.extra


def html_list(index: Index, style: Style) -> bytes:
    """The project list in HTML."""
    lines = [
        f'    <a href="/simple/{project.normalized}/">{escape(project.name)}</a><br/>'
        for project in listed(index)
    ]
    return html("Simple index", [], lines, style, index.serial)


def html_project(project: IndexProject, style: Style) -> bytes:
    """A project's page in HTML."""
    metas: list[str] = []
    if style.minor >= 4:
        metas.append(meta_tag("pypi:project-status", project.status))
        if project.reason is not None:
            metas.append(meta_tag("pypi:project-status-reason", project.reason))
    if style.html_base is not None:
        metas.append(f'<base href="{escape(style.html_base)}"/>')
    lines = [html_file(file, style) for file in project.shown_files]
    return html(f"Links for {project.name}", metas, lines, style, project.serial)


def meta_tag(name: str, content: str) -> str:
    """A <meta> element."""
    return f'<meta name="{escape(name)}" content="{escape(content)}"/>'


def html_file(file: IndexFile, style: Style) -> str:
    """One file's link."""
    href = link(file, style)
    algorithm = style.html_algorithm
    if algorithm is not None and file.digests:
        told = file.digests.get(algorithm) or digest(algorithm, file.content)
        href += f"#{algorithm}={told}"
    attributes = {"href": href}
    if not style.bare_html:
        attributes |= html_attributes(file, style)
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"    <a {written}>{escape(file.filename)}</a><br/>"


def html_attributes(file: IndexFile, style: Style) -> dict[str, str]:
    """The data- attributes of a file's link."""
    attributes: dict[str, str] = {}
    if file.requires_python is not None:
        attributes["data-requires-python"] = file.requires_python
    if file.yanked not in (None, False):
        attributes["data-yanked"] = "" if file.yanked is True else str(file.yanked)
    if file.core_metadata:
        claim = file.core_metadata
        said = "true" if claim is True else next(f"{name}={hexa}" for name, hexa in claim.items())
        attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = said
    if file.gpg_sig is not None:
        attributes["data-gpg-sig"] = str(file.gpg_sig).lower()
    if style.minor >= 3 and (address := provenance_link(file, style)):
        attributes["data-provenance"] = address
    named = {k: str(v) for k, v in file.extra.items() if k.startswith("data-")}
    return attributes | named


def html(title: str, metas: list[str], lines: list[str], style: Style, serial: int) -> bytes:
    """A page of links."""
    metas = [m for m in metas if not style.bare_html or m.startswith("<base")]
    if style.api_version is not None and not style.bare_html:
        metas.insert(0, meta_tag("pypi:repository-version", style.api_version))
    head = "".join(f"    {meta}\n" for meta in metas)
    body = "\n".join(lines)
    end = f"<!--SERIAL {serial}-->" if style.serials and not style.bare_html else ""
    return (
        f"<!DOCTYPE html>\n<html>\n  <head>\n{head}    <title>{escape(title)}</title>\n  </head>\n"
        f"  <body>\n    <h1>{escape(title)}</h1>\n{body}\n  </body>\n</html>\n{end}"
    ).encode()


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
