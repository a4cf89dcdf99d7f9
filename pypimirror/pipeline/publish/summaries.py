"""Notes the summary and the requirements of each project, for search and for `required by`.

They come from the core metadata of the newest release that has core metadata here. If no file has
any, they come from the PKG-INFO of the newest sdist. They are noted in the transaction that notes
the page. For pages that an earlier version wrote, each run notes some more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packaging.version import Version

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import SUMMARIES
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.browsing import summaries
from pypimirror.catalog.queries.browsing.summaries import Noted
from pypimirror.catalog.records import FileRecord, SummaryRecord
from pypimirror.domain.filenames import version_of
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.metadata import summary
from pypimirror.pipeline.run import Run
from pypimirror.storage import many

#: Most projects of earlier versions in one run; these take some seconds.
AT_ONCE = 10_000
_CHUNK = 500

_NOTHING = summary.ProjectSummary("", frozenset())


def read(
    run: Run,
    named: Sequence[tuple[int, str]],
    held: Mapping[int, Iterable[FileRecord]],
    known: Mapping[int, bytes | None],
) -> Noted:
    """Return the new notes on these projects (id and name).

    `known` has the sources of the notes that exist, by project id.
    """
    chosen = {number: _newest(name, held.get(number, ())) for number, name in named}
    changed = [
        (number, name, file)
        for number, name in named
        if known.get(number, b"") != ((file := chosen[number]) and _source(file))
    ]
    said = many.ask(run.storage, lambda each: _summary(run, each[1], each[2]), changed)
    rows, requires = [], {}
    for (number, name, file), found in zip(changed, said, strict=True):
        source = _source(file) if file else None
        rows.append(SummaryRecord(number, name, found.text, source))
        requires[number] = found.requires
    return Noted(rows, requires)


def fill(run: Run) -> None:
    """Note the summaries of projects whose pages an earlier version wrote, until all have one."""
    last = 0
    for _ in range(AT_ONCE // _CHUNK):
        with run.catalog.read() as connection:
            rows = summaries.missing(connection, last, _CHUNK)
            held = _by_project(connection, [row.id for row in rows])
        noted = read(run, [(row.id, row.name) for row in rows], held, {})
        with run.catalog.write() as connection:
            summaries.put(connection, noted)
            if not rows:
                marks.write_once(connection, SUMMARIES, "")
        if not rows:
            return
        last = rows[-1].id


def _by_project(connection: Connection, ids: Sequence[int]) -> dict[int, list[FileRecord]]:
    found: dict[int, list[FileRecord]] = {number: [] for number in ids}
    for file in summaries.described(connection, ids):
        found[file.project_id].append(file)
    return found


def _newest(project: str, held: Iterable[FileRecord]) -> FileRecord | None:
    """Return the file to read: one with core metadata, of the newest final release that has one.

    If no file has core metadata, return an sdist.
    """
    here = [file for file in held if not file.linked]
    described = [file for file in here if file.metadata_sha256]
    if not described and here:
        from pypimirror.verify import pkg_info  # with all that reads archives: most need none

        described = [file for file in here if pkg_info.is_sdist(file.filename)]
    if len(described) < 2:
        return next(iter(described), None)

    def age(file: FileRecord) -> tuple[bool, bool, Version, str]:
        version = version_of(file.filename, project)
        known = version or Version("0")
        return version is not None, not known.is_prerelease, known, file.filename

    return max(described, key=age)


def _source(file: FileRecord) -> bytes | None:
    return file.metadata_sha256 or file.sha256


def _summary(run: Run, project: str, file: FileRecord | None) -> summary.ProjectSummary:
    if file is None:
        return _NOTHING
    path = file_path(project, file.filename, file.location)
    if file.metadata_sha256:
        document = run.storage.read(path + METADATA_SUFFIX)
    else:
        from pypimirror.verify import pkg_info

        document = pkg_info.find(run.storage.read(path, pkg_info.MOST) or b"", file.filename)
    return _NOTHING if document is None else summary.of(document)
