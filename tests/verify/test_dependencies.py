"""What wheels and sdists on disk require, read within the bounds of the proof's readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.verify.dependencies import read_requirements
from pypimirror.verify.protocol import Check
from pypimirror.verify.worker import check
from tests.corpus.build import make_sdist, make_wheel, pack_tar_gz, pack_zip

PKG_INFO = b"Metadata-Version: 2.4\nName: a\nVersion: 1\nRequires-Dist: b>=1\n\n"
BUILD = b"[build-system]\nrequires = ['hatchling']\n"
SDIST = {"a-1/PKG-INFO": PKG_INFO, "a-1/pyproject.toml": BUILD}
KNOWN = Requirements(("b>=1",), build=("hatchling",))


def read(directory: Path, filename: str, content: bytes) -> Requirements:
    path = directory / "file"
    path.write_bytes(content)
    return read_requirements(path, filename)


def test_a_wheel_says_it_in_its_metadata(tmp_path: Path) -> None:
    wheel = make_wheel("a", "1", requires=["b>=1"], requires_python=">=3.9")
    assert read(tmp_path, *wheel) == Requirements(("b>=1",), ">=3.9")


@pytest.mark.parametrize("name", ["a-1.tar.gz", "a-1.zip"])
def test_an_sdist_says_it_in_its_pkg_info_and_pyproject(tmp_path: Path, name: str) -> None:
    pack = pack_zip if name.endswith(".zip") else pack_tar_gz
    assert read(tmp_path, name, pack(SDIST)) == KNOWN
    at_top = {"PKG-INFO": PKG_INFO, "pyproject.toml": BUILD, "a/PKG-INFO": b"Name: other\n"}
    assert read(tmp_path, name, pack(at_top)) == KNOWN
    deeper = {"a-1/src/PKG-INFO": b"", "a-1/src/a.egg-info/PKG-INFO": b"", **SDIST}
    assert read(tmp_path, name, pack(deeper)) == KNOWN


def test_an_old_sdist_is_unknown_and_what_builds_it_is_not(tmp_path: Path) -> None:
    found = read(tmp_path, *make_sdist("a", "1", requires=["b"]))
    assert "core metadata of 2.1" in found.unknown and found.requires == () == found.build


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a-1-py3-none-any.whl", pack_zip({"a.py": b""})),
        ("a-1-py3-none-any.whl", b"no zip"),
        ("a-1.tar.gz", pack_tar_gz({"a-1/setup.py": b""})),
        ("a-1.tar.gz", b"no tar"),
        ("a-1.tar.Z", b"\x1f\x9d"),
        ("a-1.tar.gz", pack_tar_gz({"a-1/PKG-INFO": bytes(5 << 20)})),
        ("a-1.exe", b"MZ"),
    ],
    ids=["no metadata", "no zip", "no PKG-INFO", "no tar", "compress", "large", "installer"],
)
def test_what_cannot_be_read_is_unknown(tmp_path: Path, name: str, content: bytes) -> None:
    assert read(tmp_path, name, content).unknown


def test_the_worker_reads_it_where_it_is_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack_tar_gz(SDIST))
    job = Check(7, str(path), "a", "a-1.tar.gz", requires=True)
    assert check(job).requires == KNOWN
    missing = check(Check(8, str(tmp_path / "none"), "a", "a-1.tar.gz", requires=True))
    assert missing.requires is None and missing.problem is not None
