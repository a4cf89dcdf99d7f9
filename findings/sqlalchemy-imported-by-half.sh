#!/usr/bin/env bash
# A long-lived process imports SQLAlchemy 2.1.9 late. A signal (or a lack of memory) ends the import
# half-way, the process lives on, and imports it again when it needs it.
#
# Guess: Python forgets a package whose import failed, so the second import begins from nothing.
# Seen: it forgets only the package and the module at which it failed. All submodules that were ready stay
# in sys.modules. The second import succeeds, finds them there, and so never makes them attributes of the
# new package: sqlalchemy.select is there, sqlalchemy.exc is not. From then on, an "except
# sqlalchemy.exc.SQLAlchemyError" is itself an AttributeError, and hides the error that it was to catch.
# "import sqlalchemy.exc" does not help either. Whoever removes all of sqlalchemy from sys.modules is safe.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv && venv/bin/python -m pip install -q --disable-pip-version-check sqlalchemy==2.1.9
cat >interrupted.py <<'PY'
import sys


class Signal:
    """A signal that comes at the import of a submodule."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "sqlalchemy.engine":
            sys.meta_path.remove(self)
            raise KeyboardInterrupt


sys.meta_path.insert(0, Signal())
try:
    import sqlalchemy
except KeyboardInterrupt:
    left = [name for name in sys.modules if name.partition(".")[0] == "sqlalchemy"]
    if "clean" in sys.argv:
        for name in left:
            del sys.modules[name]
import sqlalchemy
import sqlalchemy.exc

has = {name: hasattr(sqlalchemy, name) for name in ("select", "exc")}
print("Python", sys.version.split()[0], "SQLAlchemy", sqlalchemy.__version__, "left:", len(left) > 10, has)
PY
venv/bin/python interrupted.py | tee left
venv/bin/python interrupted.py clean | tee cleaned
grep -q "left: True {'select': True, 'exc': False}" left
grep -q "left: True {'select': True, 'exc': True}" cleaned
