"""The seeded corpus: files on disk, and the pages of an index about them.

Below the directory, as `upstream` serves it:

* `packages/<2>/<2>/<60>/<file>`: paths as a large public index has them
* `simple.json`, `part.json`: the list of projects with serials, and a list of some of them
* `pages/<project>.json`: the simple API's page
* `legacy/<project>.json`: the release document that bandersnatch reads

`advance` makes the next generation: one project in a hundred gets a new release.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from benchmarks import shapes
from benchmarks.archives import make_sdist, make_wheel
from benchmarks.shapes import Shape
from tests.corpus.fetch import APPLICATION, CORPUS, WHEELS

PART = 5  #: `part.json` has one project in this many
_PROCESSES = 2
_MOMENT = 1_700_000_000  #: seconds since the epoch: when generation 0 was written
_UPLOADED = "2024-01-02T03:04:05.678900Z"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the corpus."""

    project: str
    version: str
    filename: str
    path: str  #: below the corpus's directory
    size: int
    sha256: str
    metadata: str  #: sha256 of a wheel's METADATA, "" for others


@dataclass
class Corpus:
    """A corpus on disk, at one generation."""

    directory: Path
    shape: Shape
    seed: int = 1
    projects: dict[str, list[Item]] = field(default_factory=dict)
    serials: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    _base: str = ""

    @property
    def items(self) -> list[Item]:
        """All files."""
        return [item for items in self.projects.values() for item in items]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    @property
    def part(self) -> list[str]:
        """The projects of `part.json`."""
        return list(self.projects)[:: PART if len(self.projects) >= 10_000 else 1]

    def render(self, base: str) -> None:
        """Write all pages; links begin with `base`, the address of the server."""
        self._base = base
        for name in ("pages", "legacy"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
            (self.directory / name).mkdir()
        for name in self.projects:
            self._write_page(name)
        self._write_lists()

    def advance(self) -> list[str]:
        """Make the next generation; return the changed projects."""
        self.generation += 1
        chance = random.Random(f"{self.seed} generation {self.generation}")
        changed = chance.sample(sorted(self.projects), max(1, len(self.projects) // 100))
        newest = max(self.serials.values())
        size = min(30_000, self.shape.total // max(1, self.shape.files) or 30_000)
        for position, name in enumerate(changed, start=1):
            made = make_wheel(name, f"9{self.generation}.0", size)
            self.projects[name].append(store(self.directory, name, f"9{self.generation}.0", *made))
            self.serials[name] = newest + position
            self._write_page(name)
        self._write_lists()
        return changed

    def _write_page(self, name: str) -> None:
        items, serial = self.projects[name], self.serials[name]
        self._write(f"pages/{name}.json", page(name, items, serial, self._base))
        self._write(f"legacy/{name}.json", legacy(name, items, serial, self._base))

    def _write_lists(self) -> None:
        for path, names in (("simple.json", list(self.projects)), ("part.json", self.part)):
            self._write(path, listing({name: self.serials[name] for name in names}))

    def _write(self, path: str, content: bytes) -> None:
        """Write a page with a time of its own, because servers make its ETag from that time."""
        file = self.directory / path
        file.write_bytes(content)
        os.utime(file, (_MOMENT, _MOMENT + self.generation))


def listing(serials: dict[str, int]) -> bytes:
    """Return the list of projects."""
    meta = {"_last-serial": max(serials.values(), default=0), "api-version": "1.3"}
    entries = [{"_last-serial": serial, "name": name} for name, serial in serials.items()]
    return msgspec.json.encode({"meta": meta, "projects": entries})


def page(name: str, items: Sequence[Item], serial: int, base: str) -> bytes:
    """Return a project's page in the simple API's JSON."""
    files = [
        {
            "core-metadata": {"sha256": item.metadata} if item.metadata else False,
            "data-dist-info-metadata": {"sha256": item.metadata} if item.metadata else False,
            "filename": item.filename,
            "hashes": {"sha256": item.sha256},
            "requires-python": ">=3.8",
            "size": item.size,
            "upload-time": _UPLOADED,
            "url": f"{base}/{item.path}",
            "yanked": False,
        }
        for item in items
    ]
    meta = {"_last-serial": serial, "api-version": "1.3"}
    versions = list(dict.fromkeys(item.version for item in items))
    return msgspec.json.encode({"files": files, "meta": meta, "name": name, "versions": versions})


def legacy(name: str, items: Sequence[Item], serial: int, base: str) -> bytes:
    """Return a project's release document, without core metadata.

    So bandersnatch asks for no `.metadata` files, which is less work than pypimirror does.
    """
    releases: dict[str, list[dict[str, object]]] = {}
    for item in items:
        is_wheel = item.filename.endswith(".whl")
        release = {
            "core-metadata": False,
            "digests": {"sha256": item.sha256},
            "filename": item.filename,
            "packagetype": "bdist_wheel" if is_wheel else "sdist",
            "python_version": "py3" if is_wheel else "source",
            "requires_python": ">=3.8",
            "size": item.size,
            "upload_time": _UPLOADED[:19],
            "upload_time_iso_8601": _UPLOADED,
            "url": f"{base}/{item.path}",
            "yanked": False,
            "yanked_reason": None,
        }
        releases.setdefault(item.version, []).append(release)
    information = {"name": name, "version": items[-1].version, "requires_python": ">=3.8"}
    document = {"info": information, "last_serial": serial, "releases": releases, "urls": []}
    return msgspec.json.encode(document)


def store(
    directory: Path, project: str, version: str, filename: str, content: bytes, metadata: bytes
) -> Item:
    """Write a file of the corpus to the path that its digest gives."""
    digest = hashlib.sha256(content).hexdigest()
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"
    target = directory / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    proof = hashlib.sha256(metadata).hexdigest() if metadata else ""
    return Item(project, version, filename, path, len(content), digest, proof)


def build(directory: Path, shape: Shape, seed: int = 1) -> Corpus:
    """Write a corpus to `directory`; its pages are written by `Corpus.render`."""
    directory.mkdir(parents=True)
    corpus = Corpus(directory, shape, seed)
    for item in _real(directory, shape) if shape.real else _synthetic(directory, shape, seed):
        corpus.projects.setdefault(item.project, []).append(item)
    chance = random.Random(f"{seed} serials")
    serials = sorted(chance.sample(range(1_000_000, 30_000_000), len(corpus.projects)))
    corpus.serials = dict(zip(corpus.projects, serials, strict=True))
    return corpus


def _synthetic(directory: Path, shape: Shape, seed: int) -> Iterator[Item]:
    sizes = iter(shapes.sizes(shape, seed))
    plans = []
    for number, count in enumerate(shapes.counts(shape, seed)):
        name = f"bench-{number:05d}"
        files = []
        for position in range(count):
            is_wheel = shape.wheels_only or position % 3 < 2
            files.append((f"{1 + position // 3}.{position % 3}", next(sizes), is_wheel))
        plans.append((directory, name, files))
    with ProcessPoolExecutor(1 if shape.total > 100_000_000 * shape.files else _PROCESSES) as pool:
        for items in pool.map(_make, plans, chunksize=max(1, len(plans) // 200)):
            yield from items


def _make(plan: tuple[Path, str, list[tuple[str, int, bool]]]) -> list[Item]:
    directory, name, files = plan
    return [
        store(directory, name, version, *(make_wheel if is_wheel else make_sdist)(name, version, n))
        for version, n, is_wheel in files
    ]


def _real(directory: Path, shape: Shape) -> Iterator[Item]:
    """Take over the real files that the tests have fetched: wheels and sdists of some projects.

    With `wheels_only`, wheels, and also those of an application with all that it needs, and those
    that only the benchmark has: 200 if all are there.
    """
    from pypimirror.verify.wheels.core_metadata import read_metadata

    folders = [CORPUS, APPLICATION, WHEELS] if shape.wheels_only else [CORPUS]
    found = {path.name: path for each in folders if each.is_dir() for path in each.iterdir()}
    for _, path in sorted(found.items()):
        if shape.wheels_only and path.suffix != ".whl":
            continue
        if path.suffix == ".whl":
            name, version = parse_wheel_filename(path.name)[:2]
            metadata = read_metadata(path) or b""
        elif path.name.endswith((".tar.gz", ".zip")):
            name, version = parse_sdist_filename(path.name)
            metadata = b""
        else:
            continue
        content = path.read_bytes()
        project = canonicalize_name(name)
        yield store(directory, project, str(version), path.name, content, metadata)
