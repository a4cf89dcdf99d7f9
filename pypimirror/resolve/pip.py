"""pip as a child process: would it install this here, from this index?

Only the pip beside this program is asked, and only for the running environment: for others, pip
knows neither markers nor sdists.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from pypimirror.resolve import child
from pypimirror.resolve.child import NoSolutionError, ResolveError

#: pip's exit code if it found no solution; all other failures have the same code.
_FAILED = 1


def is_here() -> bool:
    """Whether pip is installed beside this program."""
    return find_spec("pip") is not None


def dry_run(
    requirements: Sequence[str],
    constraints: Sequence[str],
    index: str,
    *,
    builds: bool,
    patience: float = child.PATIENCE,
) -> dict[str, str]:
    """Return name and version of each package that pip would install.

    Without `builds` it uses only wheels, because pip runs the code of an sdist for its metadata.
    Raises `NoSolutionError` if it finds no solution.
    """
    with TemporaryDirectory(prefix="pypimirror-pip-") as scratch:
        wanted = child.write(Path(scratch, "requirements.txt"), requirements)
        narrower = child.write(Path(scratch, "constraints.txt"), constraints)
        command = [sys.executable, "-m", "pip", "install", "--isolated", "--dry-run"]
        command += ["--quiet", "--report", "-", "--ignore-installed", "--no-cache-dir"]
        command += ["--no-input", "--disable-pip-version-check", "--index-url", index]
        command += [] if builds else ["--only-binary", ":all:"]
        command += ["-r", wanted, "-c", narrower]
        variables = child.bare(scratch) | {"PIP_CONFIG_FILE": os.devnull}
        ended = child.run(command, variables, scratch, patience)
    if ended.code == _FAILED:
        raise NoSolutionError(child.told(ended.err))
    if ended.code:
        raise ResolveError(f"pip ended with {ended.code}: {child.told(ended.err)}")
    report = json.loads(ended.out)
    return {
        item["metadata"]["name"]: item["metadata"]["version"] for item in report.get("install", [])
    }
