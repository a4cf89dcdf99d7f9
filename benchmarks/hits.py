"""python -m benchmarks.hits: what a hit on demand costs more than a hit of the mirror without.

Two web servers serve the same directory: one on demand, where everybody has asked for everything
and the fetcher has come to rest, and one that only serves what is here. So they send the same
bytes. They take turns at the same number of requests, over connections that stay open, with the
headers of uv, of pip, and of pip when it asks whether what it has is still good. Each pair of turns
gives a ratio. The CPU time is that of the whole server, the fetcher included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from benchmarks import corpus, measure, proxies, requester, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.on_demand import wait_idle, wait_placed
from benchmarks.report import columns, likely
from benchmarks.rounds import tell
from benchmarks.shapes import Shape
from benchmarks.upstream import Server

SHAPE = Shape("hits", 200, 800, 60_000_000)

GOAL = 1.05  #: CPU of a hit on demand against one without

_UV = (
    'User-Agent: uv/0.9.5 {"installer":{"name":"uv","version":"0.9.5"},"python":"3.13.1"}\r\n'
    "Accept: application/vnd.pypi.simple.v1+json, text/html;q=0.01\r\n"
    "Accept-Encoding: gzip, br\r\n"
)
_PIP = (
    'User-Agent: pip/25.3 {"ci":null,"cpu":"x86_64","implementation":{"name":"CPython"}}\r\n'
    "Accept-Encoding: gzip, deflate\r\n"
    "Accept: application/vnd.pypi.simple.v1+json, text/html; q=0.01\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
)
_AGAIN = 'If-None-Match: "0"\r\nIf-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n'
HEADERS = {"uv": _UV, "pip": _PIP, "pip, again": _PIP + _AGAIN}


class Turn(NamedTuple):
    """What one turn found."""

    rate: float  #: requests a second
    cpu: float  #: seconds for each of them


Pairs = dict[str, list[tuple[Turn, Turn]]]  #: by kind of hit: on demand, and without


def turn(running: proxies.Running, urls: Sequence[str], headers: str, count: int) -> Turn:
    """Ask `count` times."""
    pids = measure.tree(running.pid)
    before = measure.cpu_of(pids)
    seconds = requester.repeat(urls, count, headers)
    return Turn(count / seconds, (measure.cpu_of(pids) - before) / count)


def addresses(running: proxies.Running, projects: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the addresses of all pages, and then of all files."""
    pages = [f"{running.url}{name}/" for name in projects]
    return pages + [running.url.replace("/simple/", f"/packages/{path}") for path in files]


def compare(directory: Path, options: argparse.Namespace) -> Pairs:
    """Let the two servers take turns."""
    made = corpus.build(directory / "corpus", SHAPE)
    home = directory / "mirror-on-demand"
    home.mkdir()
    pairs: Pairs = defaultdict(list)
    projects = sorted(made.projects)
    files = [f"{name}/{item.filename}" for name in projects for item in made.projects[name]]
    with Server(directory / "corpus", directory / "server") as server:
        made.render(server.base)
        upstream = f"{server.base}/simple/"
        with proxies.serving(home, upstream, ["*"], options.processes) as asking:
            fetch(addresses(asking, projects, files))
            wait_placed(home / "mirror" / "simple", projects)
            with proxies.serving(home, upstream, [], options.processes) as plain:
                servers = (asking, plain)
                urls = [addresses(each, projects, files) for each in servers]
                for each, its_urls in zip(servers, urls, strict=True):
                    wait_idle(each.pid)
                    fetch(its_urls)
                pages = len(projects)
                for number in range(options.pairs):
                    for what, part in (("page", slice(pages)), ("file", slice(pages, None))):
                        for client, headers in HEADERS.items():
                            turns = {}
                            for which in (number % 2, 1 - number % 2):
                                asked = urls[which][part]
                                turns[which] = turn(
                                    servers[which], asked, headers, options.requests
                                )
                            pairs[f"{what}, {client}"].append((turns[0], turns[1]))
                    tell(f"pair {number + 1} of {options.pairs}")
    return pairs


def fetch(urls: Sequence[str]) -> None:
    """Ask for everything once."""
    for url in urls:
        with urlopen(url) as answer:
            answer.read()


def report(pairs: Pairs) -> str:
    """Return the medians, and whether the goal is reached."""
    rows = [("", "CPU µs", "without", "ratio", "95 % sure", "1/s", "without", "ratio", "reached")]
    for kind, found in pairs.items():
        cpu = [one.cpu / other.cpu for one, other in found]
        rate = [one.rate / other.rate for one, other in found]
        low, high = likely(cpu)
        ratio = statistics.median(cpu)
        rows.append(
            (
                kind,
                *(f"{statistics.median(pair[n].cpu for pair in found) * 1e6:.1f}" for n in (0, 1)),
                f"{ratio:.3f} x",
                f"{low:.3f} to {high:.3f}",
                *(f"{statistics.median(pair[n].rate for pair in found):,.0f}" for n in (0, 1)),
                f"{statistics.median(rate):.3f} x",
                "yes" if ratio <= GOAL else "NO",
            )
        )
    return columns(rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hits", description=__doc__)
    add = parser.add_argument
    add("--pairs", type=int, default=100, help="pairs of turns of each kind (default: 100)")
    add("--requests", type=int, default=500, help="of each turn (default: 500)")
    add("--processes", type=int, default=1, help="of each server (default: 1)")
    add("--output", type=Path, default=RESULTS, help="where the report goes")
    options = parser.parse_args(arguments)
    with working_directory(None, "pypimirror-hits-") as directory:
        began = time.monotonic()
        text = report(compare(directory, options))
    facts = ", ".join(f"{key} {value}" for key, value in tools.facts().items())
    text = f"{facts}; {options.pairs} pairs, {time.monotonic() - began:.0f} s\n\n{text}"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "hits.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
