"""One place chooses the storage of a mirror, and every command can be handed another one."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest

import pypimirror
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.lifecycle import sync
from pypimirror.pipeline.preview import execute_plan
from pypimirror.pipeline.preview.explain import explain
from pypimirror.pipeline.preview.plan import plan
from pypimirror.storage.durability import Durability
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from tests.corpus.build import make_wheel
from tests.mirror import Mirror
from tests.pools import inline
from tests.simulator import Simulator
from tests.storages import MemoryStorage

SOURCE = Path(pypimirror.__file__).parent


def test_only_one_module_makes_a_posix_storage() -> None:
    """Another kind of storage is added there, and reaches runs, previews and `doctor`."""
    makers = {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("PosixStorage")
    }
    assert makers == {"storage/opening.py"}


def test_a_plan_is_made_and_carried_out_and_explained_on_the_given_storage(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(tmp_path, simulator)
    file = simulator.add_file("six", *make_wheel("six", "1.0"))
    memory = MemoryStorage(Workspace(mirror.root))

    def make(workspace: Workspace, _: Durability | None) -> Storage:
        return memory

    monkeypatch.setattr("pypimirror.storage.posix.PosixStorage", None)  # nobody may call it
    wanted = plan(mirror.config, (), LogReporter(), make_storage=make)
    assert [entry.file for entry in wanted.fetch] == [file.filename]
    document = tmp_path / "plan.json"
    document.write_bytes(msgspec.json.encode(wanted.as_json()))
    planned = execute_plan.read(document)
    for work in (lambda run: execute_plan.apply(run, planned), sequence.sync):
        result = sync(mirror.config, (), work, trigger="test", make_pools=inline, make_storage=make)
        assert result.state == "completed", result.failures
    assert memory.read(f"packages/six/{file.filename}") == bytes(file.content)
    found = explain(mirror.config, "six", make_storage=make)
    assert [entry.state for entry in found.files] == ["published"]
    assert not plan(mirror.config, (), LogReporter(), make_storage=make).fetch
