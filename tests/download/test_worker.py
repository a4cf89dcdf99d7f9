"""The start of a download worker."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.environment import isolated

PROGRAM = """
import json, sys
import gevent.events
gevent.events.notify_and_call_entry_points = gevent.events.notify  # as in the worker
from gevent import monkey; monkey.patch_all()
import pypimirror.download.engine.loop
print(json.dumps(sorted(sys.modules)))
"""


def test_a_worker_imports_nothing_that_only_rare_answers_need() -> None:
    """Most runs are short, and importing requests takes nearly as long as all else."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=isolated())
    unwanted = {"requests", "urllib3", "http.client", "email.utils", "sqlalchemy", "pydantic"}
    assert unwanted.intersection(json.loads(done.stdout)) == set()
