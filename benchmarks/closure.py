"""python -m benchmarks.closure: what a closure costs, and how long a mirror of one takes to make.

Three measurements:

* The closure of a catalog of 5,000 projects with 50,000 files, of which all metadata is here: time
  and peak memory of a process that opens the catalog, computes it, and ends.
* A closure of the same size, mirrored by pypimirror and by morgan from the same index on loopback:
  for the first time, again, and after 1 % of the projects got a release.
* A smaller one, for the first time, from an index that takes 50 ms for each answer.

What each mirrors: of all that is needed, pypimirror takes all versions that are allowed. morgan
takes them only of projects that its configuration names (`--mirror-all-versions`), and else the
newest version that each requirement allows. So morgan works twice, on mirrors of its own: it is
told all names, and then mirrors the same files; and it finds the names itself, and then mirrors
fewer files. After each run, `faults` checks the digests of all files, and that nothing is missing
that they require.

morgan is looked for as `.cache/morgan/bin/morgan`; `--install` puts it there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks import measure, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.corpus import Corpus, Item
from benchmarks.shapes import TINY
from benchmarks.upstream import Server
from pypimirror.catalog import bulk, schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import projects as queries
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.states import State
from pypimirror.config.settings import parse
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline.closure.known import compute
from pypimirror.select.selection import Selection
from pypimirror.system.memory import relax_collector
from tests.corpus.build import core_metadata, make_wheel

MORGAN = tools.ROOT / ".cache" / "morgan"
_VERSION = "0.15.0"
PROJECTS, RELEASES, WHEELS = 5_000, 5, 2  #: so 50,000 files
LIMITS = (3.0, 250.0)  #: seconds, megabytes
_ROUNDS = 5
SLOW, DELAY = 1_200, 0.05  #: projects of an index that takes so many seconds for an answer
_PATIENCE = 3600.0  #: seconds for a run of morgan

_TOLD, _ALONE = f"morgan {_VERSION} told all names", f"morgan {_VERSION} alone"
#: For whom both mirror.
ENVIRONMENT = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "platform_release": "6",
    "platform_version": "6",
    "platform_tag": "linux-x86_64",
    "python_version": "3.12",
    "python_full_version": "3.12.7",
    "implementation_name": "cpython",
    "implementation_version": "3.12.7",
}

#: As often as real metadata has them: three of four requirements are for extras.
_MARKERS = (
    *("", "", "", '; python_version < "3.11"', '; python_version >= "3.12"'),
    *('; sys_platform == "win32"', '; implementation_name == "cpython"'),
    *(f'; extra == "{extra}"' for extra in ("test", "docs", "dev", "all") * 5),
)
_VERSIONS = ("", "", ">=1", ">=2", ">=1,<4", "~=2.0", "!=1.0", ">=1.0,!=3.0,<5")


def name_of(number: int) -> str:
    """Return a project's name."""
    return f"project-{number}"


def requires(chance: random.Random, number: int, most: int) -> list[str]:
    """Return what a release of a project requires: two more in any case, so that all are needed."""
    found = [f"{name_of(n)}>=1" for n in (2 * number + 1, 2 * number + 2) if n < most]
    for _ in range(chance.randrange(16)):
        other = name_of(int(chance.random() ** 3 * most))  # a few are needed by very many
        extras = "[all]" if chance.random() < 0.1 else ""
        found.append(f"{other}{extras}{chance.choice(_VERSIONS)}{chance.choice(_MARKERS)}")
    return found


# The closure alone


def make_catalog(file: Path, most: int) -> None:
    """Make a catalog of a mirror that holds everything."""
    chance = random.Random(1)
    with closing(Catalog.open(f"sqlite:///{file}")) as catalog, catalog.write() as connection:
        queries.ensure(connection, (ProjectName(name_of(number)) for number in range(most)))
        rows, known = [], {}
        for number in range(most):
            for release in range(1, RELEASES + 1):
                digest = hashlib.sha256(f"{number} {release}".encode()).digest()
                known[digest] = Requirements(tuple(requires(chance, number, most)), ">=3.9")
                rows += [row(number, f"{release}.0", build, digest) for build in range(WHEELS)]
        bulk.insert_rows(connection, schema.files, rows)
        requirements.add(connection, known)


def row(number: int, version: str, build: int, digest: bytes) -> dict[str, object]:
    """Return the row of a wheel; wheels of a release have the same metadata."""
    filename = f"project_{number}-{version}-{build + 1}-py3-none-any.whl"
    said = {"filename": filename, "url": f"http://127.0.0.1/{filename}", "size": 1000}
    sha256 = hashlib.sha256(filename.encode()).digest()
    return {
        "project_id": number + 1,
        "state": int(State.PUBLISHED),
        "run_id": 1,
        **said,
        "sha256": sha256,
        "metadata_sha256": digest,
    }


def closure(file: Path, python: Sequence[str], most: int) -> None:
    """Compute the closure in this process, and print what it took."""
    select = {"projects": [name_of(0)], "dependencies": "all", "max_dependencies": most}
    config = parse({"select": {**select, "python": list(python)}}, file.parent / "pypimirror.toml")
    relax_collector()  # as each command of the program does
    started, cpu = time.perf_counter(), time.process_time()
    catalog = Catalog.open(f"sqlite:///{file}", reading=True)
    with closing(catalog), catalog.read() as connection:
        known = compute(connection, config, Selection(config))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    found = {"seconds": seconds, "cpu": cpu, "peak": peak, "projects": len(known.closure.demands)}
    print(json.dumps(found))


def measure_closure(directory: Path, most: int, rounds: int) -> Iterator[str]:
    """Yield lines on the closure of a catalog."""
    file = directory / "catalog.sqlite"
    make_catalog(file, most)
    for said, python in (("4 Pythons", ["3.11", "3.12", "3.13", "3.14"]), ("undeclared", [])):
        found = []
        for _ in range(rounds):
            command = [sys.executable, "-m", "benchmarks.closure", "--compute", str(file)]
            cost = measure.run([*command, str(most), *python], env=dict(os.environ), cwd=tools.ROOT)
            if cost.status:
                raise SystemExit(cost.errors)
            found.append(json.loads(cost.output))
        assert {each["projects"] for each in found} == {most}
        seconds = statistics.median(each["seconds"] for each in found)
        cpu = statistics.median(each["cpu"] for each in found)
        peak = max(each["peak"] for each in found)
        reached = "yes" if seconds <= LIMITS[0] and peak <= LIMITS[1] else "NO"
        yield (
            f"closure of {most:,} projects, {most * RELEASES * WHEELS:,} files, {said}: "
            f"{seconds:.2f} s, {cpu:.2f} s of CPU (<= {LIMITS[0]:g} s), "
            f"{peak:.0f} MB (<= {LIMITS[1]:g} MB): {reached}"
        )


# Against morgan

#: By name of a program, what makes its command of its directory and the index.
Everyone = Mapping[str, Callable[[Path, str], list[str]]]


def make_corpus(directory: Path, most: int, releases: Sequence[int], wheels: int) -> Corpus:
    """Make an index of so many projects, each with these releases of so many wheels."""
    corpus = Corpus(directory, TINY)
    for number in range(most):
        corpus.serials[name_of(number)] = number + 1
        for release in releases:
            add_release(corpus, number, most, release, wheels)
    return corpus


def add_release(corpus: Corpus, number: int, most: int, release: int, wheels: int) -> None:
    """Add a release of a project. All of its releases require the same, as most do."""
    name, version = name_of(number), f"{release}.0"
    wanted = requires(random.Random(number), number, most)
    metadata = core_metadata(name, version, requires=wanted)
    for build in range(1, wheels + 1):
        filename, content = make_wheel(
            name, version, build=str(build), requires=wanted, padding=2000
        )
        path = corpus.directory / "packages" / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.with_name(f"{filename}.metadata").write_bytes(metadata)
        digests = [hashlib.sha256(each).hexdigest() for each in (content, metadata)]
        item = Item(name, version, filename, f"packages/{filename}", len(content), *digests)
        corpus.projects.setdefault(name, []).append(item)


def advance(corpus: Corpus, base: str, wheels: int) -> None:
    """Add a release of 1 % of the projects."""
    most = len(corpus.projects)
    for number in random.Random(2).sample(range(most), max(1, most // 100)):
        add_release(corpus, number, most, RELEASES + 1, wheels)
        corpus.serials[name_of(number)] += most
    corpus.generation += 1  # which the pages' time and ETag tell
    corpus.render(base)


def faults(home: Path, corpus: Corpus, *, whole: bool) -> Iterator[str]:
    """Yield what is wrong with a mirror; `whole` if it must have all files of the index.

    It follows the requirements of what is here in a plain way of its own, in Python 3.12 on Linux.
    """
    offered = {item.filename: item for item in corpus.items}
    held: dict[str, dict[Version, int]] = {}
    number = 0
    for path in home.rglob("*.whl"):
        item = offered[path.name]
        if hashlib.sha256(path.read_bytes()).hexdigest() != item.sha256:
            yield f"{path.name} has other bytes"
        held.setdefault(item.project, {})[Version(item.version)] = 1
        number += 1
    if whole and number != len(offered):
        yield f"{len(offered) - number} files are missing"
    parsed = cache(Requirement)
    waiting, seen = [(name_of(0), "")], {(name_of(0), "")}
    while waiting:
        name, extra = waiting.pop()
        project = int(name.rpartition("-")[2])
        for text in requires(random.Random(project), project, len(corpus.projects)):
            each = parsed(text)
            if each.marker and not each.marker.evaluate(ENVIRONMENT | {"extra": extra}):
                continue
            if not any(map(each.specifier.contains, held.get(each.name, ()))):
                yield f"{name} needs {each}"
            fresh = {(each.name, further) for further in ("", *each.extras)} - seen
            waiting += fresh
            seen |= fresh
    if len({name for name, _ in seen}) != len(corpus.projects):
        yield f"only {len(seen)} of {len(corpus.projects)} projects are needed"


def measure_morgan(directory: Path, most: int, slow: int) -> Iterator[str]:
    """Yield lines on the same closures mirrored by both."""
    if not (MORGAN / "bin" / "morgan").exists():
        yield "morgan: not installed; --install does that"
        return
    steps = ("first run", "again, nothing changed", "again, 1 % of the projects got a release")
    everyone: Everyone = {"pypimirror": ours, _TOLD: partial(theirs, most=most), _ALONE: theirs}
    corpus = make_corpus(directory / "corpus", most, range(1, RELEASES + 1), WHEELS)
    yield from measure_steps(directory / "fast", corpus, 0.0, steps, everyone)
    shutil.rmtree(corpus.directory)
    # Of one release, the newest version is all that is allowed: the second fits all requirements.
    corpus = make_corpus(directory / "slow-corpus", slow, [2], 1)
    everyone = {"pypimirror": ours, _ALONE: theirs}
    yield from measure_steps(directory / "slow", corpus, DELAY, steps[:1], everyone)


def measure_steps(
    directory: Path,
    corpus: Corpus,
    delay: float,
    steps: Sequence[str],
    everyone: Everyone,
) -> Iterator[str]:
    """Yield a line for each step of each program; the last step is after a change of the index."""
    is_single = len(corpus.items) == len(corpus.projects)  # else morgan alone takes fewer files
    with Server(corpus.directory, directory / "server", delay) as server:
        corpus.render(server.base)
        for number, step in enumerate(steps):
            if number == 2:
                advance(corpus, server.base, WHEELS)
            yield (
                f"{step}, {len(corpus.projects):,} projects, {len(corpus.items):,} files, "
                f"{delay * 1000:.0f} ms for each answer:"
            )
            first = 0.0
            for who, command in everyone.items():
                home = directory / who.replace(" ", "-")
                home.mkdir(exist_ok=True)
                cost = measure.run(
                    command(home, server.base),
                    env=dict(os.environ),
                    cwd=home,
                    timeout=_PATIENCE,
                    upstream=server.pids,
                )
                wrong = list(faults(home, corpus, whole=who != _ALONE or is_single))
                if cost.status or wrong:
                    raise SystemExit(f"{who}: {wrong[:3]} {cost.errors}")
                first = first or cost.seconds
                held = sum(1 for _ in home.rglob("*.whl"))
                yield (
                    f"  {who}: {cost.seconds:.2f} s, {cost.cpu:.2f} s of CPU, "
                    f"{cost.peak / 1e6:.0f} MB, {held:,} files: {cost.seconds / first:.1f} times"
                )


def ours(home: Path, base: str) -> list[str]:
    """Return the command that mirrors with pypimirror."""
    file = home / "pypimirror.toml"
    file.write_text(
        f'[mirror]\ndirectory = "mirror"\n[[upstream]]\nname = "bench"\nurl = "{base}/simple/"\n'
        f'[select]\nprojects = ["{name_of(0)}"]\ndependencies = "all"\npython = ["3.12"]\n'
        'platforms = ["manylinux_2_28_x86_64", "any"]\n'
    )
    return [sys.executable, "-m", "pypimirror", "sync", "--inline", "-q", "--config", str(file)]


def theirs(home: Path, base: str, most: int = 1) -> list[str]:
    """Return the command that mirrors with morgan, which is told the names of so many projects."""
    lines = [f"{key} = {value}" for key, value in ENVIRONMENT.items()]
    # With ">=0", it would skip what another project has required before.
    names = [f"{name_of(number)} = <1000" for number in range(most)]
    text = "\n".join(["[env.bench]", *lines, "[requirements]", *names])
    (home / "morgan.ini").write_text(text + "\n")
    command = [str(MORGAN / "bin" / "morgan"), "-i", str(home), "-I", f"{base}/simple/"]
    every = ["--mirror-all-versions"] if most > 1 else []
    return [*command, *every, "--mirror-all-wheels", "--skip-server-copy", "mirror"]


def install() -> None:
    """Put morgan into an environment of its own."""
    python = MORGAN / "bin" / "python"
    measure.run([sys.executable, "-m", "venv", str(MORGAN)], env=dict(os.environ), cwd=tools.ROOT)
    command = [str(python), "-m", "pip", "install", "-q", f"morgan=={_VERSION}"]
    done = measure.run(command, env=dict(os.environ), cwd=tools.ROOT)
    if done.status:
        raise SystemExit(done.errors)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closure", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small sizes, one round")
    parser.add_argument("--install", action="store_true", help="install morgan first")
    parser.add_argument("--storage", type=Path, help="where it all goes (default: memory)")
    parser.add_argument("--compute", nargs="+", help=argparse.SUPPRESS)
    found = parser.parse_args(arguments)
    if found.compute:
        file, most, *python = found.compute
        closure(Path(file), python, int(most))
        return
    if found.install:
        install()
    most, slow, rounds = (100, 20, 1) if found.smoke else (PROJECTS, SLOW, _ROUNDS)
    lines = []
    with working_directory(found.storage, "closure-") as base:
        for line in chain(measure_closure(base, most, rounds), measure_morgan(base, most, slow)):
            print(line, flush=True)
            lines.append(line)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "closure.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
