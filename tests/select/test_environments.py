"""Which wheels declared environments install, and which markers they meet."""

from __future__ import annotations

import pytest
from packaging import tags
from packaging.markers import Marker

from pypimirror.select.environments import EnvironmentKeyError, Environments


@pytest.mark.parametrize(
    ("python", "installed", "not_installed"),
    [
        (
            "3.12",
            ["cp312-cp312-any", "cp39-abi3-any", "py3-none-any", "py2.py3-none-any",
             "cp312-none-any"],
            ["cp313-cp313-any", "cp311-cp311-any", "py2-none-any", "cp313-abi3-any",
             "cp312-cp312t-any"],
        ),
        ("3.13t", ["cp313-cp313t-any", "py3-none-any"], ["cp313-cp313-any", "cp313-abi3-any"]),
        ("3.7", ["cp37-cp37m-any"], ["cp37-cp37-any"]),
        ("3.3", ["cp33-cp33m-any", "cp32-abi3-any"], ["cp33-cp33mu-any"]),
        ("3.2", ["cp32-cp32m-any", "cp32-cp32mu-any"], ["cp32-cp32-any"]),
        (
            "2.7",
            ["py2-none-any", "py27-none-any", "cp27-cp27m-any", "cp27-cp27mu-any"],
            ["py3-none-any", "cp26-cp26mu-any"],
        ),
    ],
)  # fmt: skip
def test_a_python_installs_what_pip_would(
    python: str, installed: list[str], not_installed: list[str]
) -> None:
    environments = Environments([python])
    assert [tag for tag in installed if not environments.install(tag)] == []
    assert [tag for tag in not_installed if environments.install(tag)] == []


@pytest.mark.parametrize(
    ("platform", "installed", "not_installed"),
    [
        (
            "manylinux_2_28_x86_64",
            ["manylinux_2_28_x86_64", "manylinux_2_5_x86_64", "manylinux2014_x86_64",
             "manylinux1_x86_64", "linux_x86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64"],
            ["manylinux_2_29_x86_64", "manylinux_2_28_aarch64", "musllinux_1_2_x86_64", "any"],
        ),
        (
            "manylinux2014_x86_64",
            ["manylinux_2_17_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"],
            ["manylinux_2_18_x86_64", "manylinux_2_28_x86_64"],
        ),
        ("musllinux_1_2_aarch64", ["musllinux_1_1_aarch64"], ["manylinux_2_17_aarch64"]),
        (
            "macosx_14_0_arm64",
            ["macosx_11_0_arm64", "macosx_14_0_universal2", "macosx_10_9_universal2"],
            ["macosx_15_0_arm64", "macosx_11_0_x86_64"],
        ),
        ("win_amd64", ["win_amd64"], ["win32", "win_arm64"]),
        ("any", ["any"], ["win32", "linux_x86_64"]),
    ],
)  # fmt: skip
def test_a_platform_takes_its_own_wheels_and_older_ones(
    platform: str, installed: list[str], not_installed: list[str]
) -> None:
    environments = Environments(platforms=[platform])
    assert [p for p in installed if not environments.install(f"cp312-cp312-{p}")] == []
    assert [p for p in not_installed if environments.install(f"cp312-cp312-{p}")] == []


def test_this_machine_declared_installs_every_tag_that_packaging_gives_for_it() -> None:
    """The rules of our own against packaging's, which knows only the system that it runs on."""
    linux = [p for p in tags.platform_tags() if p.startswith("manylinux_2_")]
    if not linux:
        pytest.skip("no glibc here")
    environments = Environments(platforms=[linux[0], "any"])
    assert [tag for tag in tags.sys_tags() if not environments.install(str(tag))] == []


def test_python_platform_and_abi_must_all_fit_and_one_environment_of_several_is_enough() -> None:
    environments = Environments(
        ["3.11", "3.14"], ["manylinux_2_28_x86_64", "any"], ["abi3", "none"]
    )
    assert environments.install("cp39-abi3-manylinux_2_17_x86_64")
    assert environments.install("py3-none-any")
    assert not environments.install("cp311-cp311-manylinux_2_17_x86_64")
    assert not environments.install("cp39-abi3-win_amd64")


def test_tags_that_cannot_be_read_are_installed_nowhere() -> None:
    assert not Environments(["3.12"]).install("cp312")
    assert not Environments(["3.12"]).install("")


@pytest.mark.parametrize("text", ["3", "cp312", "3.12.1", "", "3.x", "4.0", "3.12t", "3.9999"])
def test_what_is_no_python_is_refused(text: str) -> None:
    with pytest.raises(EnvironmentKeyError, match="no version of CPython"):
        Environments([text])


@pytest.mark.parametrize("text", ["linux", "manylinux", "macos", "", "x86_64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(EnvironmentKeyError, match="no platform tag"):
        Environments(platforms=[text])


def test_requires_python_admits_a_version_whatever_its_patch() -> None:
    environments = Environments(["3.11"])
    assert environments.admit(">=3.11.4")
    assert environments.admit("")
    assert environments.admit("no specifier")
    assert not environments.admit(">=3.12")
    assert not environments.admit("<3.11")
    assert Environments().admit(">=99")


@pytest.mark.parametrize(
    ("marker", "met"),
    [
        ('sys_platform == "linux"', True),
        ('sys_platform == "win32"', False),
        ('python_version >= "3.12"', False),
        ('platform_machine == "x86_64" and os_name == "posix"', True),
        ('extra == "test"', False),
        # A version stands for all its patches, as in what `uv export` writes.
        ('python_full_version >= "3.11.4"', True),
        ('python_full_version < "3.11.4"', True),
        ('python_full_version > "3.11.3" and python_full_version < "3.11.5"', True),
        ('python_full_version == "3.11.*" and implementation_version > "3.11.2"', True),
        ('python_full_version >= "3.12.1"', False),
        ('platform_python_implementation == "PyPy"', False),
    ],
)
def test_markers_are_held_against_what_is_declared(marker: str, met: bool) -> None:
    environments = Environments(["3.11"], ["manylinux_2_28_x86_64", "any"])
    assert environments.meet(Marker(marker)) is met


def test_where_nothing_is_declared_a_marker_is_met_when_it_is_somewhere() -> None:
    everywhere = Environments()
    assert everywhere.meet(Marker('sys_platform == "win32" and platform_machine == "ARM64"'))
    assert everywhere.meet(Marker('python_version < "3.8"'))
    for machine in ("s390x", "ppc64le", "riscv64", "armv7l", "i686", "loongarch64"):
        assert everywhere.meet(Marker(f'platform_machine == "{machine}"'))
    assert everywhere.meet(Marker('platform_python_implementation == "PyPy"'))
    assert everywhere.meet(Marker('implementation_name == "graalpy"'))
    assert everywhere.meet(Marker('platform_system == "FreeBSD" or sys_platform == "cygwin"'))
    assert not everywhere.meet(Marker('sys_platform == "plan9"'))
    # Nobody declares the release of a system, so any will do.
    for text in ('>= "20.0"', '< "20.0"', '== "20.0"'):
        assert everywhere.meet(Marker(f"platform_release {text}"))
    assert everywhere.meet(Marker('"Ubuntu" in platform_version'))
    assert not everywhere.meet(Marker('platform_release > "20.0" and platform_release < "20.0"'))
    assert not everywhere.meet(Marker('python_version < "3.8" and python_version > "3.9"'))
