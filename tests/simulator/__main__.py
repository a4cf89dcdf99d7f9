"""The simulator as a program: a directory of distribution files as an index on loopback.

python -m tests.simulator --directory DIR [--port PORT]

Prints the index's address in one line, then serves until a signal.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from tests.simulator.simulator import Simulator


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="wheels and sdists")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--formats", default="json,html", help="the default first")
    parser.add_argument("--api-version", default="1.4")
    parser.add_argument("--no-serials", action="store_true")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    simulator = Simulator(
        host=options.host,
        port=options.port,
        api_version=options.api_version,
        formats=options.formats.split(","),
        serials=not options.no_serials,
    )
    simulator.add_directory(options.directory)
    with simulator:
        print(simulator.url, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
