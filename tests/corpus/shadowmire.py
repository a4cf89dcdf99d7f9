"""A tree as shadowmire 2 leaves it, written by hand: it is in no registry that pip knows.

Its layout was read in its source: two forms of each page, `index.html` a link to the HTML one,
serials of pages as text and none in the root index, files below `packages/` by digest with their
core metadata beside them, and `local.json` with the serials for others of its kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from tests.simulator.index import IndexFile, IndexProject, digest


def make_tree(root: Path, projects: Iterable[IndexProject], *, without: Iterable[str] = ()) -> None:
    """Write a tree; of the projects `without` files it has the pages alone ("metadata-only")."""
    serials = {}
    for project in projects:
        serials[project.normalized] = project.serial
        directory = root / "simple" / project.normalized
        directory.mkdir(parents=True)
        files = sorted(project.files, key=lambda file: file.filename)
        (directory / "index.v1_html").write_text(html_page(project, files))
        (directory / "index.v1_json").write_text(json.dumps(json_page(project, files)))
        (directory / "index.html").symlink_to("index.v1_html")
        for file in files if project.normalized not in without else ():
            place = root / path_of(file)
            place.parent.mkdir(parents=True)
            place.write_bytes(file.content)
            if file.metadata is not None:
                place.with_name(f"{place.name}.metadata").write_bytes(file.metadata)
        (root / "json").mkdir(exist_ok=True)
        (root / "json" / project.normalized).write_text('{"info": {}}')
    links = "".join(f'    <a href="{name}/">{name}</a><br/>\n' for name in serials)
    (root / "simple/index.v1_html").write_text(_page("Simple Index", links))
    (root / "simple/index.html").symlink_to("index.v1_html")
    names = [{"name": name} for name in sorted(serials)]
    meta = {"api-version": "1.1", "_last-serial": max(serials.values())}
    (root / "simple/index.v1_json").write_text(json.dumps({"meta": meta, "projects": names}))
    (root / "local.json").write_text(json.dumps(serials))
    (root / "local.db").write_bytes(b"SQLite format 3\0")


def path_of(file: IndexFile) -> str:
    """Where a file is, below the root."""
    name = digest("blake2b_256", file.content)
    return f"packages/{name[:2]}/{name[2:4]}/{name[4:]}/{file.filename}"


def html_page(project: IndexProject, files: Iterable[IndexFile]) -> str:
    """A project's page in HTML."""
    links = []
    for file in files:
        more = ""
        if file.requires_python is not None:
            more += f' data-requires-python="{escape(file.requires_python)}"'
        if file.yanked:
            more += f' data-yanked="{escape(str(file.yanked))}"'
        if file.metadata is not None:
            said = f"sha256={digest('sha256', file.metadata)}"
            more += f' data-dist-info-metadata="{said}" data-core-metadata="{said}"'
        href = f"../../{path_of(file)}#sha256={file.sha256}"
        links.append(f'    <a href="{href}"{more}>{file.filename}</a><br/>')
    title = f"Links for {project.name}"
    return _page(title, f"    <h1>{title}</h1>\n" + "\n".join(links) + "\n") + (
        f"\n<!--SERIAL {project.serial}-->"
    )


def _page(title: str, body: str) -> str:
    return (
        "<!DOCTYPE html>\n<html>\n  <head>\n"
        '    <meta name="pypi:repository-version" content="1.0">\n'
        f"    <title>{title}</title>\n  </head>\n  <body>\n{body}  </body>\n</html>"
    )


def json_page(project: IndexProject, files: Iterable[IndexFile]) -> dict[str, Any]:
    """A project's page in JSON."""
    listed = []
    for file in files:
        metadata: Any = False
        if file.metadata is not None:
            metadata = {"sha256": digest("sha256", file.metadata)}
        listed.append(
            {
                "core-metadata": metadata,
                "data-dist-info-metadata": metadata,
                "filename": file.filename,
                "hashes": {"sha256": file.sha256},
                "requires-python": file.requires_python,
                "size": len(file.content),
                "upload-time": file.upload_time,
                "url": f"../../{path_of(file)}",
                "yanked": bool(file.yanked),
            }
        )
    meta = {"api-version": "1.1", "_last-serial": str(project.serial)}
    versions = sorted(project.shown_versions)
    return {"files": listed, "meta": meta, "name": project.name, "versions": versions}
