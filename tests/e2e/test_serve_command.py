"""`pypimirror serve` as a command: what it says, for people and for programs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.request import urlopen

from tests.corpus.build import make_wheel
from tests.e2e.clients import said_on_error
from tests.e2e.mirror import Mirror, program
from tests.environment import isolated
from tests.simulator import Simulator


def test_json_says_where_it_serves_in_one_document(simulator: Simulator, tmp_path: Path) -> None:
    simulator.add_file("tiny", *make_wheel("tiny", "1.0"))
    mirror = Mirror(tmp_path, simulator.url)
    mirror.sync()
    command = [*program("serve"), "--config", str(mirror.config), "--port", "0", "--json"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=isolated(), stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["directory"] == str(mirror.root)
        with urlopen(f"{said['url']}simple/tiny/") as answer:
            assert b"tiny-1.0-py3-none-any.whl" in answer.read()
        process.terminate()
        rest, _ = process.communicate(timeout=30)
        assert (process.returncode, rest) == (0, "")
    finally:
        process.kill()
        process.communicate()


def test_without_a_mirror_it_says_what_to_do(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path, "http://127.0.0.1:9/simple/")
    command = [*program("serve"), "--config", str(mirror.config), "--port", "0"]
    assert "pypimirror sync" in said_on_error(*command)
