"""Which wheels a platform takes, and what markers find there."""

from __future__ import annotations

import pytest
from packaging import tags
from packaging.markers import Marker

from pypimirror.select.environments import Environments
from pypimirror.select.platforms import ANYWHERE, marker_facts, platform_tags


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        *(
            (f"ios_{major}_{minor}_{arch}", tags.ios_platforms((major, minor), arch))
            for major, minor in ((13, 0), (15, 4), (18, 0))
            for arch in ("arm64_iphoneos", "arm64_iphonesimulator", "x86_64_iphonesimulator")
        ),
        *(
            (f"android_{level}_{abi}", tags.android_platforms(level, abi))
            for level in (21, 34)
            for abi in ("arm64_v8a", "armeabi_v7a", "x86", "x86_64")
        ),
        *(
            (f"macosx_{major}_{minor}_{arch}", tags.mac_platforms((major, minor), arch))
            for major, minor, arch in (
                *((10, 6, "i386"), (10, 15, "x86_64"), (11, 0, "universal2")),
                *((14, 0, "arm64"), (14, 0, "x86_64"), (26, 0, "arm64")),
            )
        ),
    ],
)
def test_a_platform_takes_the_wheels_that_packaging_says(
    platform: str, expected: list[str]
) -> None:
    assert set(platform_tags(platform)) == set(expected)


@pytest.mark.parametrize(
    ("platform", "taken", "not_taken"),
    [
        ("manylinux_2_17_aarch64", {"manylinux2014_aarch64"}, {"manylinux_2_16_aarch64"}),
        ("manylinux_2_31_armv8l", {"linux_armv7l", "manylinux_2_31_armv7l"}, {"linux_aarch64"}),
        ("manylinux_2_11_i686", {"manylinux1_i686", "manylinux_2_5_i686"}, {"manylinux2010_i686"}),
        ("musllinux_1_2_x86_64", {"musllinux_1_0_x86_64", "linux_x86_64"}, {"manylinux1_x86_64"}),
        ("pyemscripten_2026_0_wasm32", set(), {"pyemscripten_2025_0_wasm32"}),
        ("pyodide_2025_0_wasm32", set(), {"pyodide_2024_0_wasm32"}),
        ("emscripten_3_1_58_wasm32", set(), {"emscripten_3_1_46_wasm32"}),
    ],
)
def test_what_packaging_says_only_on_the_system_itself(
    platform: str, taken: set[str], not_taken: set[str]
) -> None:
    found = set(platform_tags(platform))
    assert found >= taken | {platform}
    assert not found & not_taken


@pytest.mark.parametrize(
    "text",
    [
        *("ios", "ios_18_arm64_iphoneos", "ios_18_0_arm64", "android_arm64_v8a", "android_34"),
        *("pyemscripten_2026_wasm32", "pyodide_wasm32", "emscripten_wasm32", "macosx_14_arm64"),
        *("ios_999999999_0_arm64_iphoneos", "manylinux_2_999999999_x86_64", "win64", "any_any"),
    ],
)
def test_what_is_no_platform_is_refused_before_anything_is_counted(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        list(platform_tags(text))


@pytest.mark.parametrize(
    ("platform", "met", "not_met"),
    [
        (
            "ios_18_0_arm64_iphoneos",
            ['sys_platform == "ios"', 'platform_system == "iOS"', 'platform_system == "iPadOS"',
             'platform_machine == "arm64"', 'os_name == "posix"'],
            ['sys_platform == "linux"', 'sys_platform == "darwin"'],
        ),
        (
            "ios_18_0_x86_64_iphonesimulator",
            ['platform_machine == "x86_64"'],
            ['platform_machine == "arm64"'],
        ),
        (
            "android_34_arm64_v8a",
            ['sys_platform == "android"', 'platform_system == "Android"',
             'platform_machine == "aarch64"'],
            ['sys_platform == "linux"', 'platform_machine == "arm64_v8a"'],
        ),
        ("android_24_armeabi_v7a", ['platform_machine == "armv7l"'], ['platform_machine == "v7a"']),
        ("android_24_x86", ['platform_machine == "i686"'], ['platform_machine == "x86"']),
        *(
            (
                platform,
                ['sys_platform == "emscripten"', 'platform_system == "Emscripten"',
                 'platform_machine == "wasm32"'],
                ['sys_platform == "linux"'],
            )
            for platform in ("pyodide_2025_0_wasm32", "pyemscripten_2026_0_wasm32",
                             "emscripten_3_1_58_wasm32")
        ),
        ("manylinux2014_ppc64le", ['platform_machine == "ppc64le"'], ['os_name == "nt"']),
        ("musllinux_1_2_armv7l", ['platform_machine == "armv7l"'], ['sys_platform == "android"']),
        ("linux_riscv64", ['platform_machine == "riscv64"'], []),
        ("win32", ['sys_platform == "win32"', 'platform_machine == "x86"'], ['os_name == "posix"']),
        ("win_arm64", ['platform_machine == "ARM64"'], ['platform_machine == "AMD64"']),
        (
            "macosx_11_0_universal2",
            ['platform_machine == "arm64"', 'platform_machine == "x86_64"'],
            ['sys_platform == "ios"'],
        ),
    ],
)  # fmt: skip
def test_markers_find_what_python_says_of_itself_there(
    platform: str, met: list[str], not_met: list[str]
) -> None:
    environments = Environments(["3.13"], [platform, "any"])
    assert [text for text in met if not environments.meet(Marker(text))] == []
    assert [text for text in not_met if environments.meet(Marker(text))] == []


@pytest.mark.parametrize("system", ["linux", "darwin", "win32", "ios", "android", "emscripten"])
def test_where_no_platform_is_declared_markers_of_each_system_are_met(system: str) -> None:
    assert Environments(["3.13"]).meet(Marker(f'sys_platform == "{system}"'))


@pytest.mark.parametrize(
    ("platform", "facts"),
    [
        ("freebsd_14_1_release_amd64", ("freebsd14", "FreeBSD", "amd64")),
        ("openbsd_7_6_arm64", ("openbsd7", "OpenBSD", "arm64")),
        ("cygwin_3_6_x86_64", ("cygwin", "CYGWIN_NT-10.0", "x86_64")),
    ],
)
def test_a_system_without_public_wheels_may_have_its_own(
    platform: str, facts: tuple[str, str, str]
) -> None:
    assert list(platform_tags(platform)) == [platform]
    (found,) = marker_facts(platform)
    assert tuple(found[k] for k in ("sys_platform", "platform_system", "platform_machine")) == facts


def test_every_known_platform_is_one() -> None:
    for platform in ANYWHERE:
        assert platform in set(platform_tags(platform))
        assert list(marker_facts(platform))
