"""The environment of tests and the demo, without settings of the person or the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: Settings that tests and their children must not see.
FOREIGN = (
    "PIP_",
    "UV_",
    "PREFECT_",
    "PYPIMIRROR_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "AWS_",
)

#: An index that does not exist, so that a child without another index finds nothing at all.
NOWHERE = "http://127.0.0.1:9/simple/"

SETTINGS = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": NOWHERE,
    "PIP_NO_CACHE_DIR": "1",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "UV_NO_CONFIG": "1",
    "UV_DEFAULT_INDEX": NOWHERE,
    "UV_NO_CACHE": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "*",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def isolated(**more: str) -> dict[str, str]:
    """Return this process's environment without foreign settings, and with those of the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(FOREIGN)}
    return kept | SETTINGS | more


def in_memory() -> str | None:
    """Return a directory in memory; None without one that has a gigabyte left.

    Making and dropping databases is ten times as fast there.
    """
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30:
        return str(memory)
    return None
