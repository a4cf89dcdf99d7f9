"""Power cuts, simulated: what a disk may hold when the power goes, given what was flushed.

`Recorder` writes down, before each step of a run, what has changed on disk since the step before.
`Recording` makes of that the states which a power cut may leave, step by step:

* what a flush has covered is there, as it was then;
* of each name that was made, replaced or removed since, any of its states since then may be there,
  whatever became of the others;
* bytes that were written since may be there, in part, or not at all, under whatever name;
* a directory that was made since may be missing, with all that is in it;
* of the commits to an SQLite catalog since, the first few may be there, as its log is in order.

That is more than any one file system does wrong.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CATALOG = ".pypimirror/catalog.sqlite"
LOG = CATALOG + "-wal"
_PRIVATE = {CATALOG, LOG, CATALOG + "-shm", ".pypimirror/lock"}

#: A file as it is at some time: its inode, and its content.
Version = tuple[int, bytes]


def snapshot(root: Path) -> tuple[dict[str, Version], set[str]]:
    """Every file and every directory below `root`."""
    files: dict[str, Version] = {}
    directories: set[str] = set()
    for where, names, found in os.walk(root):
        relative = os.path.relpath(where, root)
        prefix = "" if relative == "." else relative + "/"
        directories.update(prefix + name for name in names)
        for name in found:
            path = Path(where, name)
            files[prefix + name] = (path.stat().st_ino, path.read_bytes())
    return files, directories


class Recorder:
    """Called before each step: writes down what is new."""

    def __init__(self, root: Path, record: Path) -> None:
        self._root = root
        self._stream = record.open("wb")
        self._files: dict[str, Version] = {}

    def __call__(self, what: str, where: str) -> None:
        files, directories = snapshot(self._root)
        new = {name: version for name, version in files.items() if self._files.get(name) != version}
        gone = self._files.keys() - files.keys()
        pickle.dump((what, where, new, gone, directories), self._stream)
        self._stream.flush()
        self._files = files


@dataclass
class Moment:
    """What is about to happen, and what is on disk then."""

    what: str
    where: str
    files: dict[str, Version]
    directories: set[str]


@dataclass
class State:
    """What a power cut may leave."""

    label: str
    files: dict[str, bytes] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)

    def write(self, root: Path) -> None:
        """Make it."""
        root.mkdir(parents=True)
        for name in sorted(self.directories):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    @property
    def key(self) -> int:
        """The same for the same state."""
        return hash((frozenset(self.files.items()), frozenset(self.directories)))


class Recording:
    """A run, as `Recorder` has written it down."""

    def __init__(self, record: Path) -> None:
        self.moments: list[Moment] = []
        files: dict[str, Version] = {}
        with record.open("rb") as stream:
            while True:
                try:
                    what, where, new, gone, directories = pickle.load(stream)
                except EOFError:
                    break
                files = {n: v for n, v in files.items() if n not in gone} | new
                self.moments.append(Moment(what, where, files, directories))

    def states(self, cut: int, chances: random.Random, number: int) -> Iterator[State]:
        """Yield what the power may leave that goes before step `cut`: extremes, then `number`.

        All files as they were or as they are, these also torn, and with the catalog of the other
        time.
        """
        for name in (
            "old",
            "new",
            "torn",
            "behind",
            "ahead",
            *(f"chance {n}" for n in range(number)),
        ):
            yield _Cut(self, cut, name, chances).state()

    def flushed(self, cut: int, where: str) -> int:
        """The last step before `cut` that made the names in a directory, or a file, durable."""
        for number in range(cut - 1, 0, -1):
            moment = self.moments[number]
            if moment.what == "flush" or (moment.what == "sync" and moment.where == where):
                return number
        return 0


class _Cut:
    """One power cut and one disk's choice of what it keeps."""

    def __init__(self, recording: Recording, cut: int, name: str, chances: random.Random) -> None:
        self._recording = recording
        self._moments = recording.moments
        self._cut = cut
        self._name = name
        self._chances = chances

    def state(self) -> State:
        moments, cut = self._moments, self._cut
        moment = moments[cut]
        state = State(f"{self._name}, before {cut} ({moment.what} {moment.where})")
        lost = self._lost_directories(state)
        names = {name for m in moments[: cut + 1] for name in m.files} - _PRIVATE
        for name in sorted(names):
            version = self._version(name)
            if version is not None and not any(name.startswith(f"{d}/") for d in lost):
                state.files[name] = self._bytes(name, version)
        self._catalog(state)
        return state

    def _pick(self, first: int) -> int:
        """Choose a step from `first` to the cut."""
        extremes = {"new": self._cut, "torn": self._cut, "ahead": self._cut}
        extreme = {"old": first, "behind": first, **extremes}.get(self._name)
        return self._chances.randint(first, self._cut) if extreme is None else extreme

    def _lost_directories(self, state: State) -> set[str]:
        """Choose of the directories that are not durable; fill in those that are there."""
        lost = set()
        for name in sorted(set().union(*(m.directories for m in self._moments[: self._cut + 1]))):
            first = self._recording.flushed(self._cut, os.path.dirname(name))
            if name in self._moments[self._pick(first)].directories:
                state.directories.add(name)
            else:
                lost.add(name)
        return lost

    def _version(self, name: str) -> Version | None:
        first = self._recording.flushed(self._cut, os.path.dirname(name))
        return self._moments[self._pick(first)].files.get(name)

    def _bytes(self, name: str, version: Version) -> bytes:
        """What is left of bytes: all where they were flushed, in whatever place."""
        _, content = version
        for number in range(self._cut):
            moment = self._moments[number]
            everything = moment.what == "flush" or number == 0
            for other, found in moment.files.items():
                one = moment.what == "sync" and moment.where == other
                if found == version and (everything or one):
                    return content
        if self._name in ("old", "new", "behind", "ahead"):
            return content
        if self._name == "torn":
            return content[: len(content) // 2]
        kept = self._chances.choice([0, len(content) // 2, len(content)])
        return content[:kept] + self._chances.choice([b"", bytes(len(content) - kept)])

    def _catalog(self, state: State) -> None:
        first = self._recording.flushed(self._cut, LOG)
        chosen = {"behind": self._cut, "ahead": first}.get(self._name, self._pick(first))
        files = self._moments[chosen].files
        state.files.update({name: files[name][1] for name in (CATALOG, LOG) if name in files})
