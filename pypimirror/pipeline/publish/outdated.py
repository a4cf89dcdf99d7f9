"""Pages that another renderer version wrote: how they are rendered again, and how they are checked.

After an upgrade, pages should be written differently although nothing has changed upstream. The
rules:

* Each page's row has the renderer version that wrote it (`projects.page_renderer`). It is set in
  the transaction that notes the written page. Rows that are older than the first version have none.
* A page of another version than this program's is rendered again, after an upgrade and after a
  downgrade. Each run renders `AT_ONCE` of them, so that no run takes hours. The root index is only
  one page and is rendered again at once.
* The mark `RENDERER` says that all pages have one version. A sync without work reads only this
  mark. Code that writes a page of another version clears the mark first.
* This program cannot render with another version. Until it is rendered again, a page is right if
  its bytes are those that were written, because a page whose content has changed is marked as
  stale. If the digest is unknown, it is right if each link leads to something that the catalog has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import RENDERER, ROOT_INDEX, ROOT_RENDERER, Mark
from pypimirror.catalog.queries import marks, pages, projects
from pypimirror.catalog.records import ProjectRecord
from pypimirror.domain.layout import page_paths
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.run import Run
from pypimirror.render import version
from pypimirror.render.pages import Page
from pypimirror.system.disk_errors import StorageError

#: Most pages that one run renders again. That takes one or two minutes.
AT_ONCE = 20_000


def is_current(row: ProjectRecord) -> bool:
    """Whether this version wrote the page."""
    return row.page_renderer == version.VERSION


def is_root_current(connection: Connection) -> bool:
    """Whether this version wrote the root index."""
    return _says(connection, ROOT_RENDERER)


def is_root_whole(connection: Connection) -> bool:
    """Whether all entries of the root index are right except the marked ones."""
    return marks.read(connection, ROOT_INDEX) == "" and is_root_current(connection)


def _says(connection: Connection, mark: Mark[int]) -> bool:
    return marks.read(connection, mark) == version.VERSION


def root_written(connection: Connection) -> None:
    """Note that this version wrote the root index."""
    marks.write(connection, ROOT_RENDERER, version.VERSION)


def pages_written(connection: Connection) -> None:
    """Note that this version wrote some pages. Other pages may be of another version."""
    if not _says(connection, RENDERER):
        marks.clear(connection, RENDERER)


def of_turn(connection: Connection, *, with_gone: bool) -> list[int]:
    """Return the ids of projects whose pages this run renders again.

    With `with_gone`, also those of removed projects; otherwise their pages will be removed soon.
    """
    if _says(connection, RENDERER):
        return []
    return pages.of_other_renderers(connection, version.VERSION, AT_ONCE, with_gone=with_gone)


def take_turn(run: Run, *, with_gone: bool) -> int:
    """Mark those pages as stale and return their number."""
    with run.catalog.read() as connection:
        ids = of_turn(connection, with_gone=with_gone)
    if ids:
        with run.catalog.write() as connection:
            projects.touch(connection, ids)
    return len(ids)


def settle(run: Run, done: int) -> None:
    """Note that all pages have this version, or report how many do not. `done` were rendered
    now.
    """
    with run.catalog.read() as connection:
        if _says(connection, RENDERER):
            return
        left = pages.number_of_other_renderers(connection, version.VERSION)
    if not left:
        with run.catalog.write() as connection:
            marks.write(connection, RENDERER, version.VERSION)
    if left or done:
        run.reporter.announce(
            f"Another version of pypimirror wrote {number_of(done + left, 'page')}: {done} "
            f"rendered again, {left} left for the next syncs."
        )


def tell(run: Run, waiting: int) -> None:
    """Count and report the pages of another version that a verification found."""
    if waiting:
        run.ledger.count(pages_waiting=waiting)
        run.reporter.announce(
            f"{number_of(waiting, 'page')} of another version of pypimirror left to be rendered "
            f"again; each sync renders up to {AT_ONCE}."
        )


# --- Judging --------------------------------------------------------------------------------------


def wrong(run: Run, row: ProjectRecord, page: Page) -> list[str]:
    """Return the paths of the forms of an older page that are not as they were written.

    If the digest of the written page is unknown, only the links of the page are checked.
    """
    forms = page_paths(page.project, run.config.publish.formats)
    is_known = row.page_sha256 is not None
    if is_known and run.storage.sha256_of_all(forms.values()) != row.page_sha256:
        return list(forms.values())
    allowed = _targets(run, page)
    return [path for form, path in forms.items() if not _leads_to(run, form, path, allowed)]


def _targets(run: Run, page: Page) -> set[str]:
    """Return the targets that links of a page may have, unquoted."""
    from pypimirror.render import rendering  # only a page of another version needs it

    base = run.config.publish.base_url or rendering.RELATIVE
    return {unquote(rendering.link(file, base)) for file in rendering.offered(page)}


def _leads_to(run: Run, form: str, path: str, allowed: set[str]) -> bool:
    """Whether all links of a form are among the allowed ones."""
    try:
        content = run.storage.read(path)
        return content is not None and all(link in allowed for link in _links(form, content))
    except (StorageError, ValueError):
        return False


def _links(form: str, content: bytes) -> Iterator[str]:
    """Yield the links of a page without fragments, unquoted. Raises `ValueError`."""
    for link in _LINKS[form](content):
        yield unquote(urlsplit(link)._replace(fragment="").geturl())


class _File(msgspec.Struct):
    url: str


class _Simple(msgspec.Struct):
    files: list[_File]


class _Legacy(msgspec.Struct):
    releases: dict[str, list[_File]]


_HREF = re.compile(rb"""\shref=["']([^"']*)""")


def _in_html(content: bytes) -> Iterator[str]:
    import html  # only for a page of another version

    return (html.unescape(found.decode()) for found in _HREF.findall(content))


def _in_json(content: bytes) -> Iterator[str]:
    return (file.url for file in msgspec.json.decode(content, type=_Simple).files)


def _in_legacy(content: bytes) -> Iterator[str]:
    releases = msgspec.json.decode(content, type=_Legacy).releases.values()
    return (file.url for files in releases for file in files)


_LINKS: Mapping[str, Any] = {"html": _in_html, "json": _in_json, "legacy": _in_legacy}
