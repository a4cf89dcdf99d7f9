"""The arrows of the house point one way."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import run

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pypimirror"
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path, *, lazy: bool = True) -> Iterator[str]:
    """What a module imports, with `lazy` also inside of functions."""
    tree = parsed(file)
    nodes = ast.walk(tree) if lazy else top_level(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(node: ast.AST) -> Iterator[ast.AST]:
    """Yield everything that runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from top_level(child)


def part(module: str) -> str:
    """Return the part of the house to which a module belongs."""
    return module.split(".")[1] if module.startswith("pypimirror.") else ""


def parts_used(file: Path) -> set[str]:
    return {part(name) for name in imports(file) if name.startswith("pypimirror.")} - {""}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def each_module(rule: Callable[[Path], None]) -> Callable[[], None]:
    """Make one test of a rule for modules: a test for each would be a third of all tests."""

    def test() -> None:
        broken = {}
        for file in MODULES:
            try:
                rule(file)
            except AssertionError as error:
                broken[name_of(file)] = str(error)
        assert not broken

    test.__name__, test.__doc__ = rule.__name__, rule.__doc__
    return test


@each_module
def test_nothing_in_the_mirror_imports_prefect_flows_or_tasks(file: Path) -> None:
    """Two commands start and deploy flows; they import them only then."""
    foreign = {
        name for name in imports(file) if name.split(".")[0] in ("prefect", "flows", "tasks")
    }
    if name_of(file) in (
        "pypimirror/cli/actions/syncing.py",
        "pypimirror/cli/actions/operating.py",
    ):
        now = set(imports(file, lazy=False))
        assert not {name for name in now if name.split(".")[0] in ("prefect", "flows", "tasks")}
        return
    assert foreign == set()


#: The rooms, or single modules of rooms, that each room may use. All other imports are forbidden.
#: Some folders in rooms are rooms of their own, such as those of `pipeline`.
_FIELD = {"domain", "system"}
_LEDGER = _FIELD | {"catalog", "storage"}
ALLOWED: dict[str, set[str]] = {
    "domain": set(),
    "system": {"domain"},
    "storage": _FIELD,
    "config": _FIELD,
    "upstream": {"domain"},
    "render": {"domain"},
    "select": _FIELD | {"config"},
    "download": _FIELD | {"upstream"},
    "verify": _FIELD | {"storage.stamps"},
    "catalog": _FIELD,
    "metrics": _FIELD | {"catalog", "config"},
    "status": _FIELD | {"catalog", "config"},
    "pipeline.context": _LEDGER
    | {
        *("config", "download.protocol", "download.unchanged"),
        *("upstream.collecting", "upstream.headers"),
        *("verify.hashing", "verify.protocol", "verify.readers"),
    },
    "pipeline.asked": _LEDGER
    | {"config", "pipeline", "pipeline.closure", "pipeline.publish", "select"},
    "pipeline": _LEDGER
    | {
        *(
            "check",
            "config",
            "metrics",
            "resolve",
            "select",
            "download.protocol",
            "verify.protocol",
            "pipeline.asked",
            "pipeline.closure",
            "pipeline.context",
            "pipeline.discover",
            "pipeline.download",
            "pipeline.executors",
        ),
        *("pipeline.verify", "pipeline.publish", "pipeline.audit"),
    },
    "pipeline.executors": _LEDGER
    | {
        *("config", "pipeline", "pipeline.closure", "pipeline.context"),
        *("pipeline.download.staging", "select"),
    },
    "pipeline.closure": _LEDGER
    | {
        *("config", "download.protocol", "pipeline", "pipeline.asked", "pipeline.context"),
        *("pipeline.discover", "select", "verify.protocol"),
    },
    "pipeline.discover": _LEDGER
    | {
        *("config", "download.failure", "download.http.hosts", "download.protocol"),
        *(
            "download.unchanged",
            "pipeline",
            "pipeline.asked",
            "pipeline.context",
            "select",
            "upstream",
            "verify.proof",
            "verify.protocol",
        ),
    },
    "pipeline.download": _LEDGER
    | {
        *("download.protocol", "download.files.resume", "pipeline", "pipeline.audit.unknown_files"),
        *(
            "pipeline.asked.leaving",
            "pipeline.context",
            "pipeline.discover",
            "pipeline.publish.presence",
            "pipeline.verify",
            "verify",
        ),
    },
    "pipeline.verify": _LEDGER
    | {
        *("config", "download.protocol", "pipeline", "pipeline.context", "pipeline.discover"),
        *("pipeline.download", "pipeline.publish", "verify"),
    },
    "pipeline.publish": _LEDGER
    | {
        *("pipeline", "pipeline.context", "pipeline.discover", "pipeline.verify", "render"),
        "verify",
    },
    "pipeline.audit": _LEDGER
    | {"pipeline", "pipeline.publish", "pipeline.verify.takeback", "verify.protocol"},
    "pipeline.preview": _LEDGER
    | {
        "check.remedies",
        *("config", "download.protocol", "pipeline", "pipeline.asked", "pipeline.closure"),
        *("pipeline.context", "pipeline.discover", "pipeline.executors", "pipeline.publish"),
        "select",
    },
    "resolve": _FIELD
    | {
        *("download.failure", "download.protocol", "download.http.authorities"),
        *("download.http.hosts", "download.http.tunnel"),
    },
    "check": _FIELD | {"config", "resolve", "select", "storage", "upstream", "verify"},
    "on_demand": _LEDGER
    | {
        *("config", "download.protocol", "pipeline", "pipeline.asked", "pipeline.context"),
        *("pipeline.discover", "pipeline.executors", "pipeline.publish", "pipeline.verify"),
        *("render", "select", "upstream.listing", "verify"),
    },
    "serve": _FIELD
    | {"config", "on_demand.messages", "serve.pages.asking", "serve.pages.messages", "storage.s3"},
    "serve.pages": _LEDGER
    | {
        *("config", "select", "serve.bucket", "serve.files", "serve.install", "serve.tree"),
        *("status", "verify.pkg_info", "verify.proof", "serve.pages.descriptions"),
    },
    "serve.pages.descriptions": set(),
    "up": _FIELD | {"config", "serve.command", "storage.opening"},
    "bandersnatch": _FIELD | {"config"},
    "doctor": _LEDGER
    | {
        "config",
        "download",
        "pipeline.context",
        "pipeline.discover",
        "render",
        "resolve",
        "select",
        "up.asking",
        "up.parts",
    },
    "cli": _LEDGER
    | {
        "verify.hash_worker",
        *("bandersnatch", "check", "config", "doctor", "download.unchanged", "metrics", "pipeline"),
        "status",
        *("pipeline.audit", "pipeline.context.remotes", "pipeline.download.adopt"),
        "pipeline.executors.children",
        *(
            "pipeline.preview",
            "pipeline.verify.quarantine",
            "select",
            "serve.command",
            "up",
            "verify.proof",
        ),
        "resolve",
    },
    "__main__": {"cli", "system"},
}

#: Every room may know the name and the version of this program.
_NAME = {"pypimirror", "pypimirror.__version__"}


def ours(module: str) -> bool:
    """Whether this names a module or a package of this program, and not an object in one."""
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or path.is_dir()


def room(module: str) -> str:
    """The room that a module is in."""
    names = module.split(".")[1:]
    if ".".join(names[:2]) in ALLOWED:
        return ".".join(names[:2])
    return names[0]


@cache
def uses(file: Path) -> set[str]:
    """The modules of this program that a module imports, at its top or in functions."""
    found = {name for name in imports(file) if name.split(".")[0] == "pypimirror" and ours(name)}
    # Of `from package import module`, the module is meant.
    return {n for n in found - _NAME if not any(o.startswith(f"{n}.") for o in found)}


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@each_module
def test_arrows_point_one_way(file: Path) -> None:
    if file == PACKAGE / "__init__.py":
        assert not uses(file)
        return
    own = room(module_of(file))
    for used in uses(file):
        name = used.removeprefix("pypimirror.")
        allowed = ALLOWED[own] | {own}
        assert room(used) in allowed or any(f"{name}.".startswith(f"{a}.") for a in allowed), used


def test_no_import_goes_in_a_circle() -> None:
    """Neither at the top, nor in a function, nor behind TYPE_CHECKING."""
    arrows = {module_of(file): uses(file) for file in MODULES}
    while sinks := {name for name, used in arrows.items() if not used & set(arrows) - {name}}:
        arrows = {name: used for name, used in arrows.items() if name not in sinks}
    assert not arrows


@each_module
def test_no_import_is_hidden_in_a_string(file: Path) -> None:
    calls = (node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call))
    for call in calls:
        if ast.unparse(call.func).endswith("import_module"):
            (module,) = call.args
            assert isinstance(module, ast.Constant) and not module.value.startswith("pypimirror")


def test_a_private_name_stays_in_its_module() -> None:
    """A name that another module needs is public, in tests as well."""
    folders = ("pypimirror", "flows", "tasks", "tests", "benchmarks")
    found = [
        f"{name_of(file)}: {node.module}.{alias.name}"
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in folders
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not found


#: Classes that are one idea in several places.
_ONE_IDEA = {"Hello"}  # the first line to a worker, in each protocol


def test_a_reader_who_searches_for_a_class_finds_one_thing() -> None:
    """A private class is only seen in its module, so its name need not differ from others."""
    folders = (PACKAGE, ROOT / "flows", ROOT / "tasks")
    places = defaultdict(list)
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name_of(file))
    assert {name: where for name, where in places.items() if len(where) > 1}.keys() <= _ONE_IDEA


def test_programs_in_the_texts_of_tests_import_what_exists() -> None:
    """Neither lint nor types look into a text, and some of these tests run in CI only."""
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("*.py"):
        texts = (node.value for node in ast.walk(parsed(file)) if isinstance(node, ast.Constant))
        for text in (text for text in texts if isinstance(text, str)):
            found.update(re.findall(r"^\s*(from pypimirror\.[\w.]+ import [\w, ]+)$", text, re.M))
    assert found
    done = run([sys.executable, "-c", "\n".join(sorted(found))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "folder", [PACKAGE, *(p for p in PACKAGE.rglob("*") if p.is_dir())], ids=name_of
)
def test_a_room_is_seen_at_a_glance(folder: Path) -> None:
    assert len([each for each in folder.glob("*.py") if each.name != "__init__.py"]) <= 14


@each_module
def test_only_the_catalog_knows_sqlalchemy(file: Path) -> None:
    """All others use its records (`catalog.records`), and names from `catalog`."""
    used = {name for name in imports(file) if name.split(".")[0] == "sqlalchemy"}
    assert not used or room(module_of(file)) == "catalog"


@pytest.mark.parametrize("folder", ["flows", "tasks"])
def test_neither_do_flows_and_tasks(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        assert not {name for name in imports(file) if name.split(".")[0] == "sqlalchemy"}, file


#: The modules that may change files, and where. All others use the storage.
WRITERS = {
    "storage/posix.py": "what is served, and the notes of the mirror root",
    "storage/workspace.py": "staging and quarantine",
    "storage/parts.py": "staging",
    "storage/slots.py": "staging",
    "pipeline/context/stored_files.py": "copies of objects, which it removes again",
    "storage/lock.py": "the lock",
    "on_demand/store.py": "the store of a fetcher, in the private directory",
    "on_demand/index.py": "the store, in a child",
    "on_demand/keeping/source.py": "staging: what the store has",
    "system/regular.py": "new files, for those who write",
    "storage/hard_links.py": "an SQLite catalog and what waits in staging, parted from copies",
    "system/streams.py": "nothing: it opens the null device",
    "storage/s3/storage.py": "staging, and a copy for quarantine; what is served is in the bucket",
    "storage/changes.py": "a list that the configuration asks for, wherever it says",
    "cli/actions/initialise.py": "the configuration",
    "download/files/head.py": "the store of a fetcher, in a child",
    "download/files/transfer.py": "staging, in a child",
    "download/files/resume.py": "staging, in a child",
    "download/files/labelled.py": "staging, in a child",
    "download/page_answers.py": "staging, in a child",
    "verify/worker.py": "staging, in a child",
    "up/parts.py": "what Prefect keeps in the private directory",
    "metrics/exposition.py": "a file that the configuration or an option names, wherever it says",
    "doctor/roundtrip.py": "a scratch directory",
    "doctor/scratch.py": "a scratch directory",
    "resolve/child.py": "a scratch directory",
}

_CHANGES = {
    *("unlink", "rename", "renames", "write_bytes", "write_text", "mkdir", "makedirs", "rmdir"),
    *("removedirs", "rmtree", "symlink", "symlink_to", "hardlink_to", "truncate", "ftruncate"),
    *("chmod", "utime", "mkstemp", "copyfile", "copy2", "copytree"),
}
_FLAGS = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)")
_MODE = re.compile(r"['\"](?=.*[wax+])[rwaxbt+]+['\"]")


def changes_files(call: ast.Call) -> bool:
    """Whether a call looks as if it changes files."""
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name == "replace":  # str.replace takes two, and the copies of structs and dates keywords
        return owner == "os" or (len(call.args) == 1 and not call.keywords)
    if name == "open":
        said = [ast.unparse(each) for each in (*call.args, *(k.value for k in call.keywords))]
        return any(_FLAGS.search(each) or _MODE.fullmatch(each) for each in said)
    return name in _CHANGES


@each_module
def test_what_is_served_is_written_through_one_seam(file: Path) -> None:
    """Another kind of mirror root, such as an object store, is another `Storage`."""
    calls = (node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call))
    found = [ast.unparse(call) for call in calls if changes_files(call)]
    assert bool(found) == (str(file.relative_to(PACKAGE)) in WRITERS), found


@each_module
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


#: The modules that may open files for reading, and which files. All others use
#: `pypimirror.system.regular`, which knows what a file is, never blocks and has a bound.
READERS = {
    "on_demand/store.py": "its lock, which it opens without following a link",
    "system/regular.py": "the one place",
    "storage/durability.py": "what is flushed, and never read",
    "system/machine.py": "what the system says of itself",
    "catalog/holder.py": "what the system says of processes",
    "catalog/engines/sqlite.py": "a directory, which is locked and never read",
    "catalog/mapping/prepared.py": "a file of the program's own",
    "up/processes.py": "what the system says of processes",
    "config/sections.py": "a module of the program's own",
    "cli/actions/applications/starting.py": "what importlib.metadata knows of a package",
    "storage/changes.py": "the journal that this run writes",
    "system/children.py": "a pipe from a child",
    "system/streams.py": "the streams that this process was started with",
    "serve/pages/program.py": "its standard output, which is a pipe to the web server",
}


def opens_files(call: ast.Call) -> bool:
    """Whether a call looks as if it opens a file for reading."""
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name in ("read_bytes", "read_text"):
        return True
    if name not in ("open", "fdopen") or changes_files(call):
        return False
    return owner in ("", "os", "io") or owner.endswith(("path", "file", "source", "journal", ")"))


@each_module
def test_files_are_opened_in_one_place(file: Path) -> None:
    """Only regular files are opened, and opening never blocks."""
    calls = (node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call))
    found = [ast.unparse(call) for call in calls if opens_files(call)]
    assert bool(found) == (str(file.relative_to(PACKAGE)) in READERS), found
