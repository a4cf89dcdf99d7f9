"""The list of all projects that clients may ask for, merged from the upstreams' lists.

`python -P -m pypimirror.on_demand.index` reads lists that were fetched and writes the index. It is
a process of its own, because a list of a million projects takes hundreds of megabytes, and the
fetcher lives long.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from pypimirror.config.settings import Config
from pypimirror.domain.model import Problem, ProjectName, PypimirrorError
from pypimirror.download.protocol import FetchList, ListResult
from pypimirror.on_demand.messages import Away, Final, Here
from pypimirror.on_demand.store import Store
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.run import Run
from pypimirror.render import rendering
from pypimirror.render.pages import RootEntry
from pypimirror.select.selection import policy
from pypimirror.system import regular
from pypimirror.upstream.listing import parse_list

#: The list is asked for only with this entry; else the mirror's own index is right.
ALL = "*"


@dataclass(frozen=True)
class _Order:
    """The order to the child process."""

    config: Config
    lists: tuple[tuple[str, str, str], ...]  #: path, content type and address of each list
    targets: dict[str, Path]  #: by form


class Index:
    """The list of all projects. One thread at a time may use it."""

    def __init__(self, run: Run, store: Store) -> None:
        self._run = run
        self._store = store
        self._fresh = run.config.on_demand.fresh.total_seconds()
        self._good_until = 0.0

    def answer(self) -> Final:
        """Return the answer to a question for the list of all projects."""
        if ALL not in self._run.config.on_demand.projects:
            return Here(0, seconds=self._fresh)
        path = self._store.directory / "simple"
        left = self._good_until - time.monotonic()
        if left > 0:
            return Here(0, str(path), left)
        found, problem = self._fetch()
        if problem is not None:
            told = f"The list of projects could not be read: {problem.message}"
            if self._good_until:
                return Here(0, str(path), warning=told)
            return Away(0, told)
        self._write(found)
        self._good_until = time.monotonic() + self._fresh
        return Here(0, str(path), self._fresh)

    def _fetch(self) -> tuple[list[tuple[str, str, str]], Problem | None]:
        """Fetch the lists of all upstreams that have one."""
        asked = [
            each for each in self._run.config.upstream if each.has_list and kind_of(each).has_pages
        ]
        jobs = [
            FetchList(number, each.name, each.url, str(self._store.parts / f"list.{number}"))
            for number, each in enumerate(asked)
        ]
        found = []
        for result in self._run.pools.fetcher.run(jobs):
            assert isinstance(result, ListResult)
            if result.problem is not None:
                return [], result.problem
            found.append((jobs[result.id].path, result.content_type, result.url))
        return found, None

    def _write(self, lists: list[tuple[str, str, str]]) -> None:
        names = self._store.new_index(self._run.config.publish.formats)
        order = _Order(self._run.config, tuple(lists), names)
        child = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=pickle.dumps(order),
            capture_output=True,
            check=False,
        )
        if child.returncode:
            raise PypimirrorError(child.stderr.decode("utf-8", "replace").strip()[-2000:])
        self._store.show_index(names.values())


def main() -> None:
    """Merge lists, and write the index in each form."""
    order: _Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the same program
    allowed = policy(order.config)
    names: set[str] = set()
    for path, content_type, url in order.lists:
        for each in parse_list(regular.read(path), content_type, url).projects:
            try:
                name = canonicalize_name(each.name, validate=True)
            except InvalidName:
                continue
            if allowed.project(ProjectName(name)):
                names.add(name)
    entries = [RootEntry(name, None) for name in sorted(names)]
    for form, target in order.targets.items():
        chunks = rendering.root(
            rendering.ROOT_FORMS[form], entries, api_version=(1, 0), serial=None
        )
        with open(regular.create(str(target)), "wb") as stream:  # noqa: PTH123
            stream.writelines(chunks)


if __name__ == "__main__":
    main()
