"""python -m benchmarks.on_demand: pypimirror on demand, devpi-server and proxpi, in turn.

The upstream answers after 20 ms, and sends 1 Gbit/s: over loopback alone, a file comes as fast as
memory is copied, which no line does. In each round, each server starts empty. Then uv installs an
application of some 50 real projects through it, a client repeats the same requests for a while, and
a client downloads one file of 500 MB. "direct" does the same without a server between. Each page
also lists 60 older releases, as pages of real projects do.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import uv

from benchmarks import corpus, measure, proxies, requester, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.archives import make_wheel
from benchmarks.proxies import DEVPI, DIRECT, OURS, PROXPI, Proxy, Running
from benchmarks.report import columns
from benchmarks.rounds import tell
from benchmarks.upstream import Server
from tests.corpus import application, fetch
from tests.environment import isolated
from tests.simulator.directory import parse_sdist, parse_wheel, read_metadata

DELAY = 0.02
RATE = 125_000_000  #: bytes a second of an answer of the upstream
OLDER = 60  #: releases of each project that are on its page, and that nobody asks for
_IDLE = 3  #: seconds without work after which a server has settled
LARGE = "large"  #: the project with the large file
JSON = "application/vnd.pypi.simple.v1+json"

#: What is measured, with its unit and whether a lower value is better.
COLD, COLD_CPU = "cold install, s", "its CPU in the server, s"
PAGES, PAGES_CPU = "warm pages, 1/s", "CPU of a page, µs"
FILES, FILES_CPU = "warm files, 1/s", "CPU of a file, µs"
BIG, MEMORY = "large file, s", "largest process, MB"
MEASURES = (COLD, COLD_CPU, PAGES, PAGES_CPU, FILES, FILES_CPU, BIG, MEMORY)

Values = dict[tuple[str, str], list[float]]  #: by contestant and measure: one for each round


def build(directory: Path, size: int) -> tuple[list[str], int]:
    """Write the upstream; return the application's projects, and the size of the large file."""
    (directory / "pages").mkdir(parents=True)
    items: dict[str, list[corpus.Item]] = defaultdict(list)
    for path in sorted(fetch.APPLICATION.iterdir()):
        if path.suffix not in (".whl", ".gz"):
            continue
        name, version = (parse_wheel if path.suffix == ".whl" else parse_sdist)(path.name)[:2]
        metadata = read_metadata(path) or b"" if path.suffix == ".whl" else b""
        made = (path.name, path.read_bytes(), metadata)
        items[name].append(_stored(directory, name, str(version), *made))
    names = sorted(items)
    items[LARGE].append(_stored(directory, LARGE, "1.0", *make_wheel(LARGE, "1.0", size)))
    for name, files in items.items():
        older = [] if name == LARGE else [_older(name, number) for number in range(OLDER)]
        page = corpus.page(name, [*older, *files], 1, "../..")
        (directory / "pages" / f"{name}.json").write_bytes(page)
    (directory / "simple.json").write_bytes(corpus.listing(dict.fromkeys(items, 1)))
    return names, items[LARGE][0].size


def _stored(
    directory: Path, name: str, version: str, filename: str, content: bytes, metadata: bytes
) -> corpus.Item:
    item = corpus.store(directory, name, version, filename, content, metadata)
    if metadata:
        (directory / f"{item.path}.metadata").write_bytes(metadata)
    return item


def _older(name: str, number: int) -> corpus.Item:
    digest = random.Random(f"{name} {number}").randbytes(32).hex()
    version = f"0.0.{number}"
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"
    return corpus.Item(name, version, filename, path, 100_000, digest, digest)


def newest(index: str, project: str) -> str:
    """Return the address of the last file on a project's page."""
    page = urljoin(index, f"{project}/")
    with urlopen(Request(page, headers={"Accept": JSON})) as answer:
        return urljoin(page, str(json.load(answer)["files"][-1]["url"]))


def download(url: str, size: int) -> float:
    """Download a file, as clients do: redirects are followed. Return the seconds it took."""
    began, received = time.perf_counter(), 0
    buffer = memoryview(bytearray(1 << 20))
    with urlopen(url, timeout=300) as answer:
        while count := answer.readinto(buffer):
            received += count
    if received != size:
        raise SystemExit(f"{url}: {received:,} bytes instead of {size:,}")
    return time.perf_counter() - began


def install(home: Path, index: str, server: int) -> tuple[float, float]:
    """Install the application with uv; return its seconds and the server's CPU seconds."""
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--default-index", index]
    command += ["--target", str(home / "installed"), *application.own()]
    before = measure.cpu_of(measure.tree(server)) if server else 0.0
    cost = measure.run(command, env=isolated(HOME=str(home)), cwd=home, timeout=120)
    after = measure.cpu_of(measure.tree(server)) if server else 0.0
    if cost.status:
        raise SystemExit(f"uv failed on {index}: {cost.errors}")
    return cost.seconds, after - before


def warm(running: Running, urls: list[str], count: int) -> tuple[float, float]:
    """Repeat requests that were answered before; return requests a second, CPU µs for each."""
    for url in urls:
        with urlopen(Request(url, headers={"Accept": f"{JSON}, */*;q=0.1"})) as answer:
            answer.read()
    before = measure.cpu_of(measure.tree(running.pid))
    seconds = requester.repeat(urls, count)
    cpu = measure.cpu_of(measure.tree(running.pid)) - before
    return count / seconds, cpu / count * 1e6


def largest(pid: int) -> float:
    """Return the largest peak of a process of a server in MB; of ours, that of the fetcher."""
    peaks: dict[bool, float] = {}
    for each in measure.tree(pid):
        is_fetcher = b"pypimirror.on_demand" in Path(f"/proc/{each}/cmdline").read_bytes()
        peak = measure.resident_peak(each) / 1e6
        peaks[is_fetcher] = max(peaks.get(is_fetcher, 0.0), peak)
    return peaks.get(True, peaks[False])


def wait_placed(pages: Path, names: list[str]) -> None:
    """Wait until projects are on pages of the mirror itself: with them, it is served alone."""
    deadline = time.monotonic() + 60
    while not all((pages / name / "index.v1_json").exists() for name in names):
        if time.monotonic() > deadline:
            raise SystemExit("the mirror does not have all that was fetched")
        time.sleep(0.1)


def wait_idle(server: int) -> None:
    """Wait until a server has done nothing for as long as a file counts as just changed."""
    idle, before = 0, measure.cpu_of(measure.tree(server))
    while idle < _IDLE:
        time.sleep(1)
        now = measure.cpu_of(measure.tree(server))
        idle, before = (0 if now - before > 0.01 else idle + 1), now


def trial(
    proxy: Proxy, home: Path, upstream: str, names: list[str], options: argparse.Namespace
) -> Iterator[tuple[str, str, float]]:
    """Yield what one server did in one round, as contestant, measure and value."""
    with proxy.start(home, upstream) as running:
        newest(running.url, LARGE)  # it has started, and is empty but for this page
        seconds, cpu = install(home, running.url, running.pid)
        yield proxy.name, COLD, seconds
        if running.pid:
            yield proxy.name, COLD_CPU, cpu
            if proxy.name == OURS:  # else the fetcher would work beside what follows
                for project in names:
                    urlopen(newest(running.url, project)).close()
                wait_placed(home / "mirror" / "simple", names)
                wait_idle(running.pid)
            yield from repeated(proxy.name, running, names, options.requests)
        yield proxy.name, BIG, download(newest(running.url, LARGE), options.size)
        if running.pid:
            yield proxy.name, MEMORY, largest(running.pid)


def repeated(
    name: str, running: Running, names: list[str], count: int
) -> Iterator[tuple[str, str, float]]:
    """Yield how fast pages and files are that were asked for before."""
    pages = [urljoin(running.url, f"{project}/") for project in names]
    files = [newest(running.url, project) for project in names]
    for urls, each, cost in ((pages, PAGES, PAGES_CPU), (files, FILES, FILES_CPU)):
        rate, cpu = warm(running, urls, count)
        yield name, each, rate
        yield name, cost, cpu


def median(values: Values, name: str, of: str) -> float | None:
    """Return the median of the rounds; None if it was not measured."""
    found = values.get((name, of))
    return statistics.median(found) if found else None


#: What is compared, with whom, the goal, and whether more is better. What a hit costs more than
#: without on demand, `benchmarks.hits` measures.
GOALS = (
    ("cold install against direct", COLD, DIRECT, 1.15, False),
    ("cold install against devpi-server", COLD, DEVPI, 1.0, False),
    ("cold install against proxpi", COLD, PROXPI, 1.0, False),
    ("warm pages a second against devpi-server", PAGES, DEVPI, 3.0, True),
    ("warm files a second against devpi-server", FILES, DEVPI, 3.0, True),
    ("large file against direct", BIG, DIRECT, 1.1, False),
)
MOST_MEMORY = 80.0  #: MB of the fetcher


def report(values: Values) -> str:
    """Return tables of the medians and of the goals."""
    names = list(dict.fromkeys(name for name, _ in values))
    lines = [("", *names, "")]
    for each in MEASURES:
        found = (median(values, name, each) for name in names)
        lines.append((each, *("-" if v is None else f"{v:,.2f}" for v in found), ""))
    goals = [("goal", "wanted", "measured", "reached")]
    for said, of, other, limit, more in GOALS:
        mine, theirs = median(values, OURS, of), median(values, other, of)
        sign = "≥" if more else "≤"
        if not mine or not theirs:
            goals.append((said, f"{sign} {limit:g} x", "-", "not measured"))
            continue
        ratio = mine / theirs
        reached = ratio >= limit if more else ratio <= limit
        goals.append((said, f"{sign} {limit:g} x", f"{ratio:.2f} x", "yes" if reached else "NO"))
    memory = median(values, OURS, MEMORY)
    if memory is not None:
        reached = "yes" if memory <= MOST_MEMORY else "NO"
        goals.append(
            ("memory of the fetcher", f"≤ {MOST_MEMORY:g} MB", f"{memory:.0f} MB", reached)
        )
    return f"{columns(lines)}\n\n{columns(goals)}"


def compare(directory: Path, options: argparse.Namespace) -> Values:
    """Run all rounds; each server starts once in each round."""
    values: Values = defaultdict(list)
    names, options.size = build(directory / "upstream", options.size)
    with Server(directory / "upstream", directory / "server", DELAY, rate=options.rate) as server:
        taking_part = []
        for proxy in proxies.ALL:
            if options.contestant and proxy.name not in options.contestant:
                continue
            if why := proxy.missing():
                tell(f"{proxy.name}: {why}")
            else:
                taking_part.append(proxy)
        for number in range(options.rounds):
            for proxy in taking_part:
                home = directory / f"{proxy.name}-{number}"
                home.mkdir()
                upstream = f"{server.base}/simple/"
                for name, each, value in trial(proxy, home, upstream, names, options):
                    values[name, each].append(value)
                    tell(f"round {number + 1}: {name}: {each}: {value:,.2f}")
                shutil.rmtree(home)
    return values


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_demand", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="default: 5")
    add("--size", type=int, default=500_000_000, help="bytes of the large file")
    add("--rate", type=int, default=RATE, help="bytes a second of an answer; 0: no limit")
    add("--requests", type=int, default=3000, help="warm requests of each kind (default: 3000)")
    everybody = [proxy.name for proxy in proxies.ALL]
    add("--contestant", action="append", choices=everybody, help="only this one; may be repeated")
    add("--install", action="store_true", help="install devpi-server and proxpi first")
    add("--storage", type=Path, help="where the servers keep their files (default: memory)")
    add("--output", type=Path, default=RESULTS, help="where the report goes")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not fetch.is_fetched(fetch.APPLICATION):
        sys.exit("run python -m tests.corpus.fetch application")
    if options.install:
        fetch.fetch(fetch.SERVERS)
        tools.install_proxpi()
    with working_directory(options.storage, "pypimirror-on-demand-") as directory:
        values = compare(directory, options)
    facts = ", ".join(f"{key} {value}" for key, value in tools.facts().items())
    text = (
        f"{facts}; medians of {options.rounds} rounds, {options.size:,} bytes\n\n{report(values)}"
    )
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "on_demand.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
