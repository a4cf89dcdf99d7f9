"""Fetch what the tests need from outside, once, with pip: the set-up step of `make test`.

python -m tests.corpus.fetch

Below `.cache`: `corpus` has real wheels and sdists (projects.txt), `application` those of an
application with all that it needs (application.txt), `pips` has wheels of three recent versions of
pip, `servers` is an environment with index servers that others wrote, and `bandersnatch` one with
that, empty where no Python is new enough. Each is stamped with the digest of its list; a second
call does nothing. No test fetches anything itself. `wheels` has further wheels (wheels.txt) for the
benchmark, which fetches them with `--install`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.utils import parse_wheel_filename

from tests.corpus import pythons

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache"
CORPUS, PIPS, SERVERS = CACHE / "corpus", CACHE / "pips", CACHE / "servers"
APPLICATION = CACHE / "application"
BANDERSNATCH = CACHE / "bandersnatch"
WHEELS = CACHE / "wheels"

PIP_VERSIONS = ("24.3.1", "25.3", "26.3")
SERVER_PACKAGES = ("pypiserver==2.4.2", "devpi-server==6.20.3", "devpi-client==7.2.0")
BANDERSNATCH_PACKAGES = ("bandersnatch==8.2.0",)
BANDERSNATCH_PYTHON = (3, 12)  #: the oldest that it runs on
BACKENDS = ("flit-core", "hatchling", "setuptools", "wheel")

Wanted = dict[str, list[tuple[str, str]]]  #: kind of file to projects and versions


def wanted(file: str = "projects.txt") -> Wanted:
    """What a list asks for."""
    found: Wanted = {"wheel": [], "pure": [], "sdist": []}
    for line in (HERE / file).read_text().splitlines():
        requirement, *kinds = line.partition("#")[0].split() or [""]
        name, _, version = requirement.partition("==")
        for kind in kinds:
            found[kind].append((name, version))
    return found


def rounds(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Requirements in groups that name no project twice, as one call of pip wants them."""
    groups: list[dict[str, str]] = []
    for name, version in pairs:
        group = next((group for group in groups if name not in group), None)
        if group is None:
            groups.append(group := {})
        group[name] = f"{name}=={version}"
    return [list(group.values()) for group in groups]


def pip(*arguments: str | Path, python: Path | None = None) -> None:
    """Run pip, quietly unless it fails."""
    interpreter = [f"--python={python}"] if python else []
    command = [sys.executable, "-m", "pip", *interpreter, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise SystemExit(f"fetch: pip failed: {' '.join(map(str, arguments))}\n{said}")


def download(target: Path, groups: list[list[str]], kind: str, python: Path | None = None) -> None:
    """Download one kind of file of every group, several groups at a time.

    A wheel is one for this machine; "pure" is one for all machines where there are others.
    """
    only = "--no-binary=:all:" if kind == "sdist" else "--only-binary=:all:"
    options = ["download", "--quiet", "--no-deps", only, "--dest", str(target)]
    if kind == "pure":
        options += ["--platform", "any"]
    if kind == "sdist":
        options.append("--no-build-isolation")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda group: pip(*options, *group, python=python), groups))


def make_environment(directory: Path, interpreter: str = sys.executable) -> Path:
    """A virtual environment without pip; its interpreter."""
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([interpreter, "-m", "venv", "--without-pip", directory], check=True)
    return directory / "bin" / "python"


def fetch_corpus(target: Path) -> None:
    """Wheels first: the build backends among them are what pip needs to look into sdists."""
    kinds = wanted()
    download(target, rounds(kinds["wheel"]), "wheel")
    python = make_environment(CACHE / "builder")
    pip("install", "--quiet", "--no-index", "--find-links", target, *BACKENDS, python=python)
    download(target, rounds(kinds["sdist"]), "sdist", python)
    shutil.rmtree(CACHE / "builder")


def fetch_application(target: Path) -> None:
    """Of the one project that is not pure Python, the wheel for this machine; and its sdist."""
    kinds = wanted("application.txt")
    download(target, rounds(kinds["wheel"]), "wheel")
    download(target, rounds(kinds["pure"]), "pure")
    python = make_environment(CACHE / "application-builder")
    pip("install", "--quiet", "setuptools", python=python)
    download(target, rounds(kinds["sdist"]), "sdist", python)
    shutil.rmtree(CACHE / "application-builder")


def fetch_wheels(target: Path) -> None:
    """The further wheels of the benchmark, with these bytes: others would change what it says."""
    digests = dict(wheel_digests())
    pairs = [parse_wheel_filename(name)[:2] for name in digests]
    download(target, rounds((project, str(version)) for project, version in pairs), "pure")
    for name, digest in digests.items():
        if hashlib.sha256((target / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"fetch: {name} has other bytes than wheels.txt says")


def wheel_digests() -> Iterator[tuple[str, str]]:
    """Names and digests of wheels.txt."""
    for line in (HERE / "wheels.txt").read_text().splitlines():
        if not line.startswith("#"):
            digest, name = line.split()
            yield name, digest


def fetch_pips(target: Path) -> None:
    """The versions of pip that the tests install with."""
    download(target, [[f"pip=={version}"] for version in PIP_VERSIONS], "wheel")


def fetch_servers(target: Path) -> None:
    """An environment with index servers."""
    pip("install", "--quiet", *SERVER_PACKAGES, python=make_environment(target))


def fetch_bandersnatch(target: Path) -> None:
    """An environment with bandersnatch; nothing where no Python is new enough."""
    if (interpreter := pythons.newest(BANDERSNATCH_PYTHON)) is not None:
        environment = make_environment(target, interpreter)
        pip("install", "--quiet", *BANDERSNATCH_PACKAGES, python=environment)


def digest_of(*texts: str) -> str:
    """A stamp for what a directory was made from."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


STAMPS: dict[Path, Callable[[], str]] = {
    CORPUS: lambda: digest_of((HERE / "projects.txt").read_text()),
    APPLICATION: lambda: digest_of((HERE / "application.txt").read_text(), sys.version),
    PIPS: lambda: digest_of(*PIP_VERSIONS),
    SERVERS: lambda: digest_of(*SERVER_PACKAGES, sys.version),
    BANDERSNATCH: lambda: digest_of(
        *BANDERSNATCH_PACKAGES, str(pythons.newest(BANDERSNATCH_PYTHON) is not None)
    ),
    WHEELS: lambda: digest_of((HERE / "wheels.txt").read_text()),
}
FETCHERS: dict[Path, Callable[[Path], None]] = {
    CORPUS: fetch_corpus,
    APPLICATION: fetch_application,
    PIPS: fetch_pips,
    SERVERS: fetch_servers,
    BANDERSNATCH: fetch_bandersnatch,
    WHEELS: fetch_wheels,
}


def is_fetched(directory: Path) -> bool:
    """Whether a directory is there, complete, and made from the list as it is now."""
    stamp = directory / ".stamp"
    return stamp.is_file() and stamp.read_text() == STAMPS[directory]()


def fetch(directory: Path) -> bool:
    """Fetch a directory unless it is there; True if there was anything to do."""
    if is_fetched(directory):
        return False
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    FETCHERS[directory](directory)
    (directory / ".stamp").write_text(STAMPS[directory]())
    return True


def describe(directory: Path) -> str:
    """One line on what a directory has."""
    if directory == SERVERS:
        return f"{directory.name}: {', '.join(SERVER_PACKAGES)}"
    if directory == BANDERSNATCH:
        is_there = (directory / "bin" / "bandersnatch").is_file()
        said = "" if is_there else "nothing, since there is no Python for "
        return f"{directory.name}: {said}{', '.join(BANDERSNATCH_PACKAGES)}"
    files = [path for path in directory.iterdir() if path.name != ".stamp"]
    size = sum(path.stat().st_size for path in files)
    return f"{directory.name}: {len(files)} files, {size / 1e6:.1f} MB"


def main() -> None:
    """Fetch what is named on the command line, such as `corpus`, or else all that tests need."""
    for name in sys.argv[1:] or [path.name for path in FETCHERS if path != WHEELS]:
        directory = CACHE / name
        if directory not in FETCHERS:
            raise SystemExit(f"fetch: no {name}; there are {[p.name for p in FETCHERS]}")
        did = "fetched" if fetch(directory) else "already there"
        print(f"{describe(directory)} ({did})", flush=True)


if __name__ == "__main__":
    main()
