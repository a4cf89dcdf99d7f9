"""python -m benchmarks.people: what people who look at pages take from the simple API.

wrk asks for pages of projects as fast as answers come, in short turns: alone, and while 20 people
look at other pages. The web server with all its processes has a core for itself and fills it; wrk
and the people share another one, which they do not fill. So what two turns differ by is what the
server pays for people, and nothing of what asking costs. On a server with an idle core it is less.
On a busy machine, turns differ by more than that; so people are also alone with the server for a
while, to count the CPU time of their clicks.

A person clicks once in some seconds, on a connection that stays open. A browser keeps what it may
keep: style and script for a year, a page for as long as the server says; then it asks whether the
page has changed.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks import corpus, measure, proxies, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.report import columns, likely
from benchmarks.rounds import tell
from benchmarks.serving import SHAPE, Tree, load, serving
from benchmarks.upstream import Server

PEOPLE = 20
#: Seconds between two clicks of a person, on average.
PAUSE = 5.0
_CONNECTIONS = 64
_MAX_AGE = 30.0  #: seconds for which a browser shows a page again without a request


class Turn(NamedTuple):
    """What one turn of wrk found."""

    rate: float  #: requests a second
    cpu: float  #: seconds of the web server for each of them
    pages: float  #: share of the core that the process that makes pages took


class Person(threading.Thread):
    """Somebody with a browser, who looks at pages while `looking` is set."""

    def __init__(
        self, url: str, projects: Sequence[str], pause: float, looking: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self.seconds: list[float] = []  #: that each click took
        self.failed = 0
        self._projects = projects
        self._pause = pause
        self._looking = looking
        self._draw = random.Random(id(self))
        self._kept: dict[str, tuple[str, float]] = {}  # ETag and time, by address
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)

    def run(self) -> None:
        """Click again and again."""
        while True:
            time.sleep(self._draw.uniform(0.2, 1.8) * self._pause)
            self._looking.wait()
            self._click(self._choice())

    def _choice(self) -> str:
        """Return an address: half of them are pages of projects, a third are searches."""
        project = self._draw.choice(self._projects)
        chosen = self._draw.random()
        if chosen < 0.5:
            return f"/project/{project}/"
        if chosen < 0.8:
            return f"/search?q={project[: self._draw.randint(2, 12)]}"
        return "/" if chosen < 0.9 else "/status"

    def _click(self, path: str) -> None:
        etag, at = self._kept.get(path, ("", -math.inf))
        began = time.monotonic()
        if began - at < _MAX_AGE:
            return
        headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        try:
            self._connection.request("GET", path, headers=headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self.failed += 1
            return
        self.failed += answer.status not in (200, 304)
        self.seconds.append(time.monotonic() - began)
        self._kept[path] = (answer.headers.get("ETag", ""), began)


def turn(running: proxies.Running, tree: Tree, directory: Path, seconds: int) -> Turn:
    """Let wrk ask for as long as said."""
    makers = [pid for pid in measure.tree(running.pid) if pid != running.pid]
    began, cpu = time.monotonic(), measure.cpu_of(makers)
    rate, each = load(
        running, directory, tree.paths["pages"], _CONNECTIONS, seconds, first_only=True
    )
    return Turn(rate, each, (measure.cpu_of(makers) - cpu) / (time.monotonic() - began))


def clicks_alone(
    running: proxies.Running, people: Sequence[Person], looking: threading.Event, seconds: float
) -> tuple[float, float]:
    """Let people look without wrk; return the CPU seconds of a click: web server, making pages."""
    makers = [pid for pid in measure.tree(running.pid) if pid != running.pid]
    before = sum(len(person.seconds) for person in people)
    server, making = measure.cpu_of([running.pid]), measure.cpu_of(makers)
    looking.set()
    time.sleep(seconds)
    looking.clear()
    clicks = sum(len(person.seconds) for person in people) - before
    server, making = measure.cpu_of([running.pid]) - server, measure.cpu_of(makers) - making
    return server / clicks, making / clicks


@contextmanager
def on_cores(running: proxies.Running) -> Iterator[None]:
    """Give one core to the web server, and another one to everything that asks."""
    mine = os.sched_getaffinity(0)
    serving_on, *others = sorted(mine)
    for process in measure.tree(running.pid):
        for task in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), {serving_on})
    os.sched_setaffinity(0, others[:1] or mine)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def compare(tree: Tree, directory: Path, options: argparse.Namespace) -> str:
    """Take turns, and return a report."""
    pairs: list[tuple[Turn, Turn]] = []
    looking = threading.Event()
    with serving(tree, directory / "p", tools.ROOT, 1) as running, on_cores(running):
        people = [Person(running.url, tree.projects, options.pause, looking) for _ in range(PEOPLE)]
        people[0]._click("/")  # starts the process that makes pages
        makers = [pid for pid in measure.tree(running.pid) if pid != running.pid]
        tell(f"pages are made at nice {[os.getpriority(os.PRIO_PROCESS, p) for p in makers]}")
        for person in people:
            person.start()
        each = clicks_alone(running, people, looking, options.alone)
        for number in range(options.pairs):
            found = {}
            for with_people in (number % 2 == 0, number % 2 == 1):
                if with_people:
                    looking.set()
                found[with_people] = turn(running, tree, directory, options.seconds)
                looking.clear()
            pairs.append((found[False], found[True]))
            alone, beside = pairs[-1]
            tell(f"{beside.rate / alone.rate:.3f} of {alone.rate:,.0f}/s; {beside.pages:.1%} pages")
    return report(pairs, people, each)


def report(
    pairs: Sequence[tuple[Turn, Turn]], people: Sequence[Person], each: tuple[float, float]
) -> str:
    """Return the figures as text. `each` is what `clicks_alone` returned."""
    ratios = sorted(beside.rate / alone.rate for alone, beside in pairs)
    costs = [beside.cpu / alone.cpu for alone, beside in pairs]
    shares = [beside.pages for _, beside in pairs]
    clicks = sorted(seconds for person in people for seconds in person.seconds)
    failed = sum(person.failed for person in people)
    low, high = likely(ratios)
    server, making = (f"{seconds * 1e3:.1f}" for seconds in each)
    rows = [
        ("simple API with people, against without", f"{statistics.median(ratios):.3f} x"),
        ("  95 % sure that it is between", f"{low:.3f} and {high:.3f} x"),
        ("  single pairs", f"{ratios[0]:.3f} to {ratios[-1]:.3f} x, {len(ratios)} of them"),
        ("requests a second without people", f"{statistics.median(p[0].rate for p in pairs):,.0f}"),
        ("CPU of the web server for each, with against without", f"{_median(costs):.3f} x"),
        ("share of the core that making pages took", f"{_median(shares):.1%}"),
        ("CPU of a click, without wrk", f"{server} ms in the web server, {making} ms beside it"),
        ("clicks", f"{len(clicks)}, {failed} failed"),
        ("seconds of a click, median, longest", f"{_median(clicks):.3f}, {clicks[-1]:.3f}"),
    ]
    return columns([("", ""), *rows])


_median = statistics.median


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__)
    add = parser.add_argument
    add("--pairs", type=int, default=30, help="of turns (default: 30)")
    add("--seconds", type=int, default=3, help="of a turn (default: 3)")
    add("--pause", type=float, default=PAUSE, help="between clicks of a person (default: 5)")
    add("--alone", type=float, default=30.0, help="seconds for people without wrk (default: 30)")
    add("--output", type=Path, default=RESULTS, help="where the report goes")
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("needs wrk, which Debian has as a package")
    with working_directory(None, "pypimirror-people-") as directory:
        made = corpus.build(directory / "corpus", SHAPE)
        with Server(directory / "corpus", directory / "server") as server:
            made.render(server.base)
            tree = Tree(directory / "tree", f"{server.base}/simple/", sorted(made.projects))
            found = compare(tree, directory, options)
    facts = ", ".join(f"{key} {value}" for key, value in tools.facts().items())
    print(text := f"{facts}\n\n{found}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "people.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
