"""The corpus is there and whole, and what the builders make is valid and always the same."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from installer.sources import WheelFile
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from tests.conftest import Guard, OutsideError
from tests.corpus import fetch
from tests.corpus.build import make_sdist, make_wheel
from tests.corpus.servers import devpi, pypiserver
from tests.sampling import sample
from tests.simulator import Simulator


def test_rounds_name_no_project_twice() -> None:
    pairs = [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")]
    assert fetch.rounds(pairs) == [["a==1", "b==1"], ["a==2"], ["a==3"]]


def test_the_benchmark_has_200_real_wheels() -> None:
    lists = [fetch.wanted(), fetch.wanted("application.txt")]
    of_tests = {pair for kinds in lists for pair in kinds["wheel"] + kinds["pure"]}
    further = {parse_wheel_filename(name)[:2] for name, _ in fetch.wheel_digests()}
    known = {(canonicalize_name(name), Version(version)) for name, version in of_tests}
    assert len(known | further) == 200


def test_builders_are_deterministic_and_valid() -> None:
    assert make_sdist("A.b", "1.0", padding=99) == make_sdist("A.b", "1.0", padding=99)
    name, content = make_wheel("A.b", "1.0", padding=99, tag="py2.py3-none-any", build="1")
    assert (name, content) == make_wheel(
        "A.b", "1.0", padding=99, tag="py2.py3-none-any", build="1"
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.filename = name
        WheelFile(archive).validate_record()


@pytest.mark.thorough
@pytest.mark.parametrize("version", sample(fetch.PIP_VERSIONS, fetch.PIP_VERSIONS[-1]))
def test_pip_installs_what_the_builders_make(
    simulator: Simulator, pip_wheels: dict[str, Path], tmp_path: Path, version: str
) -> None:
    simulator.add_file("a.b", *make_wheel("a.b", "1.0", requires=["c-d"]), core_metadata=True)
    simulator.add_file("c-d", *make_sdist("c-d", "2.0", requires_python=">=3.8"))
    command = [sys.executable, f"{pip_wheels[version]}/pip", "install", "--quiet"]
    command += ["--target", str(tmp_path), "--index-url", simulator.url, "a.b"]
    subprocess.run(command, check=True)
    assert (tmp_path / "a_b/__init__.py").is_file()
    assert (tmp_path / "c_d/__init__.py").read_text() == '__version__ = "2.0"\n'


def test_corpus_as_an_index(simulator: Simulator, corpus_directory: Path) -> None:
    simulator.add_directory(corpus_directory)
    asked = {kind: len(pairs) for kind, pairs in fetch.wanted().items()}
    files = [f for project in simulator.index.projects.values() for f in project.files]
    wheels = [file for file in files if file.filename.endswith(".whl")]
    assert (len(wheels), len(files) - len(wheels)) == (asked["wheel"], asked["sdist"])
    assert all(wheel.metadata for wheel in wheels)


@pytest.mark.thorough
@pytest.mark.slow
def test_foreign_servers(server_environment: Path, corpus_directory: Path, tmp_path: Path) -> None:
    with pypiserver(corpus_directory, "--hash-algo=md5") as url:
        assert b"six-1.17.0.tar.gz#md5=" in read(url + "six/")
    some, state = tmp_path / "some", tmp_path / "state"
    some.mkdir()
    state.mkdir()
    for path in corpus_directory.glob("six-*"):
        (some / path.name).symlink_to(path)
    with devpi(some, state) as url:
        assert len(json.loads(read(url + "six/"))["files"]) == len(list(some.iterdir()))


def read(url: str) -> bytes:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.1"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as answer:
        return bytes(answer.read())


def test_the_guard_keeps_tests_on_this_machine(guard: Guard) -> None:
    with pytest.raises(OutsideError):
        socket.create_connection(("192.0.2.1", 9), timeout=0.1)
    with pytest.raises(OutsideError):
        socket.getaddrinfo("index.invalid", 443)
    assert len(guard.refused) == 2
    guard.refused.clear()
