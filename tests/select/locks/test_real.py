"""Locks of one small application, made by real tools of the versions in their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.markers import Marker

from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import Lock

DATA = Path(__file__).parent / "data"

#: Every file that the index has of what the application needs, by release.
FILES = {
    "click 8.1.8": {"click-8.1.8-py3-none-any.whl", "click-8.1.8.tar.gz"},
    "colorama 0.4.6": {"colorama-0.4.6-py2.py3-none-any.whl", "colorama-0.4.6.tar.gz"},
    "idna 3.10": {"idna-3.10-py3-none-any.whl", "idna-3.10.tar.gz"},
    "idna 3.7": {"idna-3.7-py3-none-any.whl", "idna-3.7.tar.gz"},
    "iniconfig 2.1.0": {"iniconfig-2.1.0-py3-none-any.whl"},
    "markupsafe 3.0.2": {"markupsafe-3.0.2.tar.gz"},
    "python-dateutil 2.9.0.post0": {"python_dateutil-2.9.0.post0-py2.py3-none-any.whl"},
    "six 1.17.0": {"six-1.17.0-py2.py3-none-any.whl", "six-1.17.0.tar.gz"},
    "text-unidecode 1.3": {
        *("text-unidecode-1.3.tar.gz", "text_unidecode-1.3-py2.py3-none-any.whl"),
    },
}
#: What PDM was not asked to lock: another version of idna, and of later versions also no extra.
PDM = FILES.keys() - {"idna 3.7"}
WINDOWS = {"colorama 0.4.6", "text-unidecode 1.3"}


def linux(marker: Marker) -> bool:
    facts = {"python_version": "3.12", "python_full_version": "3.12.4", "sys_platform": "linux"}
    return marker.evaluate({**facts, "platform_system": "Linux"})


def named(lock: Lock) -> dict[str, set[str | None]]:
    return {str(release): {file.filename for file in release.files} for release in lock.releases}


@pytest.mark.parametrize(
    ("name", "releases"),
    [
        ("uv-0.4.30.uv.lock", FILES.keys()),
        ("uv-0.13.9.uv.lock", FILES.keys()),
        ("pylock.uv-0-13-9.toml", FILES.keys()),
        ("poetry-1.1.15.poetry.lock", FILES.keys()),
        ("poetry-1.8.5.poetry.lock", FILES.keys()),
        ("poetry-2.5.1.poetry.lock", FILES.keys()),
        ("pdm-2.4.9.pdm.lock", PDM),
        ("pdm-2.12.4.pdm.lock", PDM - {"markupsafe 3.0.2"}),
        ("pdm-2.29.4.pdm.lock", PDM - {"markupsafe 3.0.2"}),
        ("pylock.pdm-2-29-4.toml", PDM - {"markupsafe 3.0.2"}),
    ],
)
def test_each_version_of_a_format_names_each_file_with_its_digest(
    name: str, releases: set[str]
) -> None:
    found = registry.read(DATA / name)
    assert named(found) == {release: FILES[release] for release in releases}
    for release in found.releases:
        for file in release.files:
            ((algorithm, digest),) = file.digests
            assert (algorithm, len(digest)) == ("sha256", 64)
            assert digest in (DATA / name).read_text()
    assert not found.notes


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_the_source_of_a_release_is_the_line_that_names_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    found = registry.read(path)
    assert found.releases
    for release in found.releases:
        file, _, number = release.source.rpartition(":")
        assert file == str(path)
        assert release.project in lines[int(number) - 1]


@pytest.mark.parametrize(
    "name",
    [
        *("uv-0.4.30.uv.lock", "uv-0.13.9.uv.lock", "pylock.uv-0-13-9.toml"),
        *("poetry-2.5.1.poetry.lock", "pdm-2.12.4.pdm.lock", "pdm-2.29.4.pdm.lock"),
        "pylock.pdm-2-29-4.toml",
    ],
)
def test_where_the_lock_says_so_linux_does_not_need_what_is_for_windows(name: str) -> None:
    found = registry.read(DATA / name)
    needed = {str(release) for release in found.needed(linux)}
    assert named(found).keys() - needed - {"idna 3.7"} == WINDOWS
    assert "idna 3.7" not in needed


@pytest.mark.parametrize(
    "name", ["poetry-1.1.15.poetry.lock", "poetry-1.8.5.poetry.lock", "pdm-2.4.9.pdm.lock"]
)
def test_where_it_does_not_every_environment_needs_all(name: str) -> None:
    found = registry.read(DATA / name)
    assert found.needed(linux) == found.releases


def test_pip_names_the_one_file_that_it_installs_here() -> None:
    assert named(registry.read(DATA / "pylock.pip-26-3.toml")) == {
        "click 8.1.8": {"click-8.1.8-py3-none-any.whl"},
        "idna 3.10": {"idna-3.10-py3-none-any.whl"},
        "python-dateutil 2.9.0.post0": {"python_dateutil-2.9.0.post0-py2.py3-none-any.whl"},
        "six 1.17.0": {"six-1.17.0-py2.py3-none-any.whl"},
    }


def test_pipenv_names_digests_and_what_is_for_other_machines_without_a_version() -> None:
    path = DATA / "pipenv-2026.10.3.Pipfile.lock"
    found = registry.read(path)
    digests = {str(r): [d for f in r.files for _, d in f.digests] for r in found.releases}
    assert digests["six 1.17.0"] == [
        "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",
        "ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81",
    ]
    assert digests["text-unidecode"] == []
    assert f"{path}:51: text-unidecode has no version" in found.notes[0]
    needed = [str(release) for release in found.needed(linux)]
    assert needed == [name for name in digests if name != "text-unidecode"]


def test_pip_compile_names_digests_and_its_index_is_ignored_aloud() -> None:
    path = DATA / "pip-compile-7.6.2.txt"
    found = registry.read(path)
    assert {str(r): len(r.files) for r in found.releases} == {
        "click 8.1.8": 2,
        "idna 3.10": 2,
        "python-dateutil 2.9.0.post0": 1,
        "six 1.17.0": 2,
    }
    assert all(f.filename is None for r in found.releases for f in r.files)
    assert found.notes == (
        f"{path}:7: --index-url is ignored: a mirror asks what [[upstream]] names",
    )
