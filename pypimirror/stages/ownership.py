"""Who may work on a mirror: the process with the lease, on the directory of the catalog.

A catalog says what one directory holds; with another one, pages would link to files that are not
there. So catalog and directory carry the same mark. A catalog in the directory itself needs none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from pypimirror import lease
from pypimirror.catalog import projects, rest
from pypimirror.catalog.database import Catalog, CatalogError, sqlite_file
from pypimirror.lease import Lease
from pypimirror.tree import Tree

_MARK = "mirror"


@contextmanager
def hold(catalog: Catalog, tree: Tree, *, claim: bool) -> Iterator[Lease]:
    """Hold the lease; without it, neither catalog nor tree can be written from then on.

    With `claim`, a catalog that belongs to no directory yet is this one's. Raises `LockedError`,
    `CatalogError` when the catalog is another directory's, and `TreeError`.
    """

    def check(connection: Connection) -> None:
        for mark in (rest.MARK, rest.ENDED):  # it may not stay so
            projects.set_mark(connection, mark, None)
        if not _is_inside(catalog, tree):
            _check(connection, tree, catalog.shown, claim=claim)

    with lease.hold(catalog, check) as held:
        catalog.guard = tree.guard = held.check
        try:
            yield held
        finally:
            catalog.guard = tree.guard = lambda: None


def _is_inside(catalog: Catalog, tree: Tree) -> bool:
    if catalog.engine.dialect.name != "sqlite":
        return False
    file = sqlite_file(str(catalog.engine.url))
    return file is None or tree.private in file.parents  # without a file: in memory


def _check(connection: Connection, tree: Tree, address: str, *, claim: bool) -> None:
    known, mine = projects.get_mark(connection, _MARK), tree.identity()
    if known is None and claim:
        if mine is None:
            mine = secrets.token_hex(16)
            tree.identify(mine)  # on disk before the catalog has it
        projects.set_mark(connection, _MARK, mine)
    if known is not None and mine != known:
        raise CatalogError(
            f"catalog {address}: belongs to another directory than {tree.directory}. Name another "
            "catalog in mirror.catalog: each mirror needs its own. If this directory is that very "
            f"mirror, moved or restored, write {known} to {tree.identity_file} and run "
            "'pypimirror verify --repair'"
        )
