"""What the tests of structure share: checking bytes instead of a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pypimirror.verify.archives.limits import Limits
from pypimirror.verify.structure import ArchiveVerdict, check_structure
from tests.verify.builders import PROJECT

_MEMORY = Path("/dev/shm")
_HOME = tempfile.TemporaryDirectory(
    prefix="structure-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None
)


def check(
    content: bytes,
    filename: str,
    project: str = PROJECT,
    limits: Limits | None = None,
    *,
    released: bool = False,
) -> ArchiveVerdict:
    """The verdict on bytes under a name."""
    path = Path(_HOME.name) / "file"
    path.write_bytes(content)
    return check_structure(path, filename, project, limits or Limits(), released=released)


def message(verdict: ArchiveVerdict) -> str:
    """What is wrong."""
    assert verdict.problem is not None, f"accepted as {verdict.proof} {verdict.unchecked}"
    assert verdict.proof == "none"
    assert verdict.metadata is None
    return verdict.problem.message
