"""The arrows of the house point one way."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pypimirror"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(file: Path, *, lazy: bool = True) -> Iterator[str]:
    """What a module imports, with `lazy` also inside of functions."""
    tree = ast.parse(file.read_text())
    nodes = ast.walk(tree) if lazy else top_level(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from top_level(child)


def part(module: str) -> str:
    """The part of the house that a module of ours belongs to."""
    return module.split(".")[1] if module.startswith("pypimirror.") else ""


def parts_used(file: Path) -> set[str]:
    return {part(name) for name in imports(file) if name.startswith("pypimirror.")} - {""}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_nothing_in_the_mirror_imports_prefect_flows_or_tasks(file: Path) -> None:
    """But for the commands that start a flow and deploy it, and those only when they do."""
    foreign = {
        name for name in imports(file) if name.split(".")[0] in ("prefect", "flows", "tasks")
    }
    if name_of(file) in ("pypimirror/cli/syncing.py", "pypimirror/cli/operating.py"):
        now = set(imports(file, lazy=False))
        assert not {name for name in now if name.split(".")[0] in ("prefect", "flows", "tasks")}
        return
    assert foreign == set()


#: What each part may import of the others; what is not named here is free to be used by all.
FORBIDDEN: dict[str, set[str]] = {
    "model": {"*", "-errors"},
    "filenames": {"*", "-model", "-bounded"},
    "bounded": {"*"},
    "moments": {"*"},
    "catalog": {"stages", "cli", "upstream", "download", "verify", "publish", "serve"},
    "upstream": {"stages", "cli", "catalog", "download", "verify", "publish", "serve"},
    "download": {"stages", "cli", "catalog", "verify", "publish", "serve"},
    "verify": {"stages", "cli", "catalog", "upstream", "download", "publish", "serve"},
    "publish": {"stages", "cli", "catalog", "upstream", "download", "verify", "serve"},
    "serve": {"stages", "catalog", "upstream", "download", "verify"},
    "up": {"stages", "cli", "catalog", "upstream", "download", "verify", "publish", "tree"},
    "stages": {"cli", "serve", "doctor"},
    "doctor": {"cli", "serve"},
    "tree": {"stages", "cli", "catalog", "upstream", "download", "verify", "serve"},
    "lock": {"*", "-errors", "-regular", "-space"},  # the latter once it fails
    "holder": {"*", "-kernel"},
    "kernel": {"*"},
    "errors": {"*"},
    "abrupt": {"*"},
    "paths": {"*", "-regular"},
    "regular": {"*"},
    "generation": {"*", "-regular"},
    "streams": {"*"},
    "clock": {"*"},
    "texts": {"*", "-regular"},
    "sources": {"*", "-__version__"},
    "lease": {"stages", "cli", "upstream", "download", "verify", "publish", "serve", "tree"},
    "config": {"stages", "cli", "catalog", "upstream", "download", "verify", "publish", "serve"},
    "select": {"stages", "cli", "catalog", "upstream", "download", "verify", "publish"},
    "workers": {"stages", "cli", "catalog", "upstream", "verify", "publish", "serve", "download"},
}


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_arrows_point_one_way(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    forbidden = FORBIDDEN.get(own, set())
    used = parts_used(file) - {own}
    if "*" in forbidden:
        allowed = {name[1:] for name in forbidden if name.startswith("-")}
        assert used <= allowed
    assert not used & forbidden


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_only_the_catalog_writes_sql(file: Path) -> None:
    """Others may know its errors and the types that queries give."""
    if part(f"pypimirror.{file.relative_to(PACKAGE).parts[0]}") == "catalog":
        return
    allowed = {"Connection", "Row", "exc", "SQLAlchemyError"}
    used = {name.split(".")[-1] for name in imports(file) if name.startswith("sqlalchemy.")}
    assert used <= allowed


#: Who may change files, and where: all else goes through the tree.
WRITERS = {
    "tree.py": "the mirror root and its private directory",
    "stages/ownership.py": "what the private directory says of itself",
    "lock.py": "the lock",
    "regular.py": "new files, for those who write",
    "links.py": "an SQLite catalog, and what waits in staging, parted from their copies",
    "streams.py": "nothing: it opens the null device",
    "changes.py": "a list that the configuration asks for, wherever it says",
    "cli/initialise.py": "the configuration",
    "download/transfer.py": "staging, in a child",
    "download/resume.py": "staging, in a child",
    "download/labelled.py": "staging, in a child",
    "download/pages.py": "staging, in a child",
    "verify/worker.py": "staging, in a child",
    "up/parts.py": "what Prefect keeps in the private directory",
    "metrics.py": "a file that the configuration or an option names, wherever it says",
    "doctor/roundtrip.py": "a scratch directory",
    "doctor/scratch.py": "a scratch directory",
}

_CHANGES = {
    *("unlink", "rename", "renames", "write_bytes", "write_text", "mkdir", "makedirs", "rmdir"),
    *("removedirs", "rmtree", "symlink", "symlink_to", "hardlink_to", "truncate", "ftruncate"),
    *("chmod", "utime", "mkstemp", "copyfile", "copy2", "copytree"),
}
_FLAGS = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)")
_MODE = re.compile(r"['\"](?=.*[wax+])[rwaxbt+]+['\"]")


def changes_files(call: ast.Call) -> bool:
    """Whether a call changes files, by its looks."""
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name == "replace":  # str.replace takes two, and the copies of structs and dates keywords
        return owner == "os" or (len(call.args) == 1 and not call.keywords)
    if name == "open":
        said = [ast.unparse(each) for each in (*call.args, *(k.value for k in call.keywords))]
        return any(_FLAGS.search(each) or _MODE.fullmatch(each) for each in said)
    return name in _CHANGES


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_what_is_served_is_written_through_one_seam(file: Path) -> None:
    """A mirror root that is no directory, such as an object store, would be another `Tree`."""
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    found = [ast.unparse(call) for call in calls if changes_files(call)]
    assert bool(found) == (str(file.relative_to(PACKAGE)) in WRITERS), found


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_gevent_and_requests_live_in_the_workers_and_the_server(file: Path) -> None:
    where = file.relative_to(PACKAGE).parts[0]
    heavy = {name.split(".")[0] for name in imports(file)} & {"gevent", "requests", "urllib3"}
    assert not heavy or where in ("download", "serve")


@pytest.mark.parametrize(
    "module", ["protocol", "parent"], ids=lambda name: f"pypimirror/download/{name}.py"
)
def test_the_parents_side_of_the_engine_is_cheap(module: str) -> None:
    used = {name.split(".")[0] for name in imports(PACKAGE / "download" / f"{module}.py")}
    assert not used & {"gevent", "requests", "urllib3", "httptools"}


@pytest.mark.parametrize("folder", ["flows", "tasks"])
def test_flows_use_tasks_and_tasks_use_stages(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        used = parts_used(file)
        assert not used & {"upstream", "download", "verify", "publish"}, file
        if folder == "tasks":
            assert not [name for name in imports(file) if name.split(".")[0] == "flows"], file


#: Who may open files to read them, and which: all else asks `pypimirror.regular`, which knows what
#: a file is, waits for nobody and has a bound.
READERS = {
    "regular.py": "the one place",
    "durability.py": "what is flushed, and never read",
    "kernel.py": "what the system says of itself",
    "holder.py": "what the system says of processes",
    "up/processes.py": "what the system says of processes",
    "sections.py": "a module of the program's own",
    "changes.py": "the journal that this run writes",
    "streams.py": "the streams that this process was started with",
}


def opens_files(call: ast.Call) -> bool:
    """Whether a call opens a file to read it, by its looks."""
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name in ("read_bytes", "read_text"):
        return True
    if name not in ("open", "fdopen") or changes_files(call):
        return False
    return owner in ("", "os", "io") or owner.endswith(("path", "file", "source", "journal", ")"))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_files_are_opened_in_one_place(file: Path) -> None:
    """What is opened is a regular file, and opening it never blocks."""
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    found = [ast.unparse(call) for call in calls if opens_files(call)]
    assert bool(found) == (str(file.relative_to(PACKAGE)) in READERS), found
