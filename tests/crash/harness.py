"""What tests of crashes share: runs in a process that may die, mirrors to compare, scenarios."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mirror import Mirror, attest, offer, offer_sdist
from tests.pipeline.asked.clients import ask
from tests.simulator import Simulator

#: Columns that say when, how often or by which run, and not what; digests of pages, which are held
#: against each other themselves.
_WHEN = {
    *("id", "run_id", "stamp", "proven_at", "withdrawn_at", "checked_at", "attempts"),
    *("next_try", "last_error", "page_stamp", "page_sha256", "read_at"),
}

#: Beginnings of the names of marks that no two mirrors, or runs, have in common.
_OWN = (
    *("recheck ", "statistics", "at rest", "root index seen", "generation"),
    *("list read ", "replaced"),  # these have the id of a run
)


class Victim:
    """Talks to `tests.crash.victim`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, mirror: Mirror, **job: Any) -> dict[str, Any]:
        """Do a run; see `tests.crash.victim` for what a job may say."""
        self.begin(mirror, **job)
        return self.answer()

    def begin(self, mirror: Mirror, **job: Any) -> None:
        """Begin a run."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"config": str(mirror.file), **job}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for what the run says next."""
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer.get("state") != "raised", answer["message"]
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def kill_with_children(pid: int) -> None:
    """SIGKILL a process and all its children, at one moment."""
    os.kill(pid, signal.SIGSTOP)
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    for each in (pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def copy_of(mirror: Mirror, base: Path) -> Mirror:
    """The same mirror somewhere else."""
    copy = Mirror(base, *mirror.simulators, **mirror.sections)
    copy.links_away = mirror.links_away
    if mirror.root.exists():
        shutil.copytree(mirror.root, copy.root, symlinks=True)
    return copy


def held(mirror: Mirror) -> set[str]:
    """The files that the catalog calls verified and that are what it says."""
    file = mirror.root / ".pypimirror" / "catalog.sqlite"
    if not file.exists():
        return set()
    if not mirror.query("SELECT name FROM sqlite_master WHERE name = 'files'"):
        return set()
    rows = mirror.query(
        "SELECT name, filename, sha256 FROM files JOIN projects ON projects.id = project_id "
        "WHERE files.state IN (2, 3)"
    )
    return {row["filename"] for row in rows if row["sha256"] == sha256_of(mirror, row)}


def sha256_of(mirror: Mirror, row: sqlite3.Row) -> bytes | None:
    """The digest of a file on disk."""
    path = mirror.root / "packages" / row["name"] / row["filename"]
    return hashlib.sha256(path.read_bytes()).digest() if path.exists() else None


def served(mirror: Mirror) -> dict[str, bytes]:
    """Everything that a web server would serve."""
    return {
        str(path.relative_to(mirror.root)): path.read_bytes()
        for top in ("simple", "packages")
        for path in (mirror.root / top).rglob("*")
        if path.is_file()
    }


def known(mirror: Mirror) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the catalog knows of projects and files, without when and by which run."""
    with closing(sqlite3.connect(mirror.root / ".pypimirror" / "catalog.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        names = {row["id"]: row["name"] for row in connection.execute("SELECT * FROM projects")}
        found = {}
        for table in ("projects", "files", "refusals", "lists", "marks", "asked"):
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            found[table] = sorted(
                (
                    tuple(
                        (key, names[row[key]] if key == "project_id" else row[key])
                        for key in row.keys()  # noqa: SIM118 - a row yields values
                        if key not in _WHEN
                    )
                    for row in rows
                    if table != "marks" or not row["name"].startswith(_OWN)
                ),
                key=repr,
            )
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """What is not as it should be: as it is, and as it should be."""
    return {
        key: (found.get(key), expected.get(key))
        for key in found.keys() | expected.keys()
        if found.get(key) != expected.get(key)
    }


def without_serials(differs: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """What differs in more than the serials of our pages."""
    pattern = r"_last-serial.{2,3}\d+|SERIAL \d+|'page_serial', \d+"
    texts = {
        key: [re.sub(pattern, "", repr(each)) for each in pair] for key, pair in differs.items()
    }
    return {key: differs[key] for key, (found, expected) in texts.items() if found != expected}


def leftovers(mirror: Mirror) -> list[str]:
    """What should be in the private directory of no mirror that is at rest."""
    return [path.name for path in (mirror.root / ".pypimirror" / "staging").iterdir()]


@dataclass
class Scenario:
    """A mirror before a run, the run, and the mirror after it where nothing came in between."""

    victim: Victim
    mirror: Mirror  #: before
    command: str
    fetched: set[str]  #: what the run has to download
    steps: int = 0
    after: dict[str, bytes] = field(default_factory=dict)
    knows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)  #: what is to be repaired
    #: Whether the serials of our pages are certain: one that is repaired moves on when its file
    #: is taken off, which is not needed any more where a killed run had begun.
    serials: bool = True

    def undisturbed(self, base: Path, **job: Any) -> dict[str, Any]:
        """Do the run to its end; remember what comes of it."""
        self.wrong = set(self.mirror.faults(agree=False))
        mirror = copy_of(self.mirror, base)
        answer = self.victim.run(mirror, command=self.command, **{"warm": True} | job)
        assert answer["state"] == "completed", answer
        mirror.check()
        assert leftovers(mirror) == []
        self.steps = answer["steps"]
        self.after, self.knows = served(mirror), known(mirror)
        return answer

    def resume(self, mirror: Mirror, said: str) -> None:
        """Hold a mirror whose run has ended somehow against promises 1 to 4."""
        (simulator,) = mirror.simulators
        assert set(mirror.faults(agree=False)) <= self.wrong, said
        before = held(mirror)
        simulator.forget()
        answer = self.victim.run(mirror, command=self.command)
        assert answer["state"] == "completed", f"{said}: {answer}"
        self.compare(mirror, said)
        again = [name for name in before if simulator.downloads(name)]
        assert again == [], f"{said}: verified, and downloaded again"
        states = [row["state"] for row in mirror.query("SELECT state FROM runs ORDER BY id")]
        assert states[-1] == "completed" and "running" not in states, said

    def compare(self, mirror: Mirror, said: str) -> None:
        """Hold a mirror whose run has done everything against the undisturbed one."""
        mirror.check()
        differs = differences(served(mirror), self.after) | differences(known(mirror), self.knows)
        assert not (differs if self.serials else without_serials(differs)), f"{said}: {differs}"
        assert leftovers(mirror) == [], said


Prepare = Callable[[Victim, Simulator, Path], Scenario]


def first_sync(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """Nothing is there yet."""
    (wheel,) = offer(simulator, "six", "1.0")
    attest(wheel)
    sdist = offer_sdist(simulator, "idna", "1.0")
    mirror = Mirror(base, simulator, mirror={"reserve": 0}, delete={"grace": "0s"})
    return Scenario(victim, mirror, "sync", {wheel.filename, sdist.filename})


def update(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """A new file, a file that is yanked, attestations that come late, and a new project."""
    (old,) = offer(simulator, "six", "1.0")
    (late,) = offer(simulator, "idna", "1.0")
    mirror = Mirror(base, simulator, mirror={"reserve": 0}, delete={"grace": "0s"})
    assert victim.run(mirror)["state"] == "completed"
    old.yank("broken")
    attest(late)
    (new,) = offer(simulator, "six", "2.0")
    (other,) = offer(simulator, "attrs", "1.0")
    return Scenario(victim, mirror, "sync", {new.filename, other.filename})


def removal(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """A removed file and a deleted project, while a new file comes."""
    gone, _ = offer(simulator, "six", "1.0", "1.1")
    attest(gone)
    offer(simulator, "idna", "1.0")
    mirror = Mirror(
        base, simulator, mirror={"reserve": 0}, delete={"grace": "0s", "max_share": 1.0}
    )
    assert victim.run(mirror)["state"] == "completed"
    gone.remove()
    (new,) = offer(simulator, "six", "2.0")
    simulator.delete_project("idna")
    return Scenario(victim, mirror, "sync", {new.filename})


def repair(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """A file with a flipped bit, one that is lost, what is beside one, and a page."""
    bad, lost = offer(simulator, "six", "1.0", "1.1")
    (bare,) = offer(simulator, "idna", "1.0")
    (doubtful,) = offer(simulator, "idna", "1.1")
    attest(bad)
    attest(doubtful)
    offer(simulator, "attrs", "1.0")
    mirror = Mirror(base, simulator, mirror={"reserve": 0}, delete={"grace": "0s"})
    assert victim.run(mirror)["state"] == "completed"
    content = bytearray(mirror.path(bad).read_bytes())
    content[len(content) // 2] ^= 1
    mirror.path(bad).write_bytes(content)
    mirror.path(lost).unlink()
    beside = mirror.path(bare)
    beside.with_name(f"{beside.name}.metadata").unlink()
    beside = mirror.path(doubtful)
    beside.with_name(f"{beside.name}.provenance").write_bytes(b"rot")
    (mirror.root / "simple" / "attrs" / "index.html").write_text("<p>mine</p></html>")
    return Scenario(victim, mirror, "repair", {bad.filename, lost.filename}, serials=False)


def lost_catalog(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """The catalog is gone, and of the files one is damaged and one is missing."""
    bad, lost, _ = offer(simulator, "six", "1.0", "1.1", "1.2")
    offer_sdist(simulator, "idna", "1.0", digests=("md5",))
    mirror = Mirror(base, simulator, delete={"grace": "0s"})
    assert victim.run(mirror)["state"] == "completed"
    shutil.rmtree(mirror.root / ".pypimirror")
    content = bytearray(mirror.path(bad).read_bytes())
    content[len(content) // 2] ^= 1
    mirror.path(bad).write_bytes(content)
    mirror.path(lost).unlink()
    return Scenario(victim, mirror, "sync", {bad.filename, lost.filename}, serials=False)


def linking(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """A project that is held becomes metadata-only, while another comes."""
    (old,) = offer(simulator, "six", "1.0")
    attest(old)
    offer(simulator, "idna", "1.0")
    mirror = Mirror(base, simulator, mirror={"reserve": 0}, delete={"grace": "0s"})
    assert victim.run(mirror)["state"] == "completed"
    offer(simulator, "six", "2.0")
    (new,) = offer(simulator, "attrs", "1.0")
    mirror.select(metadata_only=["six"])
    return Scenario(victim, mirror, "sync", {new.filename})


def holding(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """A metadata-only project is to be held; one of its files is gone upstream, one is new."""
    old, gone = offer(simulator, "six", "1.0", "1.1")
    attest(old)
    mirror = Mirror(base, simulator, mirror={"reserve": 0}, delete={"grace": "0s"})
    mirror.select(metadata_only=["*"])
    assert victim.run(mirror)["state"] == "completed"
    gone.remove()
    (new,) = offer(simulator, "six", "2.0")
    mirror.select()
    return Scenario(victim, mirror, "sync", {old.filename, new.filename})


def eviction(victim: Victim, simulator: Simulator, base: Path) -> Scenario:
    """Of the files that clients asked for, two take too much room; a selected one is new."""
    offer(simulator, "attrs", "1.0")
    old, stays = offer(simulator, "six", "1.0", "2.0")
    (last,) = offer(simulator, "idna", "1.0")
    attest(old)
    mirror = Mirror(
        base,
        simulator,
        on_demand={"projects": ["*"], "keep": "0s"},
        select={"projects": ["attrs"]},
        mirror={"reserve": 0},
        delete={"grace": "0s"},
    )
    for at, file in enumerate((old, last, stays)):
        ask(mirror, file, at=1.7e9 + at)
    assert victim.run(mirror)["state"] == "completed"
    (new,) = offer(simulator, "attrs", "2.0")
    mirror.configure(on_demand={"max_size": len(stays.content)})
    return Scenario(victim, mirror, "sync", {new.filename})


SCENARIOS: dict[str, Prepare] = {
    "first": first_sync,
    "update": update,
    "removal": removal,
    "repair": repair,
    "lost": lost_catalog,
    "linking": linking,
    "holding": holding,
    "eviction": eviction,
}
