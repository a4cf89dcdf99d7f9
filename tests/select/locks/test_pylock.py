"""pylock.toml: what it names, where each is needed, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.markers import Marker

from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import Lock, UnreadableLockError

DATA = Path(__file__).parent / "data"
HEX = "1" * 64
HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'


def linux(marker: Marker) -> bool:
    facts = {"python_version": "3.12", "python_full_version": "3.12.4", "sys_platform": "linux"}
    return marker.evaluate(facts)


def written(directory: Path, text: str) -> Lock:
    (directory / "pylock.toml").write_text(text)
    return registry.read(directory / "pylock.toml")


def package(name: str, more: str = "", url: str = "", digest: str = HEX) -> str:
    url = url or f"https://example.org/{name}-1.0-py3-none-any.whl"
    wheel = f'{{ url = "{url}", hashes = {{ sha256 = "{digest}" }} }}'
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{more}\nwheels = [{wheel}]\n'


def test_a_real_lock_names_the_same_as_the_lock_that_it_was_exported_from() -> None:
    found = registry.read(DATA / "pylock.uv-0-13-9.toml")
    other = registry.read(DATA / "uv-0.13.9.uv.lock")
    assert [(str(r), r.files) for r in found.releases] == [
        (str(r), r.files) for r in other.releases
    ]
    needed = [str(release) for release in found.needed(linux)]
    assert needed == [str(release) for release in other.needed(linux)]


def test_its_source_is_the_line_that_has_the_name() -> None:
    path = DATA / "pylock.uv-0-13-9.toml"
    lines = path.read_text().splitlines()
    for release in registry.read(path).releases:
        number = int(release.source.removeprefix(f"{path}:"))
        assert lines[number - 1] == f'name = "{release.project}"'


def test_every_extra_and_group_is_taken_as_asked_for(tmp_path: Path) -> None:
    markers = {
        "a": "'x' in extras",
        "b": "'dev' not in dependency_groups and sys_platform == 'linux'",
        "c": "sys_platform == 'win32' and 'dev' in dependency_groups",
    }
    text = "".join(package(name, f'marker = "{text}"') for name, text in markers.items())
    found = written(tmp_path, HEAD + text)
    assert [release.project for release in found.needed(linux)] == ["a", "b"]


def test_an_sdist_of_an_old_form_is_named_as_it_is(tmp_path: Path) -> None:
    """As uv exports it; packaging 26.4 takes none but .tar.gz and .zip."""
    url = "https://example.org/old-1.0.tar.bz2"
    sdist = f'sdist = {{ url = "{url}", hashes = {{ sha256 = "{HEX}" }} }}'
    text = f'{HEAD}[[packages]]\nname = "old"\nversion = "1.0"\n{sdist}\n'
    (release,) = written(tmp_path, text).releases
    assert [(file.filename, file.url) for file in release.files] == [("old-1.0.tar.bz2", url)]
    text = text.replace("old-1.0.tar", "other-1.0.tar")
    with pytest.raises(UnreadableLockError, match=r"other-1\.0\.tar\.bz2 does not start with"):
        written(tmp_path, text)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('vcs = { type = "git", url = "https://example.org/a", commit-id = "1" }', "a git repo"),
        ('directory = { path = "." }', "a directory"),
        (
            f'archive = {{ url = "https://example.org/a.zip", hashes = {{ md5 = "{HEX}" }} }}',
            "a direct address",
        ),
        (f'archive = {{ path = "a.zip", hashes = {{ md5 = "{HEX}" }} }}', "a file of the machine"),
        (
            f'sdist = {{ path = "a-1.tar.gz", hashes = {{ md5 = "{HEX}" }} }}',
            "files of the machine",
        ),
    ],
)
def test_what_no_index_has_is_passed_over_and_noted(tmp_path: Path, table: str, said: str) -> None:
    found = written(tmp_path, f'{HEAD}[[packages]]\nname = "a"\n{table}\n')
    assert not found.releases
    assert f"pylock.toml:4: a is from {said}" in found.notes[0]


def test_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    assert written(tmp_path, HEAD.replace("1.0", "1.7") + package("a")).releases


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("1.0", "2.0") + "packages = 3", "1: has version 2.0, and only 1.0 can be"),
        ("packages = []", "1: names no version of its format"),
        (HEAD, " names no 'packages' at all: it may be cut off"),
        (HEAD + package("A_B"), "4: Name 'A_B' is not normalized in 'packages[0].name'"),
        (HEAD + package("a") + package("a", url="x"), "9: Invalid wheel filename 'x'"),
        (HEAD + package("a", url="https://[x/a-1.0-py3-none-any.whl"), "4: Invalid IPv6 URL"),
        (HEAD + package("a", digest="12"), "7: '12' is no sha256 digest"),
        (HEAD + package("a", digest=""), "4: '' is no sha256 digest"),
        (HEAD + package("a") + "x = [", "8: is no TOML: Invalid value at the end"),
        (HEAD + package("a", "name = 'b'"), "6: is no TOML: Cannot overwrite a value"),
    ],
)
def test_what_cannot_be_read_is_told_with_line_and_cause(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UnreadableLockError) as raised:
        written(tmp_path, text)
    assert str(raised.value).removeprefix(f"{tmp_path}/pylock.toml:").startswith(said)
