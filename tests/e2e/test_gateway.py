"""A whole sync behind a gateway: pages and files from two names at one address, own authority."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway import FILES, INDEX, address, environment, gateway
from tests.mirror import Mirror, offer


@pytest.mark.parametrize("trust", ["ca_file", "SSL_CERT_FILE"])
def test_files_come_through_whichever_process_fetches_them(tmp_path: Path, trust: str) -> None:
    """Most of the processes that fetch files have fetched no page."""
    with gateway(tmp_path) as simulator:
        simulator.api_version = "1.1"
        simulator.etags = False
        for number in range(6):
            offer(simulator, f"project{number}", *(f"{n}.0" for n in range(5)))
        mirror = Mirror(tmp_path, download={"processes": 4, "connections": 2})
        mirror.upstreams = [{"url": f"{address(simulator, INDEX)}/simple/", "hosts": ["*"]}]
        if trust == "ca_file":
            mirror.configure(download={"ca_file": str(simulator.ca_file)})
        mirror.configure()
        outcome = subprocess.run(
            [sys.executable, "-m", "pypimirror", "sync", "--json"],
            cwd=tmp_path,
            env={
                **{k: v for k, v in os.environ.items() if not k.endswith("_CA_BUNDLE")},
                **environment(tmp_path, {INDEX: ["127.0.0.1"], FILES: ["127.0.0.1"]}),
                "SSL_CERT_FILE": str(simulator.ca_file) if trust == "SSL_CERT_FILE" else "",
            },
            capture_output=True,
            text=True,
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert json.loads(outcome.stdout)["counts"]["files_verified"] == 30
        asked = {r.headers["host"].partition(":")[0] for r in simulator.requests}
        assert asked == {INDEX, FILES}
        mirror.check()
