"""Small programs as parts, and as a program a machine of them: `python -m tests.up.small_parts`.

Its arguments are a directory and a JSON object of programs by the names of parts. It says
`ready`, and ends as `pypimirror up` would.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from pypimirror.config.settings import Config
from pypimirror.up import everything
from pypimirror.up.everything import RunningParts
from pypimirror.up.parts import Part, Parts
from pypimirror.up.supervisor import GaveUpError

#: Says that it is ready, and ends politely.
GOOD = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
pathlib.Path("ready").touch()
signal.pause()
"""
#: Has a child in a session of its own that hears nothing, and hears nothing itself.
DEAF = """
import pathlib, signal, subprocess, sys
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
pathlib.Path("ready").write_text(str(child.pid))
signal.pause()
"""
BAD = "print('no database'); raise SystemExit({code})"


def part(directory: Path, code: str, name: str = "part") -> Part:
    """A part that runs this program, and is ready when there is a file `ready` in its directory."""
    home = directory / name
    home.mkdir()

    async def is_ready() -> bool:
        return (home / "ready").exists()

    async def watch() -> Callable[[], Awaitable[bool]]:
        (home / "ready").unlink(missing_ok=True)
        return is_ready

    return Part(name, (sys.executable, "-c", code), dict(os.environ), home, watch)


def main() -> int:
    directory, codes = Path(sys.argv[1]), json.loads(sys.argv[2])
    made = {name: part(directory, code, name) for name, code in codes.items()}
    (directory / "mirror/simple/six").mkdir(parents=True)  # not empty: no first sync
    parts = Parts(
        api="http://127.0.0.1:9/api",
        web_url="",
        web=made.get("web"),
        server=made.get("server"),
        deploy=part(directory, "", "deploy"),
        worker=made["worker"],
    )
    everything.RUNS_GONE, everything.STOPPED["worker"], everything.ALL_GONE = 0.2, 0.4, 0.6
    config = Config.model_validate({"mirror": {"directory": directory / "mirror"}})
    running = RunningParts(parts, config)
    try:
        in_order = asyncio.run(running.run(lambda: print("ready", flush=True), lambda: None))
    except GaveUpError as error:
        print(error)
        return 3
    return 0 if in_order else 130


if __name__ == "__main__":
    sys.exit(main())
