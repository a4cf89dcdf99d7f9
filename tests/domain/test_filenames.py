"""File names: what is refused, whose a file is, and which version it states."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import Version

from pypimirror.domain import filenames
from pypimirror.domain.filenames import (
    MAX_BYTES,
    belongs,
    check_filename,
    fold,
    is_distribution,
    is_variant,
    printable,
    version_of,
    version_text,
)
from pypimirror.domain.model import Reason

FAST = settings(max_examples=100)


def reason(filename: str, project: str = "six") -> Reason | None:
    problem = check_filename(filename, project)
    return problem.reason if problem else None


UNSAFE = {
    "empty": "",
    "dot": ".",
    "dots": "..",
    "parent directory": "../six-1.0.tar.gz",
    "parent directory inside": "six-1.0/../../x.tar.gz",
    "absolute": "/etc/six-1.0.tar.gz",
    "separator": "six/six-1.0.tar.gz",
    "backslash": "six\\..\\six-1.0.tar.gz",
    "drive": "six-1.0\\c:.tar.gz",
    "encoded separator": "six-%2e%2e%2fsix-1.0.tar.gz",
    "twice encoded": "six-1.0%252f.tar.gz",
    "nul": "six-1.0\0.tar.gz",
    "newline": "six-1.0\n.tar.gz",
    "newline at the end": "six-1.0.tar.gz\n",
    "carriage return": "six-1.0.tar.gz\r",
    "escape sequence": "six-\x1b[31m1.0.tar.gz",
    "delete": "six-1.0\x7f.tar.gz",
    "right to left mark": "six-1.0\u202egz.tar",
    "zero width space": "six-1.0\u200b.tar.gz",
    "line separator": "six-1.0\u2028.tar.gz",
    "lone surrogate": "six-1.0\ud800.tar.gz",
    "undecodable": "six-1.0\ufffd.tar.gz",
    "leading dot": ".six-1.0.tar.gz",
    "leading dash": "-six-1.0.tar.gz",
    "leading space": " six-1.0.tar.gz",
    "trailing dot": "six-1.0.tar.gz.",
    "trailing space": "six-1.0.tar.gz ",
    "three hundred bytes": "six-" + "1" * 289 + ".tar.gz",
    "one byte too many": "six-" + "1" * (MAX_BYTES + 1 - 8) + ".zip",
    "two-byte letters too many": "six-" + "\u00e9" * 124 + ".zip",
    "decomposed": "six-1.0" + unicodedata.normalize("NFD", "\u00e9") + ".tar.gz",
    "metadata of a wheel": "six-1.0-py3-none-any.whl.metadata",
    "metadata, other case": "six-1.0-py3-none-any.whl.METADATA",
    "metadata, other form": "six-1.0-py3-none-any.whl.metadat\u00aa",
    "provenance, other form": "six-1.0-py3-none-any.whl.\uff50rovenance",
    "provenance of a wheel": "six-1.0-py3-none-any.whl.provenance",
}


@pytest.mark.parametrize("fault", UNSAFE)
def test_unsafe_name(fault: str) -> None:
    assert reason(UNSAFE[fault]) is Reason.UNSAFE_NAME


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("nul.tar.gz", "nul"),
        ("CON.x-1.0.zip", "con-x"),
        ("com1.tar.gz", "com1"),
        ("lpt9.zip", "lpt9"),
        ("aux .1-2.zip", "aux"),
    ],
)
def test_unsafe_name_of_a_device(filename: str, project: str) -> None:
    assert reason(filename, project) is Reason.UNSAFE_NAME


@pytest.mark.parametrize(
    ("filename", "project"),
    [("nul-1.0.tar.gz", "nul"), ("console-1.0.zip", "console"), ("com10-1.zip", "com10")],
)
def test_names_that_only_begin_like_a_device(filename: str, project: str) -> None:
    assert reason(filename, project) is None


@pytest.mark.parametrize(
    "filename",
    ["seven-1.0.tar.gz", "sixth-1.0.tar.gz", "si-x-1.0.tar.gz", "six", "six2-1.0.tar.gz",
     "python3-six-1.0.tar.gz"],
)  # fmt: skip
def test_wrong_project(filename: str) -> None:
    assert reason(filename) is Reason.WRONG_PROJECT


def test_a_longest_name_has_room_for_its_sidecars() -> None:
    name = "six-" + "1" * (MAX_BYTES - 8) + ".zip"
    assert reason(name) is None
    assert len(f"{name}.metadata".encode()) <= 255
    assert len(f"{name}.provenance".encode()) <= 255


def test_a_problem_says_what_and_prints_safely() -> None:
    problem = check_filename("six-\x1b[31m\n" + "9" * 500, "six")
    assert problem is not None
    assert problem.project == "six"
    assert problem.file.isprintable()
    assert problem.message.isprintable()
    assert len(problem.message) < 300


# filename, project, text where the version stands, version
NAMES = [
    ("six-1.16.0.tar.gz", "six", "1.16.0", "1.16.0"),
    ("six-1.16.0-py2.py3-none-any.whl", "six", "1.16.0", "1.16.0"),
    ("six-1.16.0-1-py2.py3-none-any.whl", "six", "1.16.0", "1.16.0"),
    ("zope.interface-5.0.zip", "zope-interface", "5.0", "5.0"),
    ("zope_interface-5.0-cp38-cp38-win32.whl", "zope-interface", "5.0", "5.0"),
    ("Zope..Interface-5.0.tgz", "zope-interface", "5.0", "5.0"),
    ("a-1.tar.bz2", "a", "1", "1"),
    ("a-1.tbz", "a", "1", "1"),
    ("a-1.tar.xz", "a", "1", "1"),
    ("a-1.tar.zst", "a", "1", "1"),
    ("a-1.tar.Z", "a", "1", "1"),
    ("a-1.tar", "a", "1", "1"),
    ("a-1.ZIP", "a", "1", "1"),
    (
        "a_b-1!2.0rc1.post3.dev4+local.5.tar.gz",
        "a-b",
        "1!2.0rc1.post3.dev4+local.5",
        "1!2.0rc1.post3.dev4+local.5",
    ),
    ("torch-2.0+cu118-cp311-cp311-linux_x86_64.whl", "torch", "2.0+cu118", "2.0+cu118"),
    ("foo-1.0_1-py3-none-any.whl", "foo", "1.0_1", "1.0.post1"),
    ("foo-1.0-py2.7.egg", "foo", "1.0", "1.0"),
    ("foo-1.0_beta1-py2.7-linux-x86_64.egg", "foo", "1.0_beta1", "1.0b1"),
    ("foo-1.0.win32-py2.7.exe", "foo", "1.0", "1.0"),
    ("foo-1.0.win-amd64-py2.7.exe", "foo", "1.0", "1.0"),
    ("foo-1.0.win32.exe", "foo", "1.0", "1.0"),
    ("foo-1.0.exe", "foo", "1.0", "1.0"),
    ("foo-1.0-py2.7.exe", "foo", "1.0", "1.0"),
    ("foo-1.0.win-amd64-py3.4.msi", "foo", "1.0", "1.0"),
    ("foo-1.0-1.noarch.rpm", "foo", "1.0", "1.0"),
    ("foo-1.0-1.src.rpm", "foo", "1.0", "1.0"),
    ("python3-foo-1.0-1.noarch.rpm", "foo", "1.0", "1.0"),
    ("python-foo_1.0-2_all.deb", "foo", "1.0", "1.0"),
    ("python3.11-foo_1.0~rc1-2_all.deb", "foo", "1.0~rc1", "1.0rc1"),
    ("foo_1.0_all.deb", "foo", "1.0", "1.0"),
    ("foo-1.0.linux-x86_64.tar.gz", "foo", "1.0", "1.0"),
    ("foo-1.0-linux-x86_64.tar.gz", "foo", "1.0", "1.0"),
    ("foo-1.0.macosx-10.9-x86_64.tar.gz", "foo", "1.0", "1.0"),
    ("foo-1.0-src.zip", "foo", "1.0", "1.0"),
    ("foo-1.0-beta2.tar.gz", "foo", "1.0-beta2", "1.0b2"),
    ("foo-v1.0.tar.gz", "foo", "v1.0", "1.0"),
    ("foo1.0.tar.gz", "foo", "1.0", "1.0"),
    ("1-2-3.tar.gz", "1-2", "3", "3"),
    ("1-2-3.tar.gz", "1", "2-3", "2.post3"),
    # Versions that are none; the files are mirrored all the same.
    ("foo-latest.tar.gz", "foo", "latest", None),
    ("foo-1.0-final-really.zip", "foo", "1.0-final-really", None),
    ("foo-bar-1.0.tar.gz", "foo", "bar-1.0", None),
    ("foo-2004d-py3-none-any.whl", "foo", "2004d", None),
    ("foo.tar.gz", "foo", None, None),
    ("foo-tar.gz", "foo", "tar.gz", None),
    ("foo-1.0", "foo", "1.0", "1.0"),
    ("foo-1.0.whatever", "foo", "1.0.whatever", None),
]


@pytest.mark.parametrize(("filename", "project", "text", "version"), NAMES)
def test_names_of_all_kinds(
    filename: str, project: str, text: str | None, version: str | None
) -> None:
    assert reason(filename, project) is None
    assert version_text(filename, project) == text
    assert version_of(filename, project) == (version and Version(version))


def test_no_version_in_the_name_of_another_project() -> None:
    assert version_text("seven-1.0.tar.gz", "six") is None
    assert version_of("seven-1.0-py3-none-any.whl", "six") is None


PROJECTS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)
VERSIONS = st.from_regex(
    r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]?)){0,3}((a|b|rc)[1-9])?", fullmatch=True
)
SEPARATORS = st.sampled_from(["-", "_", "."])


@FAST
@given(
    PROJECTS, VERSIONS, SEPARATORS, st.sampled_from([".tar.gz", ".zip", ".tar.xz"]), st.booleans()
)
def test_a_name_built_of_project_and_version_gives_both_back(
    project: str, version: str, separator: str, extension: str, upper: bool
) -> None:
    spelled = project.replace("-", separator)
    filename = f"{spelled.upper() if upper else spelled}-{version}{extension}"
    assert canonicalize_name(spelled) == project
    assert belongs(filename, project)
    assert version_text(filename, project) == version
    assert version_of(filename, project) == Version(version)


ANY_NAME = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="six.-_/\\%2fe0 \n\0A\u00e9", max_size=30),
    st.builds("six-{}{}".format, st.text(max_size=20), st.sampled_from([".zip", ".whl", ".exe"])),
)


@FAST
@given(ANY_NAME)
def test_a_name_that_passes_is_one_component_of_a_path(name: str) -> None:
    if check_filename(name, "six") is not None:
        return
    assert name not in ("", ".", "..")
    assert not set(name) & {"/", "\\", "\0", "\n", "\r"}
    assert name[0] not in ".-"
    assert name.isprintable()
    assert len(f"{name}.metadata".encode()) <= 255
    assert unicodedata.normalize("NFC", name) == name
    assert canonicalize_name(name).startswith("six")


@FAST
@given(ANY_NAME)
def test_the_short_cut_never_passes_what_the_long_way_refuses(name: str) -> None:
    if filenames._is_usual(name, "six"):
        assert filenames._fault(name) is None
        assert belongs(name, "six")


@FAST
@given(ANY_NAME)
def test_every_function_takes_any_name(name: str) -> None:
    version_of(name, "six")
    is_distribution(name)
    assert printable(name).isprintable()
    assert len(printable(name, 10)) <= 100


@FAST
@given(st.text(max_size=30))
def test_fold_is_the_same_for_all_cases_and_forms(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, name)) == fold(name)


def test_fold_of_cases() -> None:
    assert fold("Six-1.0.ZIP") == fold("six-1.0.zip")
    assert fold("six-\u00c9.zip") == fold("six-e\u0301.zip")
    assert fold("six-1.0.zip") != fold("six_1.0.zip")


def test_distributions_are_known_by_their_endings() -> None:
    assert is_distribution("six-1.0.tar.gz")
    assert is_distribution("SIX-1.0.EXE")
    for other in ("six-1.0.tar.gz.asc", "six-1.0-py3-none-any.whl.metadata", "six", "index.html"):
        assert not is_distribution(other)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("six-1.0-variants.json", True),
        ("six-1.0-py3-none-any-x86_64_v3.whl", True),
        ("six-1.0-cp312-cp312-linux_x86_64-00000000.whl", True),
        ("six-1.0-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64-cu12.whl", True),
        ("six-1.0-1-cp312-cp312-win32-null.whl", True),
        ("six-1.0-7build-py2.py3-none-any-a.whl", True),
        ("six-1.0-py3-none-any.whl", False),
        ("six-1.0-1-py3-none-any.whl", False),
        ("six-1.0-rc1-py3-none-any.whl", False),
        ("six-1.0-rc1-cp27-cp27m-win32.whl", False),
        ("six-1.0-1-cp312-cp312-linux_x86_64.whl", False),
        ("six-1.0-beta-cp27-cp27m-win_amd64.whl", False),
        ("six-variants-1.0.tar.gz", False),
        ("six-1.0.json", False),
        ("variants.json", False),
    ],
)
def test_what_is_of_a_variant_is_told_from_all_that_tools_know(
    filename: str, expected: bool
) -> None:
    assert is_variant(filename) == expected
