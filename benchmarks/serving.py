"""python -m benchmarks.serving: the web server, an earlier build of it, and nginx on the same tree.

A mirror of 200 projects is made by a sync. wrk asks for its pages, for its files of 150 KB, and for
files of 20 MB, over connections that stay open. Servers take turns in each round, with one process
and with one for each core. wrk needs one of the cores, so with one process for each core, the CPU
time of a request says more than its rate. `benchmarks.hits` compares a mirror on demand with one
without, `benchmarks.people` adds people who look at pages.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import corpus, measure, proxies, tools
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.report import columns
from benchmarks.rounds import tell
from benchmarks.shapes import Shape
from benchmarks.upstream import Server, free_port, nginx
from tests.corpus import servers
from tests.environment import isolated

SHAPE = Shape("serving", 200, 800, 120_000_000)
LARGE, LARGE_SIZE = 4, 20_000_000
HOST = "127.0.0.1"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2"

#: What is asked for, by name, and over how many connections.
KINDS = {"pages": 64, "files of 150 KB": 64, "files of 20 MB": 8}

OURS, EARLIER, NGINX = "pypimirror", "earlier", "nginx"

_LUA = """\
local paths, at = {%s}, 0
request = function()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at], {["Accept"] = "%s"})
end
"""

_NGINX = """\
%(user)s
worker_processes %(processes)d;
daemon off;
pid %(directory)s/nginx.pid;
error_log %(directory)s/error.log warn;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 10000000;
  types { }
  server {
    listen 127.0.0.1:%(port)d;
    root %(root)s;
    location /simple/ { try_files $uri/index.v1_json =404; default_type "%(json)s"; }
    location /packages/ { default_type application/octet-stream; }
  }
}
"""

Values = dict[tuple[str, str], list[tuple[float, float]]]  #: by contestant and kind: rate, CPU µs


class Tree:
    """A mirror with its configuration, and the addresses in it."""

    def __init__(self, directory: Path, upstream: str, projects: Sequence[str]) -> None:
        self.config = directory / "pypimirror.toml"
        self.root = directory / "mirror"
        directory.mkdir()
        self.config.write_text(f'[[upstream]]\nname = "u"\nurl = {json.dumps(upstream)}\n')
        command = [sys.executable, "-m", "pypimirror", "sync", "--quiet", "--config"]
        subprocess.run([*command, str(self.config)], check=True, cwd=tools.ROOT, env=isolated())
        self.projects = projects
        noise = random.Random(1)
        (self.root / "packages" / "large").mkdir()
        large = [f"/packages/large/large-{number}.0.tar.gz" for number in range(LARGE)]
        for path in large:
            (self.root / path[1:]).write_bytes(noise.randbytes(LARGE_SIZE))
        self.paths = {
            "pages": [f"/simple/{name}/" for name in projects],
            "files of 150 KB": [
                f"/packages/{name}/{path.name}"
                for name in projects
                for path in sorted((self.root / "packages" / name).iterdir())
                if path.suffix != ".metadata"
            ],
            "files of 20 MB": large,
        }


@contextmanager
def _running(command: list[str], home: Path, port: int, **more: str) -> Iterator[proxies.Running]:
    home.mkdir(exist_ok=True)
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=isolated(**more),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        servers.wait_listening(process, port)
        yield proxies.Running(f"http://{HOST}:{port}", process.pid)
    finally:
        measure.stop(process)


@contextmanager
def serving(tree: Tree, home: Path, source: Path, processes: int) -> Iterator[proxies.Running]:
    """Run the web server of a source tree."""
    port = free_port()
    command = [sys.executable, "-m", "pypimirror", "serve", "--config", str(tree.config)]
    more = {"PYTHONPATH": str(source)}
    if source == tools.ROOT:
        more["PYPIMIRROR_SERVE__PROCESSES"] = str(processes)
    with _running([*command, "--port", str(port)], home, port, **more) as running:
        yield running


@contextmanager
def serving_nginx(tree: Tree, home: Path, processes: int) -> Iterator[proxies.Running]:
    """Run nginx over the same tree."""
    port = free_port()
    home.mkdir(exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    said = {"user": user, "processes": processes, "directory": home, "port": port}
    said |= {"root": tree.root, "json": "application/vnd.pypi.simple.v1+json"}
    (home / "nginx.conf").write_text(_NGINX % said)
    command = [str(nginx()), "-p", str(home), "-c", str(home / "nginx.conf")]
    with _running(command, home, port) as running:
        yield running


def load(
    running: proxies.Running,
    home: Path,
    paths: Sequence[str],
    connections: int,
    seconds: int,
    *,
    first_only: bool = False,
) -> tuple[float, float]:
    """Ask as fast as answers come; return requests a second, and CPU µs for each.

    The CPU time is that of all processes of the server, or of its first one only.
    """
    script = home / "paths.lua"
    script.write_text(_LUA % (", ".join(f'"{path}"' for path in paths), _ACCEPT))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), running.url]
    pids = [running.pid] if first_only else measure.tree(running.pid)
    before = measure.cpu_of(pids)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu = measure.cpu_of(pids) - before
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{running.url}: {said}")
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert requests
    assert rate
    return float(rate[1]), cpu / int(requests[1]) * 1e6


def compare(tree: Tree, directory: Path, options: argparse.Namespace) -> Values:
    """Let all servers take turns."""
    cores = len(os.sched_getaffinity(0))
    values: Values = defaultdict(list)
    for _ in range(options.rounds):
        taking_part = [
            (f"{OURS}, {number}", serving(tree, directory / "o", tools.ROOT, number))
            for number in sorted({1, cores})
        ]
        if options.earlier:
            old = serving(tree, directory / "e", options.earlier, 1)
            taking_part.append((f"{EARLIER}, 1", old))
        if nginx():
            taking_part += [
                (f"{NGINX}, {number}", serving_nginx(tree, directory / "n", number))
                for number in sorted({1, cores})
            ]
        for name, server in taking_part:
            with server as running:
                for kind, connections in KINDS.items():
                    load(running, directory, tree.paths[kind], connections, 1)
                    found = load(running, directory, tree.paths[kind], connections, options.seconds)
                    values[name, kind].append(found)
                    tell(f"{name}: {kind}: {found[0]:,.1f}/s, {found[1]:,.0f} µs")
    return values


def table(values: Values) -> str:
    """Return the medians of the rounds: requests a second, and CPU µs for each."""
    kinds = list(dict.fromkeys(kind for _, kind in values))
    lines = [("", *(f"{kind}, 1/s (CPU µs)" for kind in kinds))]
    for name in dict.fromkeys(name for name, _ in values):
        cells = []
        for kind in kinds:
            rate, cpu = (statistics.median(each) for each in zip(*values[name, kind], strict=True))
            cells.append(f"{rate:,.0f} ({cpu:,.0f})")
        lines.append((name, *cells))
    return columns(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    add = parser.add_argument
    add("--earlier", type=Path, help="the source tree of an earlier build to compare with")
    add("--rounds", type=int, default=3, help="default: 3")
    add("--seconds", type=int, default=3, help="of each measurement (default: 3)")
    add("--output", type=Path, default=RESULTS, help="where the report goes")
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("needs wrk, which Debian has as a package")
    with working_directory(None, "pypimirror-serving-") as directory:
        made = corpus.build(directory / "corpus", SHAPE)
        with Server(directory / "corpus", directory / "server") as server:
            made.render(server.base)
            upstream = f"{server.base}/simple/"
            tree = Tree(directory / "tree", upstream, sorted(made.projects))
            found = table(compare(tree, directory, options))
    facts = ", ".join(f"{key} {value}" for key, value in tools.facts().items())
    text = f"{facts}; medians of {options.rounds} rounds\n\n{found}"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "serving.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
