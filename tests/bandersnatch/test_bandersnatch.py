"""A configuration of bandersnatch becomes one of ours, option by option; its tree is adopted."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pypimirror.bandersnatch.draft import OptionOutcome, Translated
from pypimirror.bandersnatch.translate import OPTIONS, translate
from pypimirror.config.sections import pypi_address
from pypimirror.config.settings import Config, ConfigError, parse
from pypimirror.config.values import SecretStr
from pypimirror.domain.model import File, ProjectName
from pypimirror.select.selection import Selection

TAKEN, NOT_NEEDED = OptionOutcome.TAKEN, OptionOutcome.NOT_NEEDED
NOT_POSSIBLE, UNKNOWN = OptionOutcome.NOT_POSSIBLE, OptionOutcome.UNKNOWN

#: Every option in the defaults, in the examples and in the filters of bandersnatch 8.2.
KNOWN = {
    "mirror": "allow-non-https cleanup cleanup_todo compare-method core-metadata "
    "delete_missing_packages diff-append-epoch diff-file digest_name directory download-mirror "
    "download-mirror-no-fallback global-timeout hash-index json keep-index-versions "
    "keep_index_versions log-config master proxy release-files root_uri simple-format "
    "stop-on-error storage-backend storage-filesystem-manage-permissions timeout verifiers workers",
    "s3": "region_name aws_access_key_id aws_secret_access_key endpoint_url signature_version "
    "max_attempts verify_concurrency",
    "plugins": "enabled",
    "allowlist": "packages requirements requirements_path",
    "blocklist": "packages platforms",
    "filter_regex": "packages releases",
    "filter_prerelease": "packages",
    "latest_release": "keep sort_by",
    "size_project_metadata": "max_package_size",
    "versions_count_project_metadata": "min_versions max_versions",
    "regex_project_metadata": "search",
    "regex_release_file_metadata": "search",
}


class Source:
    """A configuration of bandersnatch in a file, and what it becomes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "bandersnatch.conf"

    def write(self, text: str, mirror: str = "") -> None:
        """Write sections, after a `[mirror]` that has a directory and these lines."""
        self.file.write_text(f"[mirror]\ndirectory = {self.directory}/home\n{mirror}\n{text}\n")

    def options(self) -> dict[str, Translated]:
        """What became of each option."""
        return {f"{o.section} {o.option}": o for o in translate(self.file).options}

    def config(self) -> Config:
        """What it became as a whole, as the program reads it."""
        values = tomllib.loads(translate(self.file).text)
        return parse(values, self.directory / "pypimirror.toml")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A configuration that is not written yet."""
    return Source(tmp_path)


def test_every_option_that_bandersnatch_knows_has_an_equivalent_or_a_reason() -> None:
    known = {(section, name) for section, names in KNOWN.items() for name in names.split()}
    assert {(option.section, option.name) for option in OPTIONS} == known
    assert all(option.meaning for option in OPTIONS)


#: Lines of `[mirror]`: what became of the last of them, and the key with its value.
MIRROR: list[tuple[str, OptionOutcome, str, Any]] = [
    ("storage-backend = filesystem", NOT_NEEDED, "mirror.layout", "pypi"),
    (f"master = {pypi_address().removesuffix('/simple/')}", TAKEN, "upstream.url", pypi_address()),
    (f"master = {pypi_address().removesuffix('/simple/')}/", TAKEN, "upstream.hosts", ("*",)),
    ("master = http://127.0.0.1:81/x", TAKEN, "upstream.url", "http://127.0.0.1:81/x/simple/"),
    ("master = http://127.0.0.1:81", TAKEN, "upstream.name", "127.0.0.1-81"),
    ("proxy = http://10.0.0.1:3128", TAKEN, "download.proxy", SecretStr("http://10.0.0.1:3128")),
    ("proxy = socks5://10.0.0.1", TAKEN, "download.proxy", SecretStr("socks5://10.0.0.1")),
    ("proxy = socks4://10.0.0.1", NOT_POSSIBLE, "upstream.name", "pypi"),
    ("proxy =", NOT_NEEDED, "upstream.name", "pypi"),
    ("download-mirror = http://127.0.0.1:9/", TAKEN, "upstream.alternates",
     ("http://127.0.0.1:9/simple/",)),
    ("download-mirror-no-fallback = yes", NOT_POSSIBLE, "upstream.alternates", ()),
    ("download-mirror-no-fallback = no", NOT_NEEDED, "upstream.alternates", ()),
    ("json = true", TAKEN, "publish.formats", ("html", "json", "legacy")),
    ("json = false", NOT_NEEDED, "publish.formats", ("html", "json")),
    ("json = on\nsimple-format = json", TAKEN, "publish.formats", ("json", "legacy")),
    ("simple-format = HTML", TAKEN, "publish.formats", ("html",)),
    ("release-files = true", NOT_NEEDED, "publish.base_url", ""),
    ("release-files = false", TAKEN, "select.metadata_only", ("*",)),
    ("release-files = false\nroot_uri = https://127.0.0.1", NOT_NEEDED, "publish.base_url", ""),
    ("root_uri = https://127.0.0.1/x", TAKEN, "publish.base_url", "https://127.0.0.1/x/"),
    ("core-metadata = true", NOT_NEEDED, "publish.provenance", True),
    ("hash-index = false", NOT_NEEDED, "mirror.layout", "pypi"),
    ("hash-index = true", NOT_POSSIBLE, "mirror.layout", "pypi"),
    ("keep_index_versions = 0", NOT_NEEDED, "mirror.layout", "pypi"),
    ("keep_index_versions = 3", NOT_POSSIBLE, "mirror.layout", "pypi"),
    ("stop-on-error = true", NOT_POSSIBLE, "mirror.layout", "pypi"),
    ("stop-on-error = false", NOT_NEEDED, "mirror.layout", "pypi"),
    ("timeout = 12", TAKEN, "download.timeout", 12.0),
    ("global-timeout = 1800", NOT_NEEDED, "download.timeout", 30),
    ("workers = 10", NOT_NEEDED, "download.connections", 128),
    ("diff-file = /x/diff", TAKEN, "publish.changes", Path("/x/diff")),
    ("diff-append-epoch = true\ndiff-file = /x/diff", TAKEN, "publish.changes",
     Path("/x/diff-{run}")),
    ("diff-file = /x/diff\ndiff-append-epoch = true", TAKEN, "publish.changes",
     Path("/x/diff-{run}")),
    ("diff-append-epoch = true", NOT_NEEDED, "publish.changes", None),
    ("log-config = /etc/log.conf", NOT_NEEDED, "mirror.layout", "pypi"),
    ("wrokers = 3", UNKNOWN, "mirror.layout", "pypi"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "outcome", "key", "value"), MIRROR, ids=[m[0] for m in MIRROR])
def test_options_of_the_mirror(
    source: Source, lines: str, outcome: OptionOutcome, key: str, value: Any
) -> None:
    source.write("", lines)
    config = source.config()
    name = lines.splitlines()[-1].partition(" =")[0]
    option = source.options()[f"mirror {name}"]
    assert option.outcome is outcome
    assert option.note
    section, _, key = key.partition(".")
    table = config.upstream[0] if section == "upstream" else getattr(config, section)
    assert getattr(table, key) == value
    assert config.directory == source.directory / "home" / "web"


def test_the_place_of_the_list_of_changes_may_name_another_option(source: Source) -> None:
    source.write("", "diff-file = {{mirror_directory}}/new/list")
    assert source.config().publish.changes == source.directory / "home" / "new" / "list"


def test_the_configuration_says_of_each_option_what_became_of_it(source: Source) -> None:
    source.write("[plugins]\nenabled = regex_project\n[acme]\nkey = 1", "workers = 3")
    text = translate(source.file).text
    lines = [line for line in text.splitlines() if line.startswith("# [")]
    assert [line.split(":")[0] for line in lines] == [
        *("# [mirror] directory", "# [mirror] workers", "# [plugins] enabled", "# [acme] key"),
    ]
    assert all(str(option) in text for option in source.options().values())


def test_no_secret_is_told(source: Source) -> None:
    source.write(
        "[s3]\naws_secret_access_key = hush",
        "proxy = http://me:hush@10.0.0.1:1\nmaster = https://me:hush@127.0.0.1",
    )
    assert not [o for o in source.options().values() if "hush" in o.note]
    assert translate(source.file).text.count("hush") == 2, "upstream and proxy need it"


def test_nothing_in_a_value_gets_out_of_its_line(source: Source) -> None:
    source.write(
        '[blocklist]\nplatforms =\n    "]\n    [mirror]\n[plugins]\nenabled = exclude_platform\n'
        '    "\\x\n[a]\nb\x07 = 1',
        'root_uri = https://127.0.0.1/"x\nlog-config = a\n    [upstream]\n',
    )
    values = tomllib.loads(translate(source.file).text)
    assert values["mirror"]["layout"] == "pypi"
    assert values["publish"]["base_url"] == 'https://127.0.0.1/"x/'


#: Plug-ins, sections, what becomes of the option, files that are kept, and those that are not.
FILTERS: list[tuple[str, str, str, OptionOutcome, str, str]] = [
    ("allowlist_project", "[allowlist]\npackages =\n    black==18.5\n    # no\n    Ptr  # why",
     "allowlist packages", TAKEN, "black-18.5.zip black-19.zip ptr-1.zip", "flake8-1.zip"),
    ("allowlist_project\n    allowlist_release",
     "[allowlist]\npackages =\n    black==18.5\n    ptr", "allowlist packages", TAKEN,
     "black-18.5.zip ptr-1.zip", "black-19.zip flake8-1.zip"),
    ("all", "[allowlist]\npackages =\n    black[d]>=18.5a1",
     "allowlist packages", TAKEN, "black-18.5.zip", "black-18.zip black-19b1.zip flake8-1.zip"),
    ("blocklist_project", "[allowlist]\npackages = black", "allowlist packages", NOT_NEEDED,
     "black-1.zip other-1.zip", ""),
    ("project_requirements", "[allowlist]\nrequirements_path = {here}\nrequirements =\n    re*.txt",
     "allowlist requirements", TAKEN, "six-1.zip six-2.zip idna-3.zip", "other-1.zip"),
    ("project_requirements_pinned", "[allowlist]\nrequirements = {here}/req.txt",
     "allowlist requirements", TAKEN, "six-2.zip idna-3.zip", "six-1.zip other-1.zip"),
    ("all", "[allowlist]\nrequirements = {here}/req.txt\npackages = six<5\n    other",
     "allowlist requirements", TAKEN, "six-2.zip", "six-1.zip other-1.zip idna-3.zip"),
    ("blocklist_project", "[blocklist]\npackages =\n    evil\n    bad>=2", "blocklist packages",
     TAKEN, "bad-2.zip good-1.zip", "evil-1.zip"),
    ("blocklist_release", "[blocklist]\npackages =\n    evil\n    bad>=2,!=3.*",
     "blocklist packages", TAKEN, "bad-1.zip bad-3.1.zip", "evil-1.zip bad-2.zip bad-4rc1.zip"),
    ("regex_project", "[filter_regex]\npackages =\n    .+-evil$\n    (?i)EVIL",
     "filter_regex packages", TAKEN, "good-1.zip good_evils-1.zip", "really-evil-1.zip evil-1.zip"),
    ("regex_release", "[filter_regex]\nreleases =\n    .+alpha\\d$|0", "filter_regex releases",
     TAKEN, "a-1.0.zip", "a-2.alpha1.zip a-0.1.zip"),
    ("prerelease_release", "", "plugins enabled", TAKEN, "a-1.0.zip a-1.post1.zip",
     "a-1.0rc1.zip a-1.dev3.zip"),
    ("prerelease_release", "[filter_prerelease]\npackages =\n    Duck.DB\n    ^a$",
     "filter_prerelease packages", TAKEN, "duck-db-1.0.zip b-1rc1.zip",
     "duck-db-1.0rc1.zip a-1b1.zip"),
    ("latest_release", "[latest_release]\nkeep = 2", "latest_release keep", TAKEN,
     "a-2.zip a-10.zip", "a-1.zip"),
    ("latest_release", "[latest_release]\nkeep = 0\nsort_by = time", "latest_release keep",
     NOT_NEEDED, "a-2.zip a-10.zip a-1.zip", ""),
    ("exclude_platform", "[blocklist]\nplatforms = windows macos freebsd", "blocklist platforms",
     TAKEN, "a-1-py3-none-any.whl a-win32-1.tar.gz a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
     "a-1-cp311-cp311-win_amd64.whl a-1.win32.exe a-1.msi a-1-cp311-cp311-macosx_11_0_arm64.whl "
     "a-1-cp27-none-freebsd_9_amd64.whl"),
    ("exclude_platform", "[blocklist]\nplatforms =\n    Linux\n    amiga", "blocklist platforms",
     TAKEN, "a-1-cp311-cp311-win32.whl a-1.tar.gz",
     "a-1-cp311-cp311-manylinux_2_28_x86_64.whl a-1-cp311-cp311-musllinux_1_2_x86_64.whl a-1.rpm"),
    ("exclude_platform", "[blocklist]\nplatforms = py3.6 py2 manylinux1_i686",
     "blocklist platforms", TAKEN, "a-1-cp311-cp311-win32.whl a-1-py36-none-any.whl",
     "a-1-cp36-cp36m-win32.whl a-1-py3.6.egg a-1-py2-none-any.whl "
     "a-1-cp33-none-manylinux1_i686.whl"),
    ("size_project_metadata", "[size_project_metadata]\nmax_package_size = 1G\n"
     "[allowlist]\npackages = b", "size_project_metadata max_package_size", TAKEN,
     "a-1.zip b-1-2000.zip", "c-1-2000.zip"),
    ("versions_count_project_metadata", "[versions_count_project_metadata]\nmax_versions = 1",
     "versions_count_project_metadata max_versions", TAKEN, "a-1.zip", "b-1.zip b-2.zip"),
    ("versions_count_project_metadata", "[versions_count_project_metadata]\nmin_versions = 2\n"
     "[allowlist]\npackages = c", "versions_count_project_metadata min_versions", TAKEN,
     "b-1.zip b-2.zip c-1.zip", "a-1.zip"),
    ("regex_project_metadata", "[regex_project_metadata]\nany:info.classifiers = .*Django.*",
     "regex_project_metadata any:info.classifiers", NOT_POSSIBLE, "a-1.zip", ""),
    ("regex_release_file_metadata",
     "[regex_release_file_metadata]\nany:release_file.packagetype =\n    sdist\n    bdist_wheel",
     "regex_release_file_metadata any:release_file.packagetype", TAKEN,
     "a-1.zip a-1-py3-none-any.whl", "a-1-py2.7.egg"),
    ("regex_release_file_metadata",
     "[regex_release_file_metadata]\nnone:release_file.filename = win\nsearch = true",
     "regex_release_file_metadata none:release_file.filename", TAKEN, "a-1.zip", "a-1.win32.zip"),
    ("regex_release_file_metadata",
     "[regex_release_file_metadata]\nall:release_file.filename = a",
     "regex_release_file_metadata all:release_file.filename", NOT_POSSIBLE, "a-1.zip b-1.zip", ""),
    ("version_range_release_file_metadata",
     "[version_range_release_file_metadata]\nany:release_file.requires_python =\n    3.6",
     "version_range_release_file_metadata any:release_file.requires_python", TAKEN,
     "a-1.zip a-1-cp36-cp36m-win32.whl", "a-1-cp39-cp39-win32.whl"),
    ("acme_filter", "", "plugins enabled", NOT_POSSIBLE, "a-1.zip", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plugins", "text", "option", "outcome", "kept", "dropped"),
    FILTERS,
    ids=[f"{f[0].split()[0]} {f[2]}" for f in FILTERS],
)
def test_filters_keep_what_bandersnatch_keeps(
    source: Source,
    plugins: str,
    text: str,
    option: str,
    outcome: OptionOutcome,
    kept: str,
    dropped: str,
) -> None:
    here = source.directory
    (here / "req.txt").write_text(f"six==2 --hash=sha256:{'0' * 64}\nidna<4  # comment\n")
    source.write(f"[plugins]\nenabled =\n    {plugins}\n{text.replace('{here}', str(here))}")
    assert source.options()[option].outcome is outcome
    selection = Selection(source.config())
    projects: dict[ProjectName, list[File]] = {}
    for name in [*kept.split(), *dropped.split()]:
        size = 2000 << 20 if "-2000" in name else 1
        shown = name.replace("-2000", "")
        first, *rest = shown.split("-")
        project = "-".join([first, *(r for r in rest[:1] if not r[0].isdigit())]).replace("_", "-")
        file = File(shown, f"http://127.0.0.1/{shown}", size=size)
        projects.setdefault(ProjectName(project), []).append(file)
    found = [
        file.filename
        for project, files in projects.items()
        if selection.project(project)
        for file, chosen in zip(files, selection.choose(project, files, 0.0).selected, strict=True)
        if chosen
    ]
    assert sorted(found) == sorted(kept.replace("-2000", "").split())


def test_filters_on_core_metadata_become_those_of_the_same_outcome(source: Source) -> None:
    source.write(
        "[plugins]\nenabled = regex_project_metadata\n[regex_project_metadata]\n"
        "not-null:info.classifiers =\n    .*Django\n    Topic\nnone:info.author_email = .*@evil\n"
        "any:info.license = MIT\nnone:info.description = x\nall:info.summary = x\n"
    )
    options = [option.outcome for option in source.options().values()][2:]
    assert options == [TAKEN, TAKEN, NOT_POSSIBLE, NOT_POSSIBLE, NOT_POSSIBLE]
    select = source.config().select
    assert select.metadata == {"classifier": (r"/\A(?:.*Django)/", r"/\A(?:Topic)/")}
    assert select.exclude_metadata == {"author-email": (r"/\A(?:.*@evil)/",)}


@pytest.mark.parametrize(
    ("text", "mirror", "said"),
    [
        ("[plugins]\nenabled = allowlist_project\n[allowlist]\npackages = ~~~", "", "packages"),
        ("[plugins]\nenabled = all\n[allowlist]\nrequirements = no/such.txt", "", "no/such.txt"),
        ("[plugins]\nenabled = all\n[allowlist]\nrequirements = no*.txt", "", "no such file"),
        ("[plugins]\nenabled = regex_project\n[filter_regex]\npackages = (", "", "packages"),
        ("[plugins]\nenabled = latest_release\n[latest_release]\nkeep = two", "", "keep"),
        ("", "json = perhaps", "json"),
        ("", "simple-format = XML", "simple-format"),
        ("", "diff-file = {{mirror_nothing}}/x", "mirror_nothing"),
        ("", "root_uri = %(nothing)s", "root_uri"),
        ("", "storage-backend = s3", "directory"),
        ("", "directory = twice", "no configuration of bandersnatch"),
        ("no section", "]", "no configuration of bandersnatch"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_not_a_mirror_of_everything(
    source: Source, text: str, mirror: str, said: str
) -> None:
    source.write(text, mirror)
    with pytest.raises(ConfigError, match=said) as error:
        translate(source.file)
    assert str(source.file) in str(error.value)


def test_allow_lists_that_have_no_project_in_common_are_an_error(source: Source) -> None:
    (source.directory / "r.txt").write_text("six\n")
    source.write(f"[plugins]\nenabled = all\n[allowlist]\npackages = idna\n"
                 f"requirements = {source.directory}/r.txt")  # fmt: skip
    with pytest.raises(ConfigError, match="no project is on all allow lists"):
        translate(source.file)


def test_the_report_can_be_read_by_a_program(source: Source) -> None:
    source.write("", "workers = 3")
    assert json.dumps([o.outcome.value for o in source.options().values()]) == (
        '["taken over", "not needed"]'
    )
