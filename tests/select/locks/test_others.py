"""poetry.lock, pdm.lock, Pipfile.lock and pinned requirements: what odd and bad ones come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import Lock, UnreadableLockError

DATA = Path(__file__).parent / "data"
HEX = "1" * 64
POETRY = '[metadata]\nlock-version = "2.1"\n'
PDM = '[metadata]\nlock_version = "4.5.0"\n'


def written(directory: Path, name: str, text: str) -> Lock:
    (directory / name).write_text(text)
    return registry.read(directory / name)


def package(name: str = "a", more: str = "", files: str | None = None) -> str:
    files = f'[{{ file = "a-1.0.zip", hash = "sha256:{HEX}" }}]' if files is None else files
    return f'[[package]]\nname = "{name}"\nversion = "1.0"\nfiles = {files}\n{more}\n'


def pipfile(entry: dict[str, Any], **meta: Any) -> str:
    document = {"_meta": {"pipfile-spec": 6, **meta}, "default": {"a": entry}, "develop": {}}
    return json.dumps(document, indent=4)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("poetry.lock", package() + '[package.source]\ntype = "git"\n' + POETRY, "a git repo"),
        ("poetry.lock", package() + '[package.source]\ntype = "file"\n' + POETRY, "a file of"),
        ("poetry.lock", package() + '[package.source]\ntype = "directory"\n' + POETRY, "a directo"),
        ("poetry.lock", package() + '[package.source]\ntype = "url"\n' + POETRY, "a direct addr"),
        ("pdm.lock", PDM + package(more='git = "https://example.org/a"'), "a git repository"),
        ("pdm.lock", PDM + package(more='path = "./a"\neditable = true'), "a path of"),
        ("pdm.lock", PDM + package(more='url = "https://example.org/a.zip"'), "a direct address"),
        ("Pipfile.lock", pipfile({"git": "https://example.org/a", "ref": "1"}), "a git repository"),
        ("Pipfile.lock", pipfile({"editable": True, "path": "."}), "a path of the machine"),
        ("Pipfile.lock", pipfile({"file": "https://example.org/a.zip"}), "a direct address"),
    ],
)
def test_what_no_index_has_is_passed_over_and_noted(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    found = written(tmp_path, name, text)
    assert not found.releases
    (note,) = found.notes
    assert f": a is from {said}" in note


def test_what_requirements_have_by_address_or_path_is_passed_over_and_noted(tmp_path: Path) -> None:
    text = (
        "-e git+https://me:secret@example.org/a\n./b\n"
        "c @ https://me:secret@example.org/c.zip\nsix==1.0\n"
        "--extra-index-url=https://me:secret@example.org/simple\n"
    )
    found = written(tmp_path, "requirements.txt", text)
    assert [str(release) for release in found.releases] == ["six 1.0"]
    assert len(found.notes) == 4
    assert not any("secret" in note for note in found.notes)


def test_poetry_may_say_for_each_group_where_a_package_is_needed(tmp_path: Path) -> None:
    more = """markers = { main = "sys_platform == 'win32'", dev = "os_name == 'posix'" }"""
    (release,) = written(tmp_path, "poetry.lock", package(more=more) + POETRY).releases
    assert str(release.marker) == 'sys_platform == "win32" or os_name == "posix"'
    more = """markers = { main = "sys_platform == 'win32'", dev = "extra == 'x'" }"""
    (release,) = written(tmp_path, "poetry.lock", package(more=more) + POETRY).releases
    assert release.marker is None


def test_pipenv_once_wrote_markers_as_keys(tmp_path: Path) -> None:
    entry = {"version": "==1.0", "sys_platform": "== 'win32'", "markers": "os_name == 'nt'"}
    (release,) = written(tmp_path, "Pipfile.lock", pipfile(entry)).releases
    assert str(release.marker) == 'os_name == "nt" and sys_platform == "win32"'


def test_a_category_of_its_own_is_read(tmp_path: Path) -> None:
    document = {"_meta": {"pipfile-spec": 6}, "docs": {"a": {"version": "==1.0"}}}
    (release,) = written(tmp_path, "Pipfile.lock", json.dumps(document)).releases
    assert str(release) == "a 1.0"


def test_a_digest_of_an_algorithm_that_nobody_knows_is_none(tmp_path: Path) -> None:
    files = '[{ file = "a-1.0.zip", hash = "crc32:12345678" }]'
    (release,) = written(tmp_path, "pdm.lock", PDM + package(files=files)).releases
    assert release.files[0].digests == frozenset()


NO_METADATA = package().replace("files", "nothing")
BAD = {
    "poetry.lock": [
        (POETRY.replace("2.1", "3.0") + "package = []", "2: has version 3.0, and only 1.x and 2.x"),
        (package(), "1: names no version of its format"),
        (POETRY, " names no 'package' at all: it may be cut off"),
        (package(files="[]") + POETRY, "2: names no file of a 1.0: it may be cut off"),
        (NO_METADATA + POETRY, "2: names no file of a 1.0"),
        (package(files="5") + POETRY, "2: the list of the files of a is no list"),
        (package().replace(HEX, "12") + POETRY, "4: '12' is no sha256 digest"),
        (package().replace("sha256:", "") + POETRY, f"4: '{HEX}' is no digest such as"),
        (package().replace("a-1.0", "../a-1.0") + POETRY, "4: The file name ../a-1.0.zip"),
        (package(more='markers = "x"') + POETRY, "2: 'x' is no marker"),
        (package(more='name = "b"') + POETRY, "5: is no TOML: Cannot overwrite a value"),
        (package()[:-30] + POETRY, "4: is no TOML"),
    ],
    "pdm.lock": [
        (PDM.replace("4.5.0", "5.0") + package(), "2: has version 5.0, and only 3.x and 4.x"),
        (package(), "1: names no version of its format"),
        (PDM, " names no 'package' at all: it may be cut off"),
        (PDM + NO_METADATA, "4: names no file of a 1.0: it may be cut off"),
        (PDM + package(more="marker = 3"), "4: the marker of a is no text"),
        (PDM + package() + "[[package]]\nname", "9: is no TOML"),
    ],
    "Pipfile.lock": [
        (pipfile({})[:-1], "9: is no JSON: Expecting ',' delimiter"),
        (pipfile({}, **{"pipfile-spec": 7}), "3: has version 7, and only 6 can be read"),
        ("{}", "1: names no version of its format"),
        ("[]", "1: the document is no table"),
        (pipfile({"version": ">=1"}), "6: '>=1' is no version such as '==1.0'"),
        (pipfile({"version": "==1.*"}), "6: '==1.*' is no version such as"),
        (pipfile({"version": "==1", "hashes": ["sha256:x"]}), "9: 'x' is no sha256 digest"),
        (pipfile({"version": "==1", "hashes": "x"}), "6: 'hashes' is no list"),
        (pipfile({"version": "==1", "markers": "x"}), "6: '(x)' is no marker"),
        (pipfile({}).replace('"develop"', '"default"'), "8: has the key 'default' twice"),
        ('{"_meta": ' + "[" * 99999, "1: cannot be read: it is nested too deeply"),
        ('{"_meta": ' + "1" * 5000, "1: cannot be read: Exceeds the limit"),
    ],
    "requirements.txt": [
        ("six==1.0\nidna>=3\n", "2: 'idna>=3' pins no version with '=='"),
        ("six==1.*\n", "1: 'six==1.*' pins no version with '=='"),
        ("six\n", "1: 'six' pins no version with '=='"),
        ("six==1.0 --hash=sha256:12\n", "1: '12' is no sha256 digest"),
        ("six==1.0 --hash=sha256:xyz\n", "1: 'xyz' is no sha256 digest"),
        ("six==1.0 --hash sha256\n", "1: 'sha256' is no digest such as"),
        ("six==1.0 --hash=crc32:12\n", "1: --hash crc32:12: pip knows no such algorithm"),
        ("six=1.0\n", "1: 'six=1.0' is no requirement"),
        ("-r other.txt\n", "other.txt: cannot be read: No such file"),
    ],
}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [(name, *case) for name, cases in BAD.items() for case in cases],
)
def test_what_cannot_be_read_is_told_with_line_and_cause(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(UnreadableLockError) as raised:
        written(tmp_path, name, text)
    shown = str(raised.value).replace(f"{tmp_path}/", "").removeprefix(f"{name}:")
    assert shown.startswith(said)


@pytest.mark.parametrize("name", ["requirements.yaml", "conda.lock", "package-lock.json"])
def test_a_file_that_no_format_is_known_by_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        UnreadableLockError, match="is none of the locks that are known by their names"
    ):
        written(tmp_path, name, "")
    with pytest.raises(UnreadableLockError, match="there is no such file"):
        registry.read(tmp_path / "absent" / name)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("web-uv.lock", "uv.lock"),
        ("tool.py.lock", "uv.lock"),
        ("pylock.prod.toml", "pylock.toml"),
        ("requirements", "requirements.txt"),
        ("requirements-3.12.txt", "requirements.txt"),
    ],
)
def test_the_name_says_which_format_it_is(tmp_path: Path, name: str, form: str) -> None:
    texts = {
        "uv.lock": "version = 1\npackage = []\n",
        "pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n',
        "requirements.txt": "",
    }
    assert written(tmp_path, name, texts[form]).format == form


def test_requirements_are_read_in_the_encodings_of_windows(tmp_path: Path) -> None:
    for number, encoding in enumerate(["utf-8-sig", "utf-16"]):
        path = tmp_path / f"{number}.txt"
        path.write_text("six==1.0\r\n# ö\r\n", encoding=encoding)
        assert [str(release) for release in registry.read(path).releases] == ["six 1.0"]
