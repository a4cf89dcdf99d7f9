"""Mirrors in a directory need nothing of S3, and mirrors in a bucket say what they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.domain.errors import ConfigError
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.opening import open_storage
from pypimirror.storage.workspace import Workspace

_IN_A_DIRECTORY = """
import sys
from pathlib import Path
from pypimirror.storage.opening import open_storage
from pypimirror.storage.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
workspace.create()
open_storage(workspace).create()
print(*sorted(sys.modules))
"""


def test_a_mirror_in_a_directory_imports_nothing_of_s3(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _IN_A_DIRECTORY, str(tmp_path / "mirror")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "pypimirror.storage.posix" in done.stdout.split()
    assert not loaded & {"boto3", "botocore", "obstore"}
    assert "pypimirror.storage.s3" not in done.stdout.split()


@pytest.mark.parametrize("missing", ["boto3", "obstore"])
def test_without_the_extra_the_error_says_what_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    storage = open_storage(Workspace(tmp_path), bucket=Bucket("mirrors"))
    with pytest.raises(ConfigError, match=rf"{missing}.*pip install 'pypimirror\[s3\]'"):
        storage.create()
