"""What a run does not need is not imported: most runs find little to do, and imports are slow."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.environment import isolated

#: What belongs to other commands, to child processes, to errors, or to rare configurations.
NOT_NEEDED = {
    *("typer", "click", "pydantic", "pydantic_settings", "rich", "alembic", "mako", "prefect"),
    *("gevent", "requests", "urllib3", "http.client", "httpx", "werkzeug", "prometheus_client"),
    *("inspect", "typing_extensions"),
    *("difflib", "configparser", "multiprocessing", "zoneinfo", "unittest", "xml", "psycopg"),
    *(
        "sqlalchemy",
        "packaging.requirements",
        "packaging.specifiers",
        "packaging.metadata",
        "regex",
    ),
}

PROGRAM = """
import json, sys
from pypimirror.system import memory
memory.import_msgspec()
from pypimirror.cli import main
from pypimirror.cli.actions import syncing, verifying
from pypimirror.config.settings import Config
from pypimirror.pipeline.discover import discover
from pypimirror.pipeline.download import download
from pypimirror.pipeline.publish import publish
from pypimirror.pipeline.verify import verify
from pypimirror.select.selection import Selection
upstream = {"name": "x", "url": "http://127.0.0.1:9/simple/"}
Selection(Config.model_validate({"upstream": [upstream]}))
print(json.dumps(sorted(sys.modules)))
"""


def test_a_run_imports_what_it_needs_and_nothing_else() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=isolated())
    assert NOT_NEEDED.intersection(json.loads(done.stdout)) == set()
