"""The verdict on a file. What every format must pass is in `archives/test_contract.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from pypimirror.verify.structure import check_structure
from tests.verify.builders import PROJECT, STEM
from tests.verify.helpers import check


def test_unknown_ending_is_not_checked() -> None:
    verdict = check(b"x", "demo_pkg-1.2.0.pdf")
    assert (verdict.proof, verdict.problem) == ("none", None)
    assert verdict.unchecked


def test_problem_names_project_and_file() -> None:
    problem = check(b"", f"{STEM}.zip").problem
    assert problem
    assert (problem.project, problem.file) == (PROJECT, f"{STEM}.zip")


def test_missing_file_is_the_disks_affair(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        check_structure(tmp_path / "none", f"{STEM}.zip", PROJECT)


def test_real_files_are_accepted(corpus_directory: Path) -> None:
    """Files of real projects, by the tools of their day: nothing here is stricter than they."""
    checked = 0
    for path in sorted(corpus_directory.iterdir()):
        if path.suffix not in (".whl", ".gz", ".zip"):
            continue
        separator = "-"
        project = canonicalize_name(path.name.split(separator)[0])
        if path.suffix != ".whl":
            project = canonicalize_name(path.name.rpartition("-")[0])
        verdict = check_structure(path, path.name, project)
        assert verdict.problem is None, path.name
        assert verdict.proof == "structure", (path.name, verdict.unchecked)
        assert bool(verdict.metadata) == (path.suffix == ".whl")
        checked += 1
    assert checked > 40
