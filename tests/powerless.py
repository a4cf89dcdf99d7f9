"""Runs programs for which permissions count, even if the tests run as root.

Without its capabilities, root is a user like any other: permissions stop it, and it can still reach
interpreter and checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.environment import isolated


def powerless(*arguments: str, at: Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """Run pypimirror with only the permissions of its user."""
    return subprocess.run(
        [*prefix(), sys.executable, "-m", "pypimirror", *arguments],
        cwd=at,
        env=isolated(),
        capture_output=True,
        text=True,
        umask=umask,
    )


def prefix() -> Sequence[str]:
    """Return the words before a command that has only the permissions of its user."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("without setpriv, root may do everything")
    return ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
