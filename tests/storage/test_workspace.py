"""The private directory: staging and quarantine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.storage.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "mirror")
    made.create()
    return made


def test_what_failed_verification_leaves_with_its_report(workspace: Workspace) -> None:
    workspace.staged(7).write_bytes(b"bad")
    workspace.set_aside(workspace.take_staged(7), "7", b"{}")
    assert (workspace.quarantine / "7").read_bytes() == b"bad"
    assert (workspace.quarantine / "7.json").read_bytes() == b"{}"
    assert not workspace.staged(7).exists()
    workspace.set_aside(workspace.take_staged(8), "8", b"{}")  # no bytes came
    assert not (workspace.quarantine / "8").exists()


def test_discard_leaves_nothing_of_a_file_in_staging_and_all_of_others(
    workspace: Workspace,
) -> None:
    for name in ("1.part", "1.part.json", "1.metadata", "11.part", "11.metadata"):
        (workspace.staging / name).write_bytes(b"")
    workspace.discard(1)
    workspace.discard(2)
    assert sorted(path.name for path in workspace.staging.iterdir()) == ["11.metadata", "11.part"]
