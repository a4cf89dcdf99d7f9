"""uv.lock: what it names, where each is needed, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.markers import Marker

from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import Lock, UnreadableLockError

DATA = Path(__file__).parent / "data"
HEX = "1" * 64


def linux(marker: Marker) -> bool:
    facts = {"python_version": "3.12", "python_full_version": "3.12.4", "sys_platform": "linux"}
    return marker.evaluate(facts)


def written(directory: Path, text: str, name: str = "uv.lock") -> Lock:
    (directory / name).write_text(text)
    return registry.read(directory / name)


def fault(directory: Path, text: str) -> str:
    with pytest.raises(UnreadableLockError) as raised:
        written(directory, text)
    return str(raised.value).replace(f"{directory}/", "")


REGISTRY = 'registry = "https://example.org/simple"'


def package(name: str, more: str = "", source: str = REGISTRY) -> str:
    text = f'[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {{ {source} }}\n{more}\n'
    if source != REGISTRY or "wheels" in more:
        return text
    file = f'url = "https://example.org/{name}-1.0.zip", hash = "sha256:{HEX}"'
    return f"{text}sdist = {{ {file} }}\n"


def test_a_real_lock_names_each_file_by_name_and_digest() -> None:
    found = registry.read(DATA / "uv-0.13.9.uv.lock")
    named = {str(release): release for release in found.releases}
    assert list(named) == [
        *("click 8.1.8", "colorama 0.4.6", "idna 3.7", "idna 3.10", "iniconfig 2.1.0"),
        *("markupsafe 3.0.2", "python-dateutil 2.9.0.post0", "six 1.17.0", "text-unidecode 1.3"),
    ]
    sdist, wheel = named["six 1.17.0"].files
    assert sdist.filename == "six-1.17.0.tar.gz"
    assert wheel.filename == "six-1.17.0-py2.py3-none-any.whl"
    digest = "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"
    assert wheel.digests == {("sha256", digest)}
    assert wheel.size == 11050
    assert wheel.url == f"https://index.example.org/packages/six/{wheel.filename}"


def test_its_source_is_the_line_that_has_the_name() -> None:
    path = DATA / "uv-0.13.9.uv.lock"
    lines = path.read_text().splitlines()
    for release in registry.read(path).releases:
        number = int(release.source.removeprefix(f"{path}:"))
        assert lines[number - 1] == f'name = "{release.project}"'


def test_an_environment_needs_what_markers_lead_to() -> None:
    needed = registry.read(DATA / "uv-0.13.9.uv.lock").needed(linux)
    assert [str(release) for release in needed] == [
        *("click 8.1.8", "idna 3.10", "iniconfig 2.1.0", "markupsafe 3.0.2"),
        *("python-dateutil 2.9.0.post0", "six 1.17.0"),
    ]


def test_extras_that_conflict_are_all_needed(tmp_path: Path) -> None:
    needs = """dependencies = [
        { name = "a", marker = "extra == 'extra-3-app-x1'" },
        { name = "b", marker = "sys_platform == 'win32' or extra != 'extra-3-app-x1'" },
        { name = "c", marker = "sys_platform == 'win32' and extra == 'extra-3-app-x2'" },
    ]"""
    text = "version = 1\n" + package("app", needs, 'virtual = "."')
    found = written(tmp_path, text + package("a") + package("b") + package("c"))
    assert [release.project for release in found.needed(linux)] == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('git = "https://example.org/a?rev=1#1"', "a git repository"),
        ('url = "https://example.org/a-1.0.tar.gz"', "a direct address"),
        ('path = "a-1.0.tar.gz"', "a file of the machine"),
        ('directory = "a"', "a directory"),
    ],
)
def test_what_no_index_has_is_passed_over_and_noted(tmp_path: Path, source: str, said: str) -> None:
    needs = 'dependencies = [{ name = "b" }]'
    text = "version = 1\n" + package("a", needs, source) + package("b")
    found = written(tmp_path, text)
    assert [release.project for release in found.releases] == ["b"]
    assert found.notes == (f"{tmp_path}/uv.lock:3: a is from {said}, which no index has",)
    assert found.needed(linux) == found.releases


def test_of_a_directory_that_serves_as_index_no_file_is_asked_for(tmp_path: Path) -> None:
    wheel = f'wheels = [{{ path = "a-1.0-py3-none-any.whl", hash = "sha256:{HEX}" }}]'
    found = written(tmp_path, "version = 1\n" + package("a", wheel, 'registry = "../wheels"'))
    assert not found.releases
    assert "a 1.0 has files by path" in found.notes[0]


def test_a_script_has_its_own_lock(tmp_path: Path) -> None:
    text = 'version = 1\n[manifest]\nrequirements = [{ name = "a" }]\n' + package("a")
    found = written(tmp_path, text, "tool.py.lock")
    assert found.needed(linux) == found.releases != ()


def test_a_name_is_normalised_and_an_address_decoded(tmp_path: Path) -> None:
    url = "https://example.org/a%2Fb/Foo.Bar-1.0%2Bcpu-py3-none-any.whl?x=1#y"
    file = f'wheels = [{{ url = "{url}", hash = "sha256:{HEX.upper()}" }}]'
    (release,) = written(tmp_path, "version = 1\n" + package("Foo.Bar", file)).releases
    assert release.project == "foo-bar"
    assert release.files[0].filename == "Foo.Bar-1.0+cpu-py3-none-any.whl"


WHEEL = '[{{ url = "https://example.org/{}", hash = "{}" }}]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 2\n", "uv.lock:1: has version 2, and only 1 can be read"),
        ("revision = 1\n", "uv.lock:1: names no version of its format"),
        ("version = 1\n", "uv.lock: names no 'package' at all: it may be cut off"),
        ("version = 1\npackage = 5\n", "uv.lock:1: 'package' is no list"),
        ("version = 1\n" + package("a") + "[[pack", "uv.lock:8: is no TOML: Expected ']]' at the"),
        ("version = 1\nversion = 1\n", "uv.lock:2: is no TOML: Cannot overwrite a value"),
        ("version = 1\n" + package("a").replace('"1.0"', "1.0"), "uv.lock:3: the version of a is"),
        ("version = 1\n" + package("../a"), "uv.lock:3: '../a' is no name of a project"),
        (
            "version = 1\n" + package("a", 'dependencies = [{ name = "b" }]'),
            "uv.lock: names no package b, which others of it need: it may be cut off",
        ),
        (
            "version = 1\n" + package("a", "dependencies = [{ name = 'b', marker = 'x y' }]"),
            "uv.lock:3: 'x y' is no marker:",
        ),
        (
            "version = 1\n"
            + package("a", f"wheels = {WHEEL.format('b-1.0.zip', 'sha256:' + HEX)}"),
            "uv.lock:6: The file name b-1.0.zip does not start with the name of the project a.",
        ),
        (
            "version = 1\n" + package("a", f"wheels = {WHEEL.format('a-1.0.zip', 'sha256:12')}"),
            "uv.lock:6: '12' is no sha256 digest, which has 64 hexadecimal digits",
        ),
        (
            "version = 1\n" + package("a", f"wheels = {WHEEL.format('a-1.0.zip', HEX)}"),
            f"uv.lock:6: '{HEX}' is no digest such as 'sha256:1f3e…'",
        ),
        (
            "version = 1\n"
            + package("a", f"wheels = {WHEEL.format('a-1.0.zip', 'x:1')}").replace(
                "example.org/a-", "[example.org/a-"
            ),
            "uv.lock:6: 'https://[example.org/a-1.0.zip' is no address: Invalid IPv6 URL",
        ),
        (
            "version = 1\n" + package("a", f"wheels = {WHEEL.format('x%2Fa-1.0.zip', 'x:1')}"),
            "uv.lock:6: The file name x/a-1.0.zip contains a path separator",
        ),
        ("version = 1\nx = " + "[" * 9999, "uv.lock:1: cannot be read: it is nested too deeply"),
        ("version = " + "1" * 5000, "uv.lock:1: cannot be read: Exceeds the limit"),
    ],
)
def test_what_cannot_be_read_is_told_with_line_and_cause(
    tmp_path: Path, text: str, said: str
) -> None:
    assert fault(tmp_path, text).startswith(said)


def test_wherever_it_is_cut_off_it_is_not_taken_for_a_whole_lock(tmp_path: Path) -> None:
    """But for one that has nothing yet: the selection refuses it, as it names no project."""
    lines = (DATA / "uv-0.13.9.uv.lock").read_text().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if "text-unidecode-1.3.tar.gz" in line)
    for number in range(last):
        try:
            assert not written(tmp_path, "".join(lines[:number])).releases
        except UnreadableLockError as error:
            assert f"{tmp_path}/uv.lock" in str(error)
