"""python -m benchmarks.pages: the cost of the pages for people, at the size of a whole index.

It asks the program that makes pages, as the web server does, and counts the processor time of that
process by the kernel's clock. Nothing else of the machine is in that figure; with PostgreSQL, the
work of the database server is not in it either, so there the time by the clock counts, too. Each
page is asked for several times; the figure is the median of the times, after a first one. The
catalog is that of `benchmarks.scale`: with --keep, it is used again.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks import browsing, catalogs
from benchmarks.__main__ import working_directory
from benchmarks.catalogs import FULL
from benchmarks.growth import Bench, Step
from benchmarks.report import columns
from benchmarks.rounds import tell
from benchmarks.scale import server
from pypimirror.config.settings import load
from pypimirror.serve.pages.messages import PageRequest, encode, read_answer

#: Milliseconds that each kind of page may take, and bytes of a first visit.
PROJECT, SEARCH, STATUS, FIRST = 5.0, 50.0, 100.0, 50_000


class Figure(NamedTuple):
    """The cost of a page in milliseconds, and the bytes that are sent."""

    cpu: float
    clock: float
    size: int
    body: bytes = b""  #: compressed


class Pages:
    """The program that makes pages, with the configuration file of a mirror."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-P", "-m", "pypimirror.serve.pages.program", str(config)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
        )
        self.ask("/")  # until then, it starts
        with suppress(PermissionError):  # or the clock tells what other programs do
            os.setpriority(os.PRIO_PROCESS, self._child.pid, os.getpriority(os.PRIO_PROCESS, 0))

    def ask(self, path: str, query: str = "") -> Figure:
        """Ask for a page once. Raises `ValueError` if its status is not 200."""
        assert self._child.stdin
        assert self._child.stdout
        cpu, clock = self._cpu(), time.perf_counter()
        self._child.stdin.write(
            encode(PageRequest(path, query, "http://mirror.test/", False)) + b"\n"
        )
        self._child.stdin.flush()
        answer = read_answer(self._child.stdout.readline())
        body = self._child.stdout.read(answer.length)
        clock = time.perf_counter() - clock
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status}: {gzip.decompress(body)[-2000:]!r}")
        return Figure((self._cpu() - cpu) * 1e3, clock * 1e3, len(body), body)

    def _cpu(self) -> float:
        """Return the seconds for which its thread has had a processor."""
        return int(Path(f"/proc/{self._child.pid}/schedstat").read_text().split()[0]) / 1e9

    def close(self) -> None:
        """End the program."""
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait()


def questions(projects: int) -> dict[str, str]:
    """Return searches that are usual, and those that are hard, by what they are."""
    name = catalogs.name_of(projects // 2)
    rare = browsing.word(20_000)
    return {
        "a name": name,
        "the beginning of a name": name[:8],
        "a name with a wrong letter": f"{name[:9]}~{name[10:]}".replace("~", "q"),
        "the beginning of all names": "scale",
        "two letters": "sc",
        "one letter": "s",
        "a rare word": rare,
        "a frequent word": "python",
        "three frequent words": "library for python",
        "the beginning of a frequent word": "pytho",
        "two frequent words that are never together": "even odd",
        "a frequent and a rare word": f"library {rare}",
        "words that nothing has": "nothing-has-these words",
        "five frequent words": " ".join(browsing.word(rank) for rank in range(5)),
    }


def measure(config: Path, rounds: int, projects: int) -> Iterator[tuple[str, Figure, float]]:
    """Yield what was asked for, its cost, and the limit in milliseconds; 0: there is none."""
    with _program(config) as pages:
        static = sum(pages.ask(f"/{path}").size for path in _static(pages))
        yield "style and script, once", Figure(0, 0, static), 0
        yield "front page", _often(pages, rounds, [("/", "")]), 0
        for size in browsing.SIZES:
            paths = [f"/project/{browsing.name_of(size, n)}/" for n in range(browsing.EACH)]
            first = _median([pages.ask(path) for path in paths])
            yield f"project of {size} files, its description for the first time", first, 0
            yield (
                f"project of {size} files",
                _often(pages, rounds, [(p, "") for p in paths]),
                PROJECT,
            )
        popular = f"/project/{catalogs.name_of(0)}/"
        yield "project that very many require", _often(pages, rounds, [(popular, "")]), PROJECT
        for what, question in questions(projects).items():
            asked = [("/search", urlencode({"q": question}))]
            yield f"search: {what}", _often(pages, rounds, asked), SEARCH
        yield "status", _often(pages, rounds, [("/status", "")]), STATUS
        yield "status as JSON", _often(pages, rounds, [("/status.json", "")]), STATUS
        run = "/status/runs/looked-at-499"
        yield "a run with 2,000 failures", _often(pages, rounds, [(run, "")]), STATUS
        yield "feed of new files", _often(pages, rounds, [("/feed/updates.xml", "")]), 0


def _static(pages: Pages) -> set[str]:
    """Return the addresses of what the front page loads."""
    front = gzip.decompress(pages.ask("/").body).decode()
    return set(re.findall(r'"\./(static/[^"]+)"', front))


def _often(pages: Pages, rounds: int, asked: Sequence[tuple[str, str]]) -> Figure:
    """Ask for each page once, and then all of them so many times; return the medians."""
    for each in asked:
        pages.ask(*each)
    return _median([pages.ask(*each) for _ in range(rounds) for each in asked])


def _median(found: list[Figure]) -> Figure:
    cpu, clock, size = (statistics.median(each[n] for each in found) for n in range(3))
    return Figure(cpu, clock, int(size))


@contextmanager
def _program(config: Path) -> Iterator[Pages]:
    pages = Pages(config)
    try:
        yield pages
    finally:
        pages.close()


def table(database: str, found: list[tuple[str, Figure, float]]) -> str:
    """Return the figures as text."""
    rows = [(database, "CPU ms", "ms", "KB sent", "at most ms", "")]
    for what, figure, limit in found:
        spent = figure.clock if database == "postgresql" else figure.cpu
        verdict = ("" if spent <= limit else "NO") if limit else ""
        rows.append(
            (
                what,
                f"{figure.cpu:.1f}",
                f"{figure.clock:.1f}",
                f"{figure.size / 1e3:.1f}",
                f"{limit:g}" if limit else "",
                verdict,
            )
        )
    return columns(rows)


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; return 1 if a page costs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    add = parser.add_argument
    add("--share", type=float, default=1.0, help="size as a share of a whole public index")
    add("--rounds", type=int, default=9)
    add("--database", action="append", choices=["sqlite", "postgresql"])
    add("--storage", type=Path, help="where everything goes (default: memory)")
    add("--keep", type=Path, metavar="DIR", help="keep the catalogs here, and use them again")
    options = parser.parse_args(arguments)
    wrong = False
    for database in options.database or ["sqlite", "postgresql"]:
        projects, files = (max(20, int(number * options.share)) for number in FULL)
        with ExitStack() as stack:
            if options.keep:
                directory = options.keep.absolute() / f"{database}-{projects}"
                directory.mkdir(parents=True, exist_ok=True)
            else:
                directory = stack.enter_context(working_directory(options.storage, "pages-"))
            url = "sqlite"
            if database == "postgresql":
                directory.chmod(0o755)  # the server runs as another user
                url = stack.enter_context(server(directory / "postgresql"))
            bench = Bench(Step(database, projects, files), directory, url, 1)
            with bench.prepared():
                tell(f"{database}: adding what people look at")
                browsing.fill(load(bench.config))
                found = list(measure(bench.config, options.rounds, projects))
        text = table(database, found)
        wrong = wrong or "NO" in text
        print(text)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
