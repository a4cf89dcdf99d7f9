"""python -m benchmarks.closure: what a closure costs, and how long a mirror of one takes to make.

Two measurements:

* The closure of a catalog of 5,000 projects with 50,000 files, of which all metadata is here: time
  and peak memory of a process that opens the catalog, computes it, and ends.
* The same application mirrored by pypimirror and by morgan from the same index on loopback. Each
  project has one release, since morgan mirrors only the newest version of what others need; so both
  mirror the same files, and that is checked.

morgan is looked for as `.cache/morgan/bin/morgan`; `--install` puts it there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks import measure, tools
from benchmarks.__main__ import RESULTS
from benchmarks.corpus import Corpus, Item
from benchmarks.shapes import TINY
from benchmarks.upstream import Server
from pypimirror.catalog import bulk, schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import projects as queries
from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.states import State
from pypimirror.config.settings import parse
from pypimirror.domain.metadata.dependencies import Requirements
from pypimirror.pipeline.closure.known import compute
from pypimirror.select.selection import Selection
from pypimirror.system.memory import relax_collector
from tests.corpus.build import core_metadata, make_wheel

MORGAN = tools.ROOT / ".cache" / "morgan"
_VERSION = "0.15.0"
PROJECTS, RELEASES, WHEELS = 5_000, 5, 2  #: so 50,000 files
LIMITS = (3.0, 250.0)  #: seconds, megabytes
_ROUNDS = 5

#: As often as real metadata has them: three of four requirements are for extras.
_MARKERS = (
    *("", "", "", '; python_version < "3.11"', '; python_version >= "3.12"'),
    *('; sys_platform == "win32"', '; implementation_name == "cpython"'),
    *(f'; extra == "{extra}"' for extra in ("test", "docs", "dev", "all") * 5),
)
_NARROW = re.compile(r"(?<=[0-9a-z\]])(,?(<|~=|!=)[0-9.]+)+(?=;|$)|; (python|sys|impl).*$")
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
        queries.ensure(connection, map(queries.ProjectName, map(name_of, range(most))))
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


def make_corpus(directory: Path, most: int) -> Corpus:
    """Make an index of wheels with one release a project, and the JSON pages of it."""
    chance = random.Random(2)
    corpus = Corpus(directory, TINY)
    for number in range(most):
        name = name_of(number)
        # All that is required is met by the one release.
        wanted = [_NARROW.sub("", each) for each in requires(chance, number, most)]
        filename, content = make_wheel(name, "9.0", requires=wanted, padding=2000)
        metadata = core_metadata(name, "9.0", requires=wanted)
        path = directory / "packages" / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.with_name(f"{filename}.metadata").write_bytes(metadata)
        digests = [hashlib.sha256(each).hexdigest() for each in (content, metadata)]
        item = Item(name, "9.0", filename, f"packages/{filename}", len(content), *digests)
        corpus.projects[name], corpus.serials[name] = [item], number + 1
    return corpus


def measure_morgan(directory: Path, most: int, rounds: int) -> Iterator[str]:
    """Yield lines on the same application mirrored by both."""
    program = MORGAN / "bin" / "morgan"
    if not program.exists():
        yield "morgan: not installed; --install does that"
        return
    corpus = make_corpus(directory / "corpus", most)
    for delay in (0.0, 0.05):
        yield from measure_pair(directory, corpus, delay, rounds if not delay else 1)


def measure_pair(directory: Path, corpus: Corpus, delay: float, rounds: int) -> Iterator[str]:
    """Yield a line on both, with an index that takes so many seconds for each answer."""
    most = len(corpus.projects)
    times: dict[str, list[float]] = {"pypimirror": [], "morgan": []}
    cpu: dict[str, list[float]] = {who: [] for who in times}
    with Server(corpus.directory, directory / f"server-{delay}", delay) as server:
        corpus.render(server.base)
        for number in range(rounds):
            for who in times:
                home = directory / f"{who}-{number}"
                home.mkdir()
                command = ours(home, server.base) if who == "pypimirror" else theirs(home, server)
                cost = measure.run(command, env=dict(os.environ), cwd=home, upstream=server.pids)
                held = {path.name for path in home.rglob("*.whl")}
                if cost.status or held != {item.filename for item in corpus.items}:
                    raise SystemExit(f"{who}: {len(held)} of {most} files: {cost.errors}")
                times[who].append(cost.seconds)
                cpu[who].append(cost.cpu)
                shutil.rmtree(home)
    mine, other, cpu_mine, cpu_other = (
        statistics.median(found) for found in (*times.values(), *cpu.values())
    )
    reached = "yes" if other >= 10 * mine else "NO"
    yield (
        f"an application of {most:,} projects, {delay * 1000:.0f} ms for each answer: "
        f"pypimirror {mine:.2f} s ({cpu_mine:.2f} s of CPU), "
        f"morgan {_VERSION} {other:.2f} s ({cpu_other:.2f} s of CPU): {other / mine:.1f} times "
        f"(>= 10): {reached}"
    )


def ours(home: Path, base: str) -> list[str]:
    """Return the command that mirrors with pypimirror."""
    file = home / "pypimirror.toml"
    file.write_text(
        f'[mirror]\ndirectory = "mirror"\n[[upstream]]\nname = "bench"\nurl = "{base}/simple/"\n'
        f'[select]\nprojects = ["{name_of(0)}"]\ndependencies = "all"\npython = ["3.12"]\n'
    )
    return [sys.executable, "-m", "pypimirror", "sync", "--inline", "-q", "--config", str(file)]


def theirs(home: Path, server: Server) -> list[str]:
    """Return the command that mirrors with morgan."""
    (home / "morgan.ini").write_text(
        "[env.bench]\nos_name = posix\nsys_platform = linux\nplatform_machine = x86_64\n"
        "platform_python_implementation = CPython\nplatform_system = Linux\n"
        "python_version = 3.12\npython_full_version = 3.12.7\nplatform_release = 6\n"
        "platform_version = 6\nplatform_tag = linux-x86_64\nimplementation_name = cpython\n"
        f"implementation_version = 3.12.7\n[requirements]\n{name_of(0)} = >=0\n"
    )
    command = [str(MORGAN / "bin" / "morgan"), "-i", str(home), "-I", f"{server.base}/simple/"]
    return [*command, "--skip-server-copy", "mirror"]


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
    parser.add_argument("--compute", nargs="+", help=argparse.SUPPRESS)
    found = parser.parse_args(arguments)
    if found.compute:
        file, most, *python = found.compute
        closure(Path(file), python, int(most))
        return
    if found.install:
        install()
    most, application, rounds = (100, 20, 1) if found.smoke else (PROJECTS, 400, _ROUNDS)
    lines = []
    with tempfile.TemporaryDirectory(prefix="closure-") as directory:
        base = Path(directory)
        for line in measure_closure(base, most, rounds):
            print(line, flush=True)
            lines.append(line)
        for line in measure_morgan(base, application, min(rounds, 3)):
            print(line, flush=True)
            lines.append(line)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "closure.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
