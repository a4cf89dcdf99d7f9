"""Sdists and eggs: whose are they."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from tests.corpus import build
from tests.verify.builders import (
    COMPRESSORS,
    PKG_INFO,
    PROJECT,
    STEM,
    make_egg,
    pack_tar,
    sdist_contents,
)
from tests.verify.helpers import check, message

ENDINGS = [".tar.gz", ".zip"]


def packed(files: dict[str, bytes], ending: str = ".tar.gz") -> bytes:
    return build.pack_zip(files) if ending == ".zip" else COMPRESSORS[ending](pack_tar(files))


def old(name: str, version: str) -> dict[str, bytes]:
    """An sdist with nothing but its PKG-INFO, under any top directory."""
    return {"top/PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n".encode()}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("name", "version"), [("other", "1.2.0"), (PROJECT, "1.2.1"), ("demo", "1.2.0")]
)
def test_pkg_info_of_another_project_or_version_is_refused(
    ending: str, name: str, version: str
) -> None:
    verdict = check(packed(old(name, version), ending), f"{STEM}{ending}")
    assert "names the" in message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.WRONG_PROJECT


@pytest.mark.parametrize(
    ("filename", "project", "name", "version"),
    [
        ("Foo.Bar-1.0b2.tar.gz", "foo-bar", "Foo.Bar", "1.0b2"),
        ("foo-bar-1.0.tar.gz", "foo-bar", "foo bar", "1.0"),
        ("foo-1.0-beta2.tar.gz", "foo", "foo", "1.0b2"),
        ("foo-1.0-final.tar.gz", "foo", "foo", "1.0-final"),
        ("foo-1.0_final.tar.gz", "foo", "foo", "1.0 final"),
        ("foo-latest.tar.gz", "foo", "foo", "latest"),
        ("foo-0.1dev-r1234.tar.gz", "foo", "foo", "0.1dev-r1234"),
        ("foo.tar.gz", "foo", "foo", "3"),
        ("foo1.0.tar.gz", "foo", "foo", "1.0"),
        ("foo-1.0.linux-x86_64.tar.gz", "foo", "foo", "1.0"),
    ],
)
def test_old_spellings_are_accepted(filename: str, project: str, name: str, version: str) -> None:
    verdict = check(packed(old(name, version)), filename, project)
    assert verdict.problem is None
    assert verdict.proof == "structure"


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_pkg_info_the_proof_is_partial(ending: str) -> None:
    files = {name: data for name, data in sdist_contents().items() if "PKG-INFO" not in name}
    verdict = check(packed({**files, "second/top": b""}, ending), f"{STEM}{ending}")
    assert verdict.problem is None
    assert verdict.proof == "partial"
    assert "names its project" in verdict.unchecked[0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_second_directory_at_the_top_is_refused(ending: str) -> None:
    files = {**sdist_contents(), "second/file": b""}
    assert "several directories" in message(check(packed(files, ending), f"{STEM}{ending}"))


@pytest.mark.parametrize("name", ["._demo_pkg-1.2.0", "__MACOSX/x", f"{STEM}/deeper/PKG-INFO"])
def test_notes_of_other_systems_do_not_matter(name: str) -> None:
    assert check(packed({**sdist_contents(), name: b"?"}), f"{STEM}.tar.gz").proof == "structure"


def test_names_that_start_with_a_dot_and_a_slash() -> None:
    files = {f"./{name}": data for name, data in sdist_contents().items()}
    assert check(packed({"./": b"", **files}), f"{STEM}.tar.gz").proof == "structure"


def test_pkg_info_is_not_read_beyond_its_bound() -> None:
    files = {f"{STEM}/PKG-INFO": PKG_INFO + bytes(17 << 20)}
    verdict = check(packed(files), f"{STEM}.tar.gz")
    assert "PKG-INFO of more than" in message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE


EGG = f"{STEM}-py3.11.egg"


def test_egg_of_another_project_is_refused() -> None:
    assert check(make_egg(), "other-1.2.0-py2.7.egg", "other").problem is not None


def test_egg_may_be_a_script() -> None:
    script = b"#!/bin/sh\nexec python -c ...\n"
    assert check(script + make_egg(), EGG).proof == "structure"
    assert "front" in message(check(b"PK\3\4" + script + make_egg(), EGG))
    assert "front" in message(check(b"#!" + b"x" * 70_000 + make_egg(), EGG))


def test_egg_without_pkg_info_is_partial() -> None:
    assert check(build.pack_zip({"demo_pkg/__init__.py": b""}), EGG).proof == "partial"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("top", ["", "./"])
def test_an_sdist_without_a_directory_at_its_top(ending: str, top: str) -> None:
    """hexdump 3.3; pip and uv build such an sdist."""
    files = {
        f"{top}PKG-INFO": PKG_INFO,
        f"{top}setup.py": b"",
        f"{top}other.egg-info/PKG-INFO": b"",
    }
    assert check(packed(files, ending), f"{STEM}{ending}").proof == "structure"
    files[f"{top}PKG-INFO"] = b"Name: other\nVersion: 1.2.0\n"
    assert "names the project 'other'" in message(check(packed(files, ending), f"{STEM}{ending}"))


@pytest.mark.parametrize("front", [b"\xef\xbb\xbf", b"\n"])
def test_pkg_info_is_read_generously(front: bytes) -> None:
    """Installers build an sdist to learn its name, so that nothing in front hides it."""
    files = {f"{STEM}/PKG-INFO": front + PKG_INFO}
    assert check(packed(files), f"{STEM}.tar.gz").proof == "structure"


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_directories_at_the_top_may_be_released(ending: str) -> None:
    files = {f"{STEM}/PKG-INFO": PKG_INFO, "more/x": b""}
    assert check(packed(files, ending), f"{STEM}{ending}").problem
    verdict = check(packed(files, ending), f"{STEM}{ending}", released=True)
    assert (verdict.problem, verdict.proof) == (None, "released")
