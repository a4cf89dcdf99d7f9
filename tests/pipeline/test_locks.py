"""What a lock names is mirrored: exactly its files, for as long as it names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pypimirror.domain.errors import ConfigError
from pypimirror.domain.model import Reason
from pypimirror.pipeline.discover import further_digests
from pypimirror.pipeline.preview.explain import explain
from pypimirror.verify.protocol import Check
from tests.mirror import Mirror, offer, offer_sdist, reasons
from tests.pipeline.conftest import MakeMirror
from tests.simulator import IndexFile, Simulator

NOTHING: Mapping[str, str] = MappingProxyType({})
WRONG = "1" * 64


def uv_lock(
    mirror: Mirror, *files: IndexFile, digests: Mapping[str, str] = NOTHING, needs: str = ""
) -> Path:
    """Write a uv.lock that names these files, in place of the one that is there."""
    projects = list(dict.fromkeys(file.project.normalized for file in files))
    edges = needs or ", ".join(f'{{ name = "{name}" }}' for name in projects)
    lines = ["version = 1", "[[package]]", 'name = "app"', 'source = { virtual = "." }']
    lines += [f"dependencies = [{edges}]"]
    for name in projects:
        own = {file.filename: file.sha256 for file in files if file.project.normalized == name}
        wheels = [
            f'{{ url = "https://example.org/{file}", hash = "sha256:{digests.get(file, digest)}" }}'
            for file, digest in own.items()
        ]
        lines += ["[[package]]", f'name = "{name}"', 'version = "1.0"']
        lines += ['source = { registry = "https://example.org/simple" }']
        lines += [f"wheels = [{', '.join(wheels)}]"]
    path = mirror.base / "uv.lock"
    path.write_text("\n".join(lines) + "\n")
    return path


def lock(mirror: Mirror, *patterns: str, **more: object) -> None:
    """Select what locks name."""
    mirror.sections["select"] = {}
    mirror.configure(select={"locks": list(patterns), **more})


def test_exactly_the_files_that_a_lock_names_are_mirrored(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six, _) = offer(simulator, "six", "1.0", "2.0")
    offer_sdist(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    uv_lock(mirror, six)
    lock(mirror, "uv.lock")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["six"]
    assert mirror.files("six") == [six.filename]


def test_a_lock_adds_to_projects_and_exclude_wins(mirror: Mirror, simulator: Simulator) -> None:
    (six,) = offer(simulator, "six", "1.0")
    (tomli,) = offer(simulator, "tomli", "1.0")
    offer(simulator, "idna", "1.0", "2.0")
    uv_lock(mirror, six, tomli)
    lock(mirror, "uv.lock", projects=["idna"], exclude=["tomli"])
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert len(mirror.files("idna")) == 2


def test_a_lock_that_changes_takes_effect_both_ways(mirror: Mirror, simulator: Simulator) -> None:
    (six,) = offer(simulator, "six", "1.0")
    (idna,) = offer(simulator, "idna", "1.0")
    uv_lock(mirror, six)
    lock(mirror, "uv.lock")
    mirror.sync()
    uv_lock(mirror, idna)
    result = mirror.sync()
    assert result.counts["files_withdrawn"] == 1
    assert mirror.projects == ["idna"]
    assert not mirror.path(six).exists()
    uv_lock(mirror, six, idna)
    mirror.sync()
    assert mirror.projects == ["idna", "six"]


def test_another_file_or_digest_of_the_same_release_takes_effect(
    mirror: Mirror, simulator: Simulator
) -> None:
    (wheel,) = offer(simulator, "six", "1.0")
    sdist = offer_sdist(simulator, "six", "1.0")
    uv_lock(mirror, wheel)
    lock(mirror, "uv.lock")
    mirror.sync()
    uv_lock(mirror, sdist)
    mirror.sync()
    assert mirror.files("six") == [sdist.filename]
    uv_lock(mirror, sdist, wheel, digests={wheel.filename: WRONG})
    assert reasons(mirror.sync().failures) == {wheel.filename: Reason.DIGEST_CONFLICT}
    uv_lock(mirror, sdist, wheel)
    assert mirror.sync().state == "completed"
    assert sorted(mirror.files("six")) == sorted([sdist.filename, wheel.filename])


def test_what_a_lock_drops_stays_on_disk_for_the_grace_period(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    (six,) = offer(simulator, "six", "1.0")
    (idna,) = offer(simulator, "idna", "1.0")
    uv_lock(mirror, six, idna)
    lock(mirror, "uv.lock")
    mirror.sync()
    uv_lock(mirror, six)
    mirror.sync()
    assert mirror.projects == ["six"]
    assert mirror.holds(idna)


@pytest.mark.parametrize("authoritative", [False, True])
def test_a_digest_that_contradicts_the_upstream_is_told_and_the_file_not_published(
    mirror: Mirror, simulator: Simulator, authoritative: bool
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    (idna,) = offer(simulator, "idna", "1.0")
    path = uv_lock(mirror, six, idna, digests={six.filename: WRONG})
    lock(mirror, "uv.lock")
    mirror.upstreams[0]["authoritative"] = authoritative
    mirror.configure()
    for _ in range(2):
        result = mirror.sync()
        assert result.state == "incomplete"
        assert reasons(result.failures) == {six.filename: Reason.DIGEST_CONFLICT}
        (failure,) = result.failures
        assert all(text in failure.message for text in (f"{path}:7 says", six.sha256, "1" * 64))
        assert "make the lock again" in failure.message
        assert mirror.files("six") == []
        assert mirror.files("idna") == [idna.filename]
    assert simulator.downloads(six.filename) == 0


@pytest.mark.parametrize("authoritative", [False, True])
def test_another_algorithm_in_a_lock_is_compared_with_the_file_that_is_here(
    mirror: Mirror, simulator: Simulator, authoritative: bool
) -> None:
    """Nobody told of a wrong sha512 in a lock, because the file had been proven by its sha256."""
    (six,) = offer(simulator, "six", "1.0")
    mirror.upstreams[0]["authoritative"] = authoritative
    mirror.configure(verify={"on_changed": "replace"})  # that is for what upstreams say
    path = uv_lock(mirror, six)
    text = path.read_text()
    lock(mirror, "uv.lock")
    assert mirror.sync().state == "completed"
    right, wrong = hashlib.sha512(six.content).hexdigest(), "1" * 128
    path.write_text(text.replace(f"sha256:{six.sha256}", f"sha512:{wrong}"))
    for _ in range(2):
        result = mirror.sync()
        assert reasons(result.failures) == {six.filename: Reason.DIGEST_CONFLICT}
        (failure,) = result.failures
        assert all(text in failure.message for text in (f"{path}:7 says {wrong}", right))
        assert "make the lock again" in failure.message
        assert mirror.files("six") == [six.filename]
    path.write_text(text.replace(f"sha256:{six.sha256}", f"sha512:{right}"))
    assert mirror.sync().state == "completed"
    assert simulator.downloads(six.filename) == 1


def test_files_are_read_again_only_if_a_lock_brings_another_algorithm(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    (idna,) = offer(simulator, "idna", "1.0")
    path = uv_lock(mirror, six)
    lock(mirror, "uv.lock")
    mirror.sync()
    read: list[str] = []

    def noted(*job: Any, **more: Any) -> Check:
        read.append(job[3])
        return Check(*job, **more)

    monkeypatch.setattr(further_digests, "Check", noted)
    uv_lock(mirror, six, idna)
    six.yanked = "bad"
    six.project.touch()
    assert mirror.sync().state == "completed"
    assert read == []
    sha512 = hashlib.sha512(six.content).hexdigest()
    path.write_text(path.read_text().replace(f"sha256:{six.sha256}", f"sha512:{sha512}"))
    assert mirror.sync().state == "completed"
    assert read == [six.filename]


def test_two_locks_that_contradict_each_other_are_told(
    mirror: Mirror, simulator: Simulator
) -> None:
    six = simulator.add_file("six", "six-1.0.tar.gz", b"x", digests=None)
    for number in "12":
        uv_lock(mirror, six, digests={six.filename: number * 64}).rename(
            mirror.base / f"{number}-uv.lock"
        )
    lock(mirror, "*-uv.lock")
    result = mirror.sync()
    assert reasons(result.failures) == {six.filename: Reason.DIGEST_CONFLICT}
    assert all(f"{n}-uv.lock:7 says" in result.failures[0].message for n in "12")


def test_a_lock_proves_what_its_upstream_tells_no_digest_of(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six,) = offer(simulator, "six", "1.0", digests=None, core_metadata=None)
    (idna,) = offer(simulator, "idna", "1.0", digests=None, core_metadata=None)
    uv_lock(mirror, six, idna, digests={idna.filename: WRONG})
    lock(mirror, "uv.lock")
    result = mirror.sync()
    assert reasons(result.failures) == {idna.filename: Reason.DIGEST_MISMATCH}
    assert mirror.files("six") == [six.filename]
    assert mirror.files("idna") == []


def test_a_file_that_the_upstream_does_not_have_is_told(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    gone = offer_sdist(simulator, "six", "1.0")
    path = uv_lock(mirror, six, gone)
    gone.remove()
    lock(mirror, "uv.lock")
    result = mirror.sync()
    assert reasons(result.failures) == {gone.filename: Reason.MISSING}
    assert f"{path}:7 names {gone.filename}" in result.failures[0].message
    assert mirror.files("six") == [six.filename]
    lock(mirror, "uv.lock", exclude_files=["*.tar.gz"])
    assert mirror.sync().state == "completed"


def test_a_project_that_no_upstream_has_is_told_with_the_line_of_the_lock(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    (idna,) = offer(simulator, "idna", "1.0")
    path = uv_lock(mirror, six, idna)
    simulator.delete_project("idna")
    lock(mirror, "uv.lock")
    result = mirror.sync()
    assert reasons(result.failures) == {"idna": Reason.MISSING}
    assert result.failures[0].message.endswith(f"check the spelling in {path}:12")


def pipfile_lock(mirror: Mirror, hashes: Sequence[str]) -> Path:
    path = mirror.base / "Pipfile.lock"
    entry = {"hashes": [f"sha256:{each}" for each in hashes], "version": "==1.0"}
    path.write_text(json.dumps({"_meta": {"pipfile-spec": 6}, "default": {"six": entry}}, indent=4))
    return path


def test_a_lock_without_file_names_selects_by_version_and_digest(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six, _) = offer(simulator, "six", "1.0", "2.0")
    offer_sdist(simulator, "six", "1.0")
    pipfile_lock(mirror, [six.sha256])
    lock(mirror, "Pipfile.lock")
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [six.filename]
    path = pipfile_lock(mirror, [six.sha256, "1" * 64])
    result = mirror.sync()
    assert reasons(result.failures) == {"six": Reason.MISSING}
    assert f"{path}:6 names a file of six 1.0 with the sha256 {'1' * 64}" in (
        result.failures[0].message
    )
    assert mirror.files("six") == [six.filename]


def test_a_digest_of_another_version_in_the_lock_is_no_failure(
    mirror: Mirror, simulator: Simulator
) -> None:
    """pipenv locks digests of 1.0.1 with 1.0, because the one text is in the other."""
    (six, later) = offer(simulator, "six", "1.0", "1.0.1")
    pipfile_lock(mirror, [six.sha256, later.sha256])
    lock(mirror, "Pipfile.lock")
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [six.filename]
    pipfile_lock(mirror, [later.sha256])
    assert reasons(mirror.sync().failures) == {"six": Reason.MISSING}


def test_only_what_the_declared_environments_need_is_mirrored(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    (colorama,) = offer(simulator, "colorama", "1.0")
    uv_lock(
        mirror,
        *(six, colorama),
        needs='{ name = "six" }, { name = "colorama", marker = "sys_platform == \'win32\'" }',
    )
    lock(mirror, "uv.lock")
    mirror.sync()
    assert mirror.projects == ["colorama", "six"]
    lock(mirror, "uv.lock", platforms=["manylinux_2_28_x86_64", "any"])
    mirror.sync()
    assert mirror.projects == ["six"]
    lock(mirror, "uv.lock", platforms=["win_amd64", "any"], python=["3.12"])
    mirror.sync()
    assert mirror.projects == ["colorama", "six"]


def damages(path: Path) -> Iterator[str]:
    """Damage a lock in every way; yield what is to be said of each."""
    text = path.read_text()
    path.write_text(text[:-3])
    yield "uv.lock:10: is no TOML: Unclosed inline table at the end: the file may be cut off"
    path.write_text(text.replace("version = 1", "version = 2"))
    yield "uv.lock:1: has version 2"
    path.write_text("version = 1\npackage = []\n")
    yield "uv.lock: names no project"
    path.write_text(text.replace('"sha256:', '"sha256:z'))
    yield "uv.lock:10: 'z"
    path.write_text(text.replace('version = "1.0"', 'version = "1.0"\nversion = "1.0"'))
    yield "uv.lock:9: is no TOML: Cannot overwrite a value"
    path.write_bytes(text.encode() + b"# \xff\n")
    yield "uv.lock:11: has the byte 0xff"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    yield "uv.lock: cannot be read: has more than"
    path.unlink()
    yield "uv.lock: there is no such file"
    path.mkdir()
    yield "uv.lock: is a directory and no file"


def test_a_lock_that_cannot_be_read_stops_the_run_before_anything_is_removed(
    mirror: Mirror, simulator: Simulator
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    path = uv_lock(mirror, six)
    lock(mirror, "uv.lock")
    mirror.sync()
    before = mirror.served()
    for said in damages(path):
        with pytest.raises(ConfigError) as raised:
            mirror.sync()
        assert said in str(raised.value)
        assert "to mirror every project" not in str(raised.value)
        assert mirror.served() == before


@pytest.mark.parametrize("pin", ["six===2004d", f"six=={'1' * 5000}"])
def test_a_version_that_names_no_file_does_not_stand_for_all_of_them(
    mirror: Mirror, simulator: Simulator, pin: str
) -> None:
    offer(simulator, "six", "1.0")
    (mirror.base / "requirements.txt").write_text(f"{pin}\n")
    lock(mirror, "requirements.txt")
    with pytest.raises(
        ConfigError, match=r"requirements\.txt:1: '.*' is no version of today's form"
    ):
        mirror.sync()


def test_a_glob_that_matches_nothing_is_named(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    lock(mirror, "apps/*/uv.lock")
    with pytest.raises(ConfigError, match=r"select\.locks: '.*/apps/\*/uv\.lock' matches no file"):
        mirror.sync()


def test_explain_names_the_lines_of_locks(mirror: Mirror, simulator: Simulator) -> None:
    (six,) = offer(simulator, "six", "1.0")
    offer_sdist(simulator, "six", "1.0")
    path = uv_lock(mirror, six)
    lock(mirror, "uv.lock")
    found = explain(mirror.config, "six")
    assert (found.verdict.rule, found.verdict.fact) == (f"{path}:7", "names six 1.0")
    told = {entry.file: entry.verdict for entry in found.files}
    assert told[six.filename].selected
    assert told["six-1.0.tar.gz"].fact == "six 1.0 is locked with other files than this"


def test_what_no_index_has_is_told_once(
    mirror: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    (six,) = offer(simulator, "six", "1.0")
    path = uv_lock(mirror, six)
    with path.open("a") as file:
        file.write(
            '[[package]]\nname = "own"\nsource = { git = "https://example.org/own?rev=1" }\n'
        )
    lock(mirror, "uv.lock")
    assert mirror.sync().state == "completed"
    told = [record.message for record in caplog.records if "own" in record.message]
    assert told == [f"{path}:12: own is from a git repository, which no index has"]


def test_a_directory_may_have_the_signs_of_a_glob_in_its_name(
    make_mirror: MakeMirror, simulator: Simulator, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "[web] *", simulator)
    (six,) = offer(simulator, "six", "1.0")
    uv_lock(mirror, six)
    for pattern in ("uv.lock", "*.lock"):
        lock(mirror, pattern)
        assert mirror.sync().state == "completed"
        assert mirror.projects == ["six"]
