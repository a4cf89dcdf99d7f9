"""pip and uv install from the mirror of real projects, into clean environments, hashes required.

Hashes are those of the corpus, not of the mirror: what is installed is what the upstream has.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.corpus.fetch import PIP_VERSIONS
from tests.e2e.clients import call, installed, make_environment, pip, uv_pip, write_lines
from tests.e2e.serving import Recorder
from tests.sampling import sample

pytestmark = pytest.mark.timeout(300)  # for a machine with much else to do

WHEELS = {
    "click": "8.1.8",
    "packaging": "24.2",
    "python-dateutil": "2.9.0.post0",
    "setuptools": "80.9.0",  # which zope.event wants at run time
    "six": "1.17.0",
    "typing-extensions": "4.13.2",
    "zope-event": "5.0",
}
SDISTS = {"idna": "3.10", "toml": "0.10.2"}  #: built with flit-core, with setuptools

#: Every pip, and every way to serve the index.
EACH_WAY = sample(
    list(zip(["on_disk", "plain", "served"], PIP_VERSIONS, strict=True)),
    ("served", PIP_VERSIONS[-1]),
)

IMPORT = "import click, dateutil.tz, idna, packaging, six, toml, typing_extensions, zope.event"


def pinned(corpus: Path, projects: dict[str, str], ending: str) -> list[str]:
    """Requirements with the hash of the one file that they may be installed from."""
    lines = []
    for name, version in projects.items():
        stem = f"{name.replace('-', '[._-]')}-{version}"
        (path,) = (p for p in corpus.glob(f"{stem}*") if p.name.endswith(ending))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return lines


@pytest.fixture
def requirements(corpus_directory: Path, tmp_path: Path) -> Path:
    """Wheels and sdists, each by one hash: an sdist where nothing but the sdist fits."""
    lines = pinned(corpus_directory, WHEELS, ".whl") + pinned(corpus_directory, SDISTS, ".tar.gz")
    return write_lines(tmp_path / "requirements.txt", lines)


@pytest.mark.slow
@pytest.mark.parametrize(("index", "version"), EACH_WAY, indirect=["index"])
def test_pip_installs_wheels_and_sdists_with_hashes_required(
    index: str, pip_wheels: dict[str, Path], requirements: Path, tmp_path: Path, version: str
) -> None:
    python = make_environment(tmp_path / "environment")
    command = pip(pip_wheels[version], "install", index, python)
    call(*command, "--quiet", "--require-hashes", "-r", requirements)
    assert installed(python) == WHEELS | SDISTS
    call(python, "-I", "-c", IMPORT)


@pytest.mark.slow
def test_uv_installs_wheels_and_sdists_with_hashes_required(
    index: str, requirements: Path, tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "environment")
    call(*uv_pip("install", index, python), "--require-hashes", "-r", requirements)
    assert installed(python) == WHEELS | SDISTS
    call(python, "-I", "-c", IMPORT)


@pytest.mark.slow
def test_a_wheel_installs_into_a_target_with_hashes_required(
    index: str, corpus_directory: Path, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    lines = pinned(corpus_directory, {"six": "1.16.0"}, ".whl")
    requirements = write_lines(tmp_path / "requirements.txt", lines)
    where = ["--require-hashes", "-r", str(requirements), "--target"]
    command = pip(pip_wheels[PIP_VERSIONS[-1]], "install", index)
    call(*command, "--quiet", *where, tmp_path / "pip")
    call(*uv_pip("install", index), *where, tmp_path / "uv")
    assert (tmp_path / "pip/six.py").read_bytes() == (tmp_path / "uv/six.py").read_bytes()
    assert b'__version__ = "1.16.0"' in (tmp_path / "uv/six.py").read_bytes()


def test_a_file_that_is_not_the_pinned_one_is_not_installed(
    recorder: Recorder, pip_wheels: dict[str, Path], tmp_path: Path
) -> None:
    # That the tests above can fail: the clients do check.
    pin = write_lines(tmp_path / "pin.txt", [f"six==1.16.0 --hash=sha256:{'0' * 64}"])
    options = ["--target", str(tmp_path / "out"), "--require-hashes", "-r", str(pin)]
    command = pip(pip_wheels[PIP_VERSIONS[-1]], "install", recorder.url)
    call(*command, *options, code=1)
    call(*uv_pip("install", recorder.url), *options, code=1)
    assert not (tmp_path / "out/six.py").exists()


@pytest.mark.parametrize("version", sample(PIP_VERSIONS, PIP_VERSIONS[-1]))
def test_pip_downloads_the_very_bytes_of_the_upstream(
    recorder: Recorder,
    corpus_directory: Path,
    pip_wheels: dict[str, Path],
    tmp_path: Path,
    version: str,
) -> None:
    command = pip(pip_wheels[version], "download", recorder.url)
    call(*command, "--quiet", "--dest", tmp_path, "python-dateutil==2.8.2", "six==1.15.0", "click")
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(found) == [
        "click-8.1.8-py3-none-any.whl",
        "python_dateutil-2.8.2-py2.py3-none-any.whl",
        "six-1.15.0-py2.py3-none-any.whl",
    ]
    assert all(data == (corpus_directory / name).read_bytes() for name, data in found.items())
    assert recorder.wheels == found.keys()
