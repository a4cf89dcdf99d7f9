"""The interpreters of this machine, beside the one that runs: others' programs may need a newer."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path


@functools.cache
def newest(oldest: tuple[int, int]) -> str | None:
    """The newest interpreter that can make environments and is not older than `oldest`."""
    names = [f"python3.{minor}" for minor in range(20, oldest[1] - 1, -1)]
    found = [path for name in names if (path := shutil.which(name))]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += [str(path) for path in sorted(versions.glob("3.*/bin/python"))]
    ranked = []
    for path in [sys.executable, *found]:
        code = "import ensurepip, sys, venv; print(*sys.version_info[:3])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if done.returncode == 0:
            version = tuple(map(int, done.stdout.split()))
            if version >= oldest:
                ranked.append((version, path))
    return max(ranked)[1] if ranked else None
