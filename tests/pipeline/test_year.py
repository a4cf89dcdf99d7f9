"""A year of an index in fast motion: after each sync the mirror is what a model of it says.

The model shares nothing with the program: it keeps its own book of what happened upstream, and of
what the mirror promised about it.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from pypimirror.pipeline import sequence
from pypimirror.pipeline.run import Run
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, reasons
from tests.sampling import sample
from tests.simulator import Simulator
from tests.simulator.index import EPOCH

DAY = 86400.0


@dataclass
class Project:
    """What the index says of one project."""

    status: str = "active"
    reason: str | None = None
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  #: what a page says of each


@dataclass
class Model:
    """The index, and what a mirror of it must look like."""

    projects: dict[str, Project] = field(default_factory=dict)
    listed: set[str] | None = None  #: where the list lags behind: what it names
    lagging: dict[str, Project] = field(default_factory=dict)  #: pages that lag behind
    pages: dict[str, Project] = field(default_factory=dict)  #: of the mirror, after the last sync
    held: dict[str, set[str]] = field(default_factory=dict)  #: bytes of the mirror
    pinned: dict[str, str] = field(default_factory=dict)  #: the digest that each name came with
    changed: set[str] = field(default_factory=set)  #: names whose digest has changed
    #: Projects whose files are to stay at the index, as the mirror's operator says.
    metadata_only: set[str] = field(default_factory=set)

    def sync(self) -> None:
        """Bring the mirror up to date."""
        self.changed = set()
        before = self.pages
        known = set(before) | (self.list() if self.listed is None else self.listed)
        self.pages = {
            name: self._page(name, before.get(name, Project()), self.lagging.get(name, project))
            for name, project in self.projects.items()
            if name in known
        }
        for name in list(self.held):
            if name not in self.pages:
                del self.held[name]
        for name, page in self.pages.items():
            if page.status != "quarantined":
                self.held[name] = {f for f, said in page.files.items() if not said["elsewhere"]}

    def list(self) -> set[str]:
        """What the index lists: a project in quarantine is not there."""
        return {name for name, p in self.projects.items() if p.status != "quarantined"}

    def _page(self, name: str, before: Project, offered: Project) -> Project:
        page = Project(offered.status, offered.reason)
        if offered.status == "quarantined":
            return page
        for filename, said in offered.files.items():
            if self.pinned.setdefault(filename, said["sha256"]) == said["sha256"]:
                page.files[filename] = {**said, "elsewhere": name in self.metadata_only}
            else:
                self.changed.add(filename)
                if filename in before.files:  # the file that was verified stays, as it was
                    page.files[filename] = before.files[filename]
        return page


class Year:
    """Events, each told to the simulator and to the model."""

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self.simulator = simulator
        self.model = Model()
        self.random = random.Random(seed)
        self.uploads = 0

    def happen(self) -> str:
        """Let something happen; return what."""
        events = (
            *(self.birth, *[self.release] * 4, self.remove, self.upload_again, self.delete),
            *(self.yank, self.unyank, self.narrow, self.rename),
            *(self.archive, self.quarantine, self.clear),
            *(self.list_lags, self.page_lags, self.caught_up, self.switch),
        )
        event: Callable[[], str] = self.random.choice(events)
        return event()

    def _some(self, *, with_files: bool = False) -> str | None:
        names = [
            name
            for name, project in self.model.projects.items()
            if name not in self.model.lagging and (project.files or not with_files)
        ]
        return self.random.choice(names) if names else None

    def _file(self) -> tuple[str, str] | None:
        name = self._some(with_files=True)
        return name and (name, self.random.choice(sorted(self.model.projects[name].files)))  # type: ignore[return-value]

    def birth(self) -> str:
        name = f"project-{self.random.randrange(12)}"
        self.model.projects.setdefault(name, Project())
        self.simulator.project(name)
        return f"{name} is born: {self._upload(name)}"

    def release(self) -> str:
        name = self._some()
        return f"{name}: {self._upload(name)}" if name else "nothing to release"

    def _upload(self, name: str) -> str:
        version = f"{self.random.randrange(4)}.{self.random.randrange(10)}"
        filename, content = make_wheel(name, version, files={"n": str(self.uploads).encode()})
        if filename in self.model.projects[name].files:
            return "is there already"
        self.uploads += 1
        self._offer(name, filename, content)
        return f"{filename} is uploaded"

    def _offer(self, name: str, filename: str, content: bytes) -> None:
        file = self.simulator.add_file(name, filename, content, core_metadata=True)
        self.model.projects[name].files[filename] = {
            "sha256": file.sha256, "yanked": False, "requires-python": None,
            "upload-time": file.upload_time,
        }  # fmt: skip

    def yank(self) -> str:
        return self._say("yanked", self.random.choice([True, "broken", "<b>bad</b>"]))

    def unyank(self) -> str:
        return self._say("yanked", False)

    def narrow(self) -> str:
        return self._say("requires-python", self.random.choice([None, ">=3.8", ">=3.12,<4"]))

    def _say(self, key: str, value: object) -> str:
        found = self._file()
        if found is None:
            return "no file to speak of"
        name, filename = found
        self.model.projects[name].files[filename][key] = value
        file = self.simulator.project(name).file(filename)
        file.set(**{key.replace("-", "_"): value or None})
        return f"{filename}: {key} is {value!r}"

    def remove(self) -> str:
        found = self._file()
        if found is None:
            return "no file to remove"
        name, filename = found
        del self.model.projects[name].files[filename]
        self.simulator.project(name).file(filename).remove()
        return f"{filename} is removed"

    def upload_again(self) -> str:
        found = self._file()
        if found is None:
            return "no file to upload again"
        name, filename = found
        said = self.model.projects[name].files.pop(filename)
        file = self.simulator.project(name).file(filename)
        file.remove()
        version = filename.split("-")[1]
        self.uploads += 1
        _, content = make_wheel(name, version, files={"n": str(self.uploads).encode()})
        self._offer(name, filename, content)
        assert said["sha256"] != self.model.projects[name].files[filename]["sha256"]
        return f"{filename} is uploaded again, with other bytes"

    def archive(self) -> str:
        return self._status("archived", moves_serial=False)

    def quarantine(self) -> str:
        return self._status("quarantined", moves_serial=True)

    def clear(self) -> str:
        return self._status("active", moves_serial=True)

    def _status(self, status: str, *, moves_serial: bool) -> str:
        name = self._some()
        if name is None:
            return "no project to mark"
        reason = self.random.choice([None, "so it is"]) if status != "active" else None
        project = self.model.projects[name]
        project.status, project.reason = status, reason
        self.simulator.project(name).set_status(status, reason, moves_serial=moves_serial)
        return f"{name} is {status}"

    def delete(self) -> str:
        name = self._some()
        if name is None or self.random.random() < 0.5:
            return "nothing is deleted"
        del self.model.projects[name]
        self.simulator.delete_project(name)
        return f"{name} is deleted"

    def rename(self) -> str:
        name = self._some()
        if name:
            self.simulator.project(name).name = name.upper().replace("-", "_")
            self.simulator.project(name).touch()
        return f"{name} is written otherwise"

    def list_lags(self) -> str:
        self.simulator.freeze()
        self.model.listed = self.model.list()
        return "the list lags behind"

    def page_lags(self) -> str:
        name = self._some()
        if name is None:
            return "no page to lag"
        self.simulator.freeze(f"/simple/{name}/")
        self.model.lagging[name] = copy.deepcopy(self.model.projects[name])
        self._upload(name)  # which the page does not show yet
        return f"the page of {name} lags behind"

    def switch(self) -> str:
        name = f"project-{self.random.randrange(12)}"
        self.model.metadata_only ^= {name}
        return f"{name} is {'' if name in self.model.metadata_only else 'not '}metadata-only"

    def caught_up(self) -> str:
        self.simulator.thaw()
        self.model.listed = None
        self.model.lagging.clear()
        return "all caches are fresh"


def shown(mirror: Mirror) -> dict[str, Project]:
    """What the mirror says."""
    found = {}
    for name in mirror.projects:
        page = mirror.page(name)
        status = page["project-status"]
        found[name] = Project(status["status"], status.get("reason"))
        for file in page["files"]:
            found[name].files[file["filename"]] = {
                "sha256": file["hashes"]["sha256"],
                "yanked": file["yanked"],
                "requires-python": file.get("requires-python"),
                "upload-time": file.get("upload-time"),
                "elsewhere": file["url"].startswith("http"),
            }
    return found


def on_disk(mirror: Mirror) -> set[str]:
    """The files below packages/."""
    packages = mirror.root / "packages"
    return {str(p.relative_to(packages)) for p in packages.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", sample(range(int(os.environ.get("YEARS", "2"))), 0))
def test_after_each_sync_of_a_year_the_mirror_is_what_the_model_says(
    mirror: Mirror, simulator: Simulator, seed: int
) -> None:
    mirror.upstreams[0]["recheck"] = "1s"  # so that a status is seen at once
    mirror.configure(delete={"grace": "0s", "max_share": 1.0, "max_count": 10_000})
    year = Year(simulator, seed)
    day = 0.0
    story: list[str] = []
    for _ in range(30):
        story += [year.happen() for _ in range(year.random.randrange(1, 12))]
        day += year.random.uniform(0.1, 24)
        mirror.select(metadata_only=sorted(year.model.metadata_only))

        def work(run: Run, day: float = day) -> None:
            sequence.sync(replace(run, now=EPOCH.timestamp() + day * DAY))

        result = mirror.sync(work=work)
        year.model.sync()
        told = "; ".join(story[-60:])
        assert shown(mirror) == year.model.pages, told
        failures = reasons(result.failures)
        if not year.model.list() or year.model.listed is not None:
            failures.pop("", None)  # a list that is empty, or behind the pages, is told
        assert failures == dict.fromkeys(year.model.changed, "digest-changed"), told
        held = {f"{name}/{f}" for name, files in year.model.held.items() for f in files}
        assert on_disk(mirror) == held | {f"{path}.metadata" for path in held}, told
        story.append("sync")
