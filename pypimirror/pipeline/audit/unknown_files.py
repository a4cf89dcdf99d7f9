"""`pypimirror verify`: find files in the mirror root that the catalog does not know.

They are reported and not touched: this program deletes nothing that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from packaging.utils import canonicalize_name

from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.records import NamedFile
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.filenames import fold, printable, system_prefix
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path, page_paths
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.publish import forms
from pypimirror.pipeline.run import Run
from pypimirror.system.disk_errors import StorageError

_UNKNOWN = "is in the mirror root and not in the catalog"
_NOT_HELD = "is in the mirror root, though the catalog says that this file is not held"

#: Paths that are looked up at once. SQLite tries each of their names in each of their projects.
_CHUNK = 100
_SHOWN = 1000  # characters of a path

#: Pages that only bandersnatch writes. There may be one for each project, so they are reported as
#: one.
_LEFT = re.compile(r"simple/(?:[^/]+/)?(?:index\.v1_html|(versions)/index_[^/]+)")

#: Separators after which the name of a project may end in a file name.
_ENDS = re.compile(r"(?<!^)(?:[-_.]+|(?<![-_.0-9])(?=v?[0-9]+\.[0-9]))", re.I)


def find(
    run: Run, is_late: Callable[[], bool] = lambda: False, *, unheld: bool = True
) -> Iterator[Problem]:
    """Yield a problem for each file in the mirror root that the catalog does not know.

    With `unheld`, also for files that it knows but does not hold yet. Stops when `is_late` says so.
    """
    closed: list[StorageError] = []  # directories that cannot be read
    for chunk in _chunks(run, "packages", closed):
        if is_late():
            return
        held, missing, awaited = _known_files(run, chunk)
        unknown = [path for path in chunk if path not in held]
        respelt = _respelt(run, unknown)
        for path in unknown:
            if path not in respelt and (unheld or path not in awaited):
                yield _foreign(path, _NOT_HELD if path in missing else _UNKNOWN)
    left: dict[str, tuple[str, int]] = {}
    for path in _unknown_pages(run, closed, is_late):
        if found := _LEFT.fullmatch(path):
            kind = f"simple/*/{'versions/*' if found[1] else 'index.v1_html'}"
            example, number = left.get(kind, (path, 0))
            left[kind] = example, number + 1
        else:
            yield _foreign(path, _UNKNOWN)
    for kind, (example, number) in left.items():
        yield _left_by_bandersnatch(kind, example, number)
    yield from (error.problem for error in closed)


def ours(run: Run, problems: Iterable[Problem]) -> set[str]:
    """Return the paths that `find` reported as unknown and that are held by now.

    If a repair was killed, bad bytes may be in the place of a file that it took back. The next
    repair fetches the file and puts it there.
    """
    found = [problem.file for problem in problems if problem.reason is Reason.FOREIGN]
    return _known_files(run, [path for path in found if path.startswith("packages/")])[0]


def _chunks(run: Run, prefix: str, closed: list[StorageError]) -> Iterator[list[str]]:
    return projects.chunks(run.storage.keys(prefix, closed.append), _CHUNK)


def _unknown_pages(
    run: Run, closed: list[StorageError], is_late: Callable[[], bool]
) -> Iterator[str]:
    """Yield the paths of pages that the catalog does not know."""
    for directory in ("simple", "pypi"):
        for chunk in _chunks(run, directory, closed):
            if is_late():
                return
            known = _known_pages(run, chunk)
            yield from (path for path in chunk if path not in known)


def _known_files(run: Run, paths: list[str]) -> tuple[set[str], set[str], set[str]]:
    """Look up the files of the catalog at these paths. Return three sets of paths.

    These are the held files, the files that are known but not held, and the part of the latter that
    may be held one day. Files that pages only link to at the upstream are never held.
    """
    wanted: dict[str, set[str]] = {}
    for path in paths:
        if path.isprintable():  # the catalog has no other names; some are not even valid text
            wanted.setdefault(_filename(path), set()).update(_owners(path))
    held: set[str] = set()
    missing: set[str] = set()
    linked: set[str] = set()
    with run.catalog.read() as connection:
        for row in files.named(connection, wanted):
            path = file_path(row.project, row.filename, row.location)
            is_held = _is_held(run, row)
            (held if is_held else missing).add(path)
            with_metadata = is_held and row.metadata_sha256
            (held if with_metadata else missing).add(path + METADATA_SUFFIX)
            with_provenance = is_held and row.provenance_sha256
            (held if with_provenance else missing).add(path + PROVENANCE_SUFFIX)
            if row.state == State.LINKED:
                linked.update(path + end for end in ("", METADATA_SUFFIX, PROVENANCE_SUFFIX))
    return held, missing - held, missing - held - linked


def _respelt(run: Run, paths: Iterable[str]) -> set[str]:
    """Return the paths that are held under another spelling of their names.

    A file system that ignores case may list "foo-1.0.zip" of the catalog as "Foo-1.0.zip".
    """
    spelt: dict[str, str] = {}  # the paths, by their possible spelling in the catalog
    for path in paths:
        directory, _, name = path.rpartition("/")
        end = name.removeprefix(_filename(path))
        names = set(_owners(path)) if path.isprintable() else set()
        with run.catalog.read() as connection:
            ids = [row.id for row in projects.by_name(connection, sorted(names))] if names else []
            for row in files.of_projects(connection, ids) if ids else ():
                if fold(row.filename + end) == fold(name) and row.filename + end != name:
                    spelt[f"{directory}/{row.filename}{end}"] = path
    held = _known_files(run, list(spelt))[0] if spelt else set()
    return {
        path
        for other, path in spelt.items()
        if other in held and run.storage.has(other) and not run.storage.lists(other)
    }


def _filename(path: str) -> str:
    """Return the name of the file at a path, or of the file that a sidecar belongs to."""
    name = path.rpartition("/")[2]
    return name.removesuffix(METADATA_SUFFIX).removesuffix(PROVENANCE_SUFFIX)


def _owners(path: str) -> Iterable[str]:
    """Return the projects that the file at a path may belong to."""
    directories = path.split("/")[:-1]
    by_project = len(directories) == 2  # else the path is in the upstream's layout
    return directories[1:] if by_project else _projects_of(_filename(path))


def _is_held(run: Run, row: NamedFile) -> bool:
    """Whether this mirror has put bytes in the place of this file."""
    if row.state == State.FETCHED:
        return not run.workspace.is_staged(row.id)
    return row.state in PROVEN or row.withdrawn_at is not None


def _projects_of(filename: str) -> Iterator[str]:
    """Yield the names of the projects that a file of this name may belong to.

    The project's name ends before one of the separators, or before a version without a separator.
    Nobody can tell before which one. See `filenames.belongs`.
    """
    if start := system_prefix(filename):
        yield from _projects_of(filename[start:])
    for end in _ENDS.finditer(filename):
        yield canonicalize_name(filename[: end.start()])


def _known_pages(run: Run, paths: list[str]) -> set[str]:
    """Return the paths of all pages that the catalog says are on disk."""
    with run.catalog.read() as connection:
        # Pages of a form that the configuration no longer has stay until the next sync.
        is_other = forms.is_another_form(run, connection)
        formats = forms.ALL if is_other else run.config.publish.formats
    known = set(page_paths(None, formats).values())
    names = sorted({name for path in paths if (name := path.split("/")[1]).isprintable()})
    with run.catalog.read() as connection:
        for row in projects.by_name(connection, names):
            if row.page_on_disk:
                known.update(page_paths(row.name, formats).values())
    return known


def _foreign(path: str, cause: str) -> Problem:
    path = printable(path, _SHOWN)
    message = (
        f"{path}: {cause}; anybody who knows its address can fetch it. Remove it by hand if you do "
        "not know it either"
    )
    return Problem(Reason.FOREIGN, message, file=path)


def _left_by_bandersnatch(kind: str, example: str, number: int) -> Problem:
    message = (
        f"{kind}: {number} old pages of bandersnatch, such as {printable(example)}; nothing keeps "
        "them up to date. Remove them by hand when no web server uses them any more"
    )
    return Problem(Reason.FOREIGN, message, file=kind)
