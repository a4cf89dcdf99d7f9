"""SQLAlchemy is imported late, and that may be interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.environment import isolated

PROGRAM = """
import sys
from pypimirror.catalog.mapping import sql, tables

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
try:
    getattr(*{"sql": (sql, "exc"), "tables": (tables, "files")}[sys.argv[2]])
except KeyboardInterrupt:
    print(sql.exc.SQLAlchemyError.__name__, tables.files.name, sql.select(tables.files.c.id))
"""


@pytest.mark.parametrize("by", ["sql", "tables"])
@pytest.mark.parametrize("at", ["sqlalchemy.engine", "sqlalchemy.pool", "sqlalchemy.sql.schema"])
def test_an_interrupted_import_of_sqlalchemy_can_be_done_again(at: str, by: str) -> None:
    """Fault: Python then imported a package without `exc`, and each error became another one."""
    command = [sys.executable, "-c", PROGRAM, at, by]
    done = subprocess.run(command, capture_output=True, text=True, env=isolated(), check=False)
    assert done.stdout == "SQLAlchemyError files SELECT files.id \nFROM files\n", done.stderr
