"""The documented filters of bandersnatch and shadowmire, each with the same outcome here.

What theirs do was read in their documentation, and seen by running them. Where ours differs on
purpose, the test says how.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from pypimirror.config.settings import parse
from pypimirror.domain.model import File, ProjectName
from pypimirror.select.selection import Selection


@dataclass(frozen=True)
class Case:
    """A filter of a peer, written our way, and what it keeps of what is offered."""

    theirs: str
    select: dict[str, Any]
    kept: list[str]
    dropped: list[str]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  #: what is said of some
    linked: list[str] = field(default_factory=list)  #: of what is kept, what stays at the upstream


CASES = [
    Case(
        "bandersnatch: blocklist_project, blocklist_release",
        {"exclude": ["example1", "example2>=1.4.2,<1.9,!=1.5.*,!=1.6.*"]},
        ["example2-1.4.1.tar.gz", "example2-1.5.3.tar.gz", "example2-1.9.tar.gz", "other-1.0.zip"],
        ["example1-1.0.tar.gz", "example2-1.4.2.tar.gz", "example2-1.7-py3-none-any.whl"],
    ),
    Case(
        "bandersnatch: allowlist_project, allowlist_release",
        {"projects": ["black==18.5", "ptr"]},
        ["black-18.5.tar.gz", "ptr-1.0.tar.gz"],
        ["black-19.0.tar.gz", "flake8-1.0.tar.gz"],
    ),
    Case(
        "bandersnatch: project_requirements_pinned",
        {"projects": ["-r requirements.txt"]},
        ["six-1.16.0.tar.gz", "idna-3.4-py3-none-any.whl", "attrs-1.tar.gz"],
        ["six-1.15.0.tar.gz", "idna-4.0.tar.gz", "other-1.0.tar.gz"],
    ),
    Case(
        "bandersnatch: regex_project, regex_release",
        {"exclude": ["/.+-evil$/"], "exclude_versions": [r"/.+alpha\d$/"]},
        ["good-1.0.tar.gz", "evil-1.0.tar.gz"],
        ["really-evil-1.0.tar.gz", "good-2.0.alpha1.tar.gz"],
    ),
    Case(
        "bandersnatch: prerelease_release",
        {"prereleases": False},
        ["a-1.0.tar.gz", "a-1.0.post1.tar.gz"],
        ["a-1.0rc1.tar.gz", "a-1.0a2.tar.gz", "a-2.0.dev3.tar.gz"],
    ),
    Case(
        "bandersnatch: prerelease_release with packages = ^duckdb$",
        {"rules": [{"projects": ["/^duckdb$/"], "prereleases": False}]},
        ["duckdb-1.0.tar.gz", "black-1.0b1.tar.gz"],
        ["duckdb-1.0.dev1.tar.gz"],
    ),
    Case(
        "bandersnatch: latest_release with keep = 2",
        {"latest": 2},
        ["a-2.0.tar.gz", "a-10.0.tar.gz", "a-10.0-py3-none-any.whl"],
        ["a-1.0.tar.gz"],
    ),
    Case(
        "bandersnatch: latest_release with keep = 1, sort_by = time",
        {"latest": 1, "latest_by": "time"},
        ["a-1.0.post9.tar.gz"],
        ["a-2.0.tar.gz"],
        {"a-1.0.post9.tar.gz": {"upload_time": "2026-03-01T00:00:00Z"},
         "a-2.0.tar.gz": {"upload_time": "2026-02-01T00:00:00Z"}},
    ),
    Case(
        "bandersnatch: exclude_platform with platforms = windows macos freebsd",
        # By inclusion: what is not named is not there, whatever comes in years to come.
        {"platforms": ["manylinux_2_99_x86_64", "manylinux_2_99_aarch64", "any"],
         "exclude_files": ["*.exe", "*.msi", "*.dmg"]},
        ["a-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", "a-1.0-py3-none-any.whl", "a-1.0.tar.gz"],
        ["a-1.0-cp311-cp311-win_amd64.whl", "a-1.0-cp311-cp311-macosx_11_0_arm64.whl",
         "a-1.0.win32.exe", "a-1.0-cp27-none-freebsd_9_amd64.whl"],
    ),
    Case(
        "bandersnatch: exclude_platform with platforms = py3.6 py3.7",
        {"exclude_files": ["/-cp3[67]-/", "/-py3[67]-/"]},
        ["a-1.0-cp311-cp311-win32.whl", "a-1.0-py3-none-any.whl", "a-1.0.tar.gz"],
        ["a-1.0-cp36-cp36m-win32.whl", "a-1.0-py37-none-any.whl"],
    ),
    Case(
        "bandersnatch: size_project_metadata with max_package_size = 1G, but for a and b",
        {"max_project_size": "1 GiB",
         "rules": [{"projects": ["a", "b"], "max_project_size": 0}]},
        ["a-1.0.tar.gz", "small-1.0.tar.gz"],
        ["large-1.0.tar.gz", "large-2.0.tar.gz"],
        {"a-1.0.tar.gz": {"size": 2 << 30}, "large-1.0.tar.gz": {"size": 1 << 30},
         "large-2.0.tar.gz": {"size": 1}, "small-1.0.tar.gz": {"size": 1 << 30}},
    ),
    Case(
        "bandersnatch: version_range_release_file_metadata with requires_python",
        # Theirs compares specifiers as versions; ours asks whether a Python could install it.
        {"python": ["3.6"]},
        ["a-1.0.tar.gz", "a-2.0.tar.gz"],
        ["a-3.0.tar.gz"],
        {"a-2.0.tar.gz": {"requires_python": ">=3.6"},
         "a-3.0.tar.gz": {"requires_python": ">=3.9"}},
    ),
    Case(
        "bandersnatch: regex_release_file_metadata with any:release_file.packagetype = sdist",
        {"types": ["sdist"]},
        ["a-1.0.tar.gz", "a-1.0.zip"],
        ["a-1.0-py3-none-any.whl", "a-1.0-py2.7.egg"],
    ),
    Case(
        "shadowmire: exclude",
        {"exclude": ["/.+-nightly(-|$)/"]},
        ["tf-1.0.tar.gz"],
        ["tf-nightly-1.0.tar.gz", "tf-nightly-gpu-1.0.tar.gz"],
    ),
    Case(
        "shadowmire: include beside exclude",
        {"exclude": ["/^django/", "!django-ninja"]},
        ["django_ninja-1.0.tar.gz", "flask-1.0.tar.gz"],
        ["django-5.0.tar.gz", "django_rest-1.0.tar.gz"],
    ),
    Case(
        "shadowmire: include without exclude",
        {"projects": ["/^django-ninja$/"]},
        ["django_ninja-1.0.tar.gz"],
        ["django-5.0.tar.gz", "flask-1.0.tar.gz"],
    ),
    Case(
        # Theirs takes the first that matches, ours the last: the order is turned round.
        "shadowmire: package_filters: exclude ^a-bad$, include ^a-, exclude .*",
        {"exclude": ["*", "!a-*", "a-bad"]},
        ["a_good-1.0.tar.gz"],
        ["a_bad-1.0.tar.gz", "other-1.0.tar.gz"],
    ),
    Case(
        "shadowmire: skip_yanked",
        {"yanked": False},
        ["a-1.0.tar.gz"],
        ["a-2.0.tar.gz"],
        {"a-2.0.tar.gz": {"yanked": "broken"}},
    ),
    Case(
        "shadowmire: skip_old_packages_days = 90, least_releases_to_keep = 2",
        {"younger_than": "90d", "at_least": 2},
        ["a-3.0.tar.gz", "a-2.0.tar.gz", "b-3.0.tar.gz", "b-2.0.tar.gz", "b-1.0.tar.gz",
         "c-1.0.tar.gz"],
        ["a-1.0.tar.gz", "a-2.5.tar.gz"],
        {"a-1.0.tar.gz": {"upload_time": "1969-01-01T00:00:00Z"},
         "a-2.0.tar.gz": {"upload_time": "1969-09-20T00:00:00Z"},
         "a-2.5.tar.gz": {"upload_time": "1969-08-01T00:00:00Z"},
         "a-3.0.tar.gz": {"upload_time": "1969-12-01T00:00:00Z"},
         "b-1.0.tar.gz": {"upload_time": "1969-12-01T00:00:00Z"},
         "b-2.0.tar.gz": {"upload_time": "1969-12-01T00:00:00Z"},
         "b-3.0.tar.gz": {"upload_time": "1969-12-01T00:00:00Z"},
         "c-1.0.tar.gz": {"upload_time": "1960-01-01T00:00:00Z"}},
    ),
    Case(
        "shadowmire: prerelease_exclude",
        {"rules": [{"projects": ["/^duckdb$/"], "prereleases": False}]},
        ["duckdb-1.0.tar.gz", "other-1.0rc1.tar.gz"],
        ["duckdb-1.1.dev5.tar.gz"],
    ),
    Case(
        "shadowmire: excluded_wheel_filename",
        {"exclude_files": ["/-win_arm64\\.whl$/"]},
        ["a-1.0-cp311-cp311-win_amd64.whl", "a-1.0.tar.gz"],
        ["a-1.0-cp311-cp311-win_arm64.whl"],
    ),
    Case(
        "shadowmire: package_filters, the first that matches: exclude, include, metadata-only",
        # Their links stay relative, for a web server that fills in; ours lead to the upstream.
        {"exclude": ["/^problematic-project$/"], "metadata_only": ["*"],
         "rules": [{"projects": ["/^requests$/", "/^flask$/"], "metadata_only": False}]},
        ["requests-1.0.tar.gz", "flask-1.0.tar.gz", "other-1.0.tar.gz"],
        ["problematic-project-1.0.tar.gz"],
        linked=["other-1.0.tar.gz"],
    ),
    Case(
        "bandersnatch: release-files = false",
        {"metadata_only": ["*"]},
        ["a-1.0.tar.gz", "b-1.0.tar.gz"],
        [],
        linked=["a-1.0.tar.gz", "b-1.0.tar.gz"],
    ),
]  # fmt: skip


def project_of(filename: str) -> ProjectName:
    """The longest project that a name can be of: what stands before the version."""
    name = filename.partition("-")[0]
    for part in filename.split("-")[1:]:
        if part[0].isdigit():
            break
        name += f"-{part}"
    return ProjectName(canonicalize_name(name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.theirs)
def test_a_filter_of_a_peer_has_the_same_outcome(case: Case, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.16.0\nidna<4  # comment\nattrs\n")
    config = parse({"select": case.select}, tmp_path / "pypimirror.toml")
    selection = Selection(config)
    projects: dict[ProjectName, list[File]] = {}
    for name in [*case.kept, *case.dropped]:
        file = File(name, f"http://127.0.0.1/{name}", **case.files.get(name, {}))
        projects.setdefault(project_of(name), []).append(file)
    kept = [
        file.filename
        for project, files in projects.items()
        if selection.project(project)
        for file, chosen in zip(files, selection.choose(project, files, 0.0).selected, strict=True)
        if chosen
    ]
    assert sorted(kept) == sorted(case.kept)
    linked = [
        file.filename
        for project, files in projects.items()
        for file, verdict in zip(files, selection.linked(project, files), strict=True)
        if verdict is not None and file.filename in kept
    ]
    assert sorted(linked) == sorted(case.linked)
