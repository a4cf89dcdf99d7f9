"""The configuration: every key, its default, its limits, and how it is told what is wrong."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from pypimirror.cli.actions.initialise import write_configuration
from pypimirror.config import settings as module
from pypimirror.config.selecting import SelectSection
from pypimirror.config.settings import Config, ConfigError, load, parse
from pypimirror.config.values import SecretStr

FILE = Path("/somewhere/pypimirror.toml")


def read(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "pypimirror.toml"
    file.write_text(text)
    return load(file)


def fault(text: str, tmp_path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path)
    return str(caught.value)


def test_an_empty_file_means_the_documented_defaults(tmp_path: Path) -> None:
    config = read("", tmp_path)
    (upstream,) = config.upstream
    dumped = config.model_dump()
    del dumped["upstream"]
    assert dumped.pop("select") == SelectSection().model_dump()  # tests/select says what that is
    assert dumped == {
        "mirror": {
            "directory": tmp_path / "mirror",
            "catalog": "sqlite",
            "layout": "project",
            "storage": "directory",
            "durability": "batch",
            "reserve": 256 << 20,
        },
        "s3": {
            "endpoint": "",
            "region": "",
            "addressing": "auto",
            "connections": 32,
            "exclusive": False,
        },
        "on_demand": {
            "projects": (),
            "fresh": timedelta(minutes=10),
            "max_size": 200 << 30,
            "keep": timedelta(days=90),
        },
        "verify": {"accept": "structure", "on_changed": "refuse"},
        "quarantine": {"max_age": timedelta(days=30), "max_size": 10 << 30},
        "download": {
            "processes": 0,
            "connections": 128,
            "timeout": 30,
            "tries": 5,
            "max_file_size": 5 << 30,
            "denied": "tell",
            "contact": "",
            "proxy": SecretStr(""),
            "ca_file": None,
        },
        "publish": {
            "formats": ("html", "json"),
            "base_url": "",
            "provenance": True,
            "changes": None,
            "changes_format": "lines",
        },
        "delete": {
            "grace": timedelta(hours=24),
            "max_share": 0.1,
            "max_count": 1000,
            "keep": False,
        },
        "metrics": {"serve": True, "textfile": None},
        "history": {"keep_runs": 2000, "keep_for": timedelta(days=90)},
        "workers": {"shards": 0},
        "schedule": {"sync": "17 * * * *", "verify": "47 3 * * 0", "timezone": "UTC"},
        "alerts": {
            "webhook": "",
            "late": timedelta(minutes=15),
            "stuck": timedelta(hours=12),
        },
        "serve": {
            "pages": True,
            "status": "public",
            "processes": 0,
            "redirect": False,
            "redirect_for": timedelta(minutes=15),
        },
        "up": {"web": True, "host": "127.0.0.1", "port": 8080},
        "prefect": {"host": "127.0.0.1", "port": 4200, "database": ""},
    }
    assert upstream.model_dump() == {
        "name": "pypi",
        "url": PYPI_SIMPLE_ENDPOINT,
        "kind": "simple",
        "follow_external": False,
        "hosts": ("*",),  # PyPI's files have a host of their own
        "alternates": (),
        "newest": 20,
        "recheck": timedelta(days=7),
        "reserved": (),
        "max_links": 100,
        "authoritative": False,
        "has_list": True,
        "username": "",
        "password": SecretStr(""),
        "token": SecretStr(""),
        "login": "",
        "proxy": SecretStr(""),
        "ca_file": None,
    }


def test_on_demand_needs_addresses_that_name_a_project(tmp_path: Path) -> None:
    text = '[on_demand]\nprojects = ["*"]\n[mirror]\nlayout = "%s"\n'
    assert 'needs layout = "project"' in fault(text % "pypi", tmp_path)
    config = read(text % "project", tmp_path)
    assert config.on_demand.projects == ("*",)
    assert not config.selects_all  # nothing is named, and nothing comes unasked
    assert read("", tmp_path).selects_all


def test_files_of_names_are_beside_the_configuration(tmp_path: Path) -> None:
    config = read('[on_demand]\nprojects = ["@names.txt"]\n', tmp_path)
    assert config.on_demand.projects == (f"@{tmp_path}/names.txt",)


def test_every_key_can_be_set(tmp_path: Path) -> None:
    config = read(
        """
        [mirror]
        directory = "/srv/m"
        catalog = "sqlite:////srv/c.sqlite"
        layout = "pypi"
        [[upstream]]
        name = "one"
        url = "http://127.0.0.1:8080/links"
        kind = "links"
        follow_external = true
        newest = 3
        max_links = 4
        authoritative = true
        hosts = ["files.test", "other.test:81"]
        alternates = ["http://127.0.0.2/simple/"]
        [[upstream]]
        name = "two"
        url = "http://127.0.0.1:8081/simple"
        [verify]
        accept = "digest"
        on_changed = "replace"
        [quarantine]
        max_age = "1w"
        max_size = "1 MiB"
        [select]
        projects = ["six"]
        exclude = ["idna"]
        files = ["*.whl"]
        exclude_files = ["*win*"]
        [download]
        processes = 3
        connections = 7
        timeout = 1.5
        tries = 2
        max_file_size = "10 MiB"
        contact = "me@test"
        [publish]
        formats = ["json"]
        [delete]
        grace = "90m"
        max_share = 0.5
        max_count = 3
        """,
        tmp_path,
    )
    assert config.directory == Path("/srv/m")
    assert config.private == Path("/srv/m/.pypimirror")
    assert config.catalog_url == "sqlite:////srv/c.sqlite"
    assert config.mirror.layout == "pypi"
    one, two = config.upstream
    assert one.url == "http://127.0.0.1:8080/links"  # a page of links is one page
    assert two.url == "http://127.0.0.1:8081/simple/"  # links are relative to it
    assert (one.newest, one.max_links, one.authoritative) == (3, 4, True)
    assert (config.verify.accept, config.verify.on_changed) == ("digest", "replace")
    assert config.quarantine.max_age == timedelta(weeks=1)
    assert config.quarantine.max_size == 1 << 20
    assert one.alternates == ("http://127.0.0.2/simple/",)
    assert (one.kind, one.follow_external) == ("links", True)
    assert one.hosts == ("files.test", "other.test:81")
    assert two.hosts == ()
    assert config.select.exclude_files == ("*win*",)
    assert config.processes == 3
    assert config.download.max_file_size == 10 << 20
    assert config.user_agent.startswith("pypimirror/")
    assert config.user_agent.endswith(" (me@test)")
    assert config.publish.formats == ("json",)
    assert config.delete.grace == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("1.5h", 5400), ("24h", 86400), ("2 d", 172800), ("1w", 604800)],
)
def test_durations_name_their_unit(tmp_path: Path, text: str, seconds: int) -> None:
    config = read(f'[delete]\ngrace = "{text}"', tmp_path)
    assert config.delete.grace.total_seconds() == seconds


@pytest.mark.parametrize("value", ["24", '"24"', '"1y"', '"-1h"', '""', "true", '"99999999999w"'])
def test_a_duration_that_is_none_is_an_error_that_names_the_key(tmp_path: Path, value: str) -> None:
    message = fault(f"[delete]\ngrace = {value}", tmp_path)
    assert "pypimirror.toml: delete.grace: " in message
    assert "Value error" not in message


@pytest.mark.parametrize(
    ("text", "size"), [('"5 GiB"', 5 << 30), ('"1KB"', 1000), ("7", 7), ('"2MiB"', 2 << 20)]
)
def test_sizes_are_numbers_with_or_without_a_unit(tmp_path: Path, text: str, size: int) -> None:
    assert read(f"[download]\nmax_file_size = {text}", tmp_path).download.max_file_size == size


@pytest.mark.parametrize(
    ("text", "where", "nearest"),
    [
        ("[mirror]\ndirektory = 'x'", "mirror.direktory", "'directory'"),
        ("[mirorr]\n", "mirorr", "'mirror'"),
        ("[[upstream]]\nulr = 'http://127.0.0.1/'", "upstream.0.ulr", "'url'"),
        ("[select]\nproject = []", "select.project", "'projects'"),
        ("[delete]\nmaxshare = 1", "delete.maxshare", "'max_share'"),
        ("top = 1", "top", None),
        ("[publish]\nzzz = 1", "publish.zzz", None),
    ],
)
def test_unknown_keys_are_errors_that_name_the_nearest(
    tmp_path: Path, text: str, where: str, nearest: str | None
) -> None:
    message = fault(text, tmp_path)
    assert f"pypimirror.toml: {where}: unknown key; " in message
    assert (f"did you mean {nearest}?" if nearest else "known are ") in message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[mirror]\nlayout = 'flat'", "mirror.layout"),
        ("[[upstream]]\nurl = 'ftp://127.0.0.1/'", "upstream.0.url"),
        ("[[upstream]]\nurl = 'file://host/etc/'", "upstream.0.url"),
        ("[[upstream]]\nurl = 'http://127.0.0.1/?a=b'", "upstream.0.url"),
        ("[[upstream]]\nurl = 'http:///x'", "upstream.0.url"),
        ("[[upstream]]\nurl = 'http://127.0.0.1/'\nname = 'a/../b'", "upstream.0.name"),
        ("[[upstream]]\nname = 'a'\nurl = 'http://127.0.0.1/'\nkind = 'x'", "upstream.0.kind"),
        ("[download]\nconnections = 0", "download.connections"),
        ("[download]\nprocesses = -1", "download.processes"),
        ("[download]\ntries = 0", "download.tries"),
        ("[download]\ntimeout = 0", "download.timeout"),
        ("[download]\nmax_file_size = 'much'", "download.max_file_size"),
        ("[download]\nmax_file_size = '1,5 GiB'", "download.max_file_size"),  # not one byte
        ("[select]\nmax_project_size = '5 GiB or so'", "select.max_project_size"),
        ("[mirror]\ndirectory = ''", "mirror.directory"),
        ("[publish]\nformats = []", "publish.formats"),
        ("[publish]\nformats = ['xml']", "publish.formats.0"),
        ("[delete]\nmax_share = 2", "delete.max_share"),
        ("[delete]\nmax_count = -1", "delete.max_count"),
        ("[select]\nprojects = 'six'", "select.projects"),
    ],
)
def test_values_out_of_range_are_errors_that_name_the_key(
    tmp_path: Path, text: str, where: str
) -> None:
    assert f"pypimirror.toml: {where}: " in fault(text, tmp_path)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = fault("[delete]\ngrace = 1\nmax_share = 2\n[mirror]\nlayuot = 1", tmp_path)
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("", "pypi"),
        (f'url = "{PYPI_SIMPLE_ENDPOINT}"', "pypi"),
        ('url = "https://packages.Example.org:8443/simple/"', "packages.example.org-8443"),
        ('url = "http://me:secret@127.0.0.1/simple/"', "127.0.0.1"),
        ('url = "http://[::1]:8080/simple/"', "1-8080"),
        ('url = "file:///srv/index/"', "upstream"),
        ('url = "http://127.0.0.1/"\nname = "own"', "own"),
    ],
)
def test_an_upstream_without_a_name_is_called_by_its_host(
    tmp_path: Path, key: str, name: str
) -> None:
    file = tmp_path / "pypimirror.toml"
    file.write_text(f"[[upstream]]\n{key}\n")
    assert load(file).upstream[0].name == name


def test_upstreams_need_names_of_their_own(tmp_path: Path) -> None:
    two = "[[upstream]]\nname = 'a'\nurl = 'http://127.0.0.1/'\n" * 2
    assert "two upstreams have the same name" in fault(two, tmp_path)
    assert "at least one" in fault("upstream = []", tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("PYPIMIRROR_DELETE__MAX_SHARE", "1", lambda c: c.delete.max_share == 1),
        ("PYPIMIRROR_DELETE__GRACE", "5s", lambda c: c.delete.grace == timedelta(seconds=5)),
        ("PYPIMIRROR_DOWNLOAD__TRIES", "9", lambda c: c.download.tries == 9),
        ("PYPIMIRROR_SELECT__PROJECTS", '["six"]', lambda c: c.select.projects == ("six",)),
        ("PYPIMIRROR_MIRROR__LAYOUT", "pypi", lambda c: c.mirror.layout == "pypi"),
        (
            "PYPIMIRROR_UPSTREAM",
            '[{"name": "x", "url": "http://127.0.0.1/"}]',
            lambda c: c.upstream[0].name == "x",
        ),
    ],
)
def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, found: Any
) -> None:
    monkeypatch.setenv(name, value)
    text = "[delete]\nmax_share = 0.2\nmax_count = 7\n[download]\ntries = 3"
    config = read(text, tmp_path)
    assert found(config)
    assert config.delete.max_count == 7  # other keys of the section stay


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PYPIMIRROR_DELETE__MAX_SHARE", "lots", "delete.max_share: must be a number"),
        ("PYPIMIRROR_SELECT__PROJECTS", "six", "must be JSON, such as "),
        ("PYPIMIRROR_UPSTREAM", "nonsense", "must be JSON, such as "),
        ("PYPIMIRROR_DELETE", '{"grace": "never"}', "delete.grace: "),
        ("pypimirror_up__port", "99999", "up.port: must be less than or equal to 65535"),
        ("PYPIMIRROR_DELETE__MAXSHARE", "1", "did you mean 'max_share'?"),
        ("PYPIMIRROR_DELTE__MAX_SHARE", "1", "did you mean 'delete'?"),
    ],
)
def test_a_wrong_environment_is_an_error_that_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """And neither ignored nor blamed on the file."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        read("", tmp_path)
    assert str(caught.value).startswith(f"environment: {name}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[select]\nprojects = "six"', 'select.projects: must be a list, such as ["six"'),
        ('[select]\nmetadata = ["MIT"]', "select.metadata: must be a table"),
        ("[mirror]\nreserve = -1", "mirror.reserve: must be a size, such as"),
        ('[select]\nyanked = "maybe"', "select.yanked: must be true or false"),
        ('[download]\ntries = "x"', "download.tries: must be a whole number"),
        ("[mirror]\nlayout = 3", "mirror.layout: must be 'project' or 'pypi'"),
        ("select = 3", "select: must be a section"),
    ],
)
def test_a_value_of_another_kind_is_told_in_words_of_the_configuration(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path)
    assert f"pypimirror.toml: {told}" in str(caught.value)


def test_the_directory_is_relative_to_the_file_and_not_to_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/p.toml").write_text('[mirror]\ndirectory = "../data"')
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/p.toml"))
    assert config.directory.is_absolute()
    assert os.path.normpath(config.directory) == str(tmp_path / "data")
    assert config.catalog_url == f"sqlite:///{config.directory}/.pypimirror/catalog.sqlite"


def test_without_config_it_is_the_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="pypimirror init"):
        load()
    (tmp_path / "pypimirror.toml").write_text("[download]\ntries = 8")
    assert load().download.tries == 8


def test_a_key_that_is_there_twice_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("a = 1\na = 2")
    with pytest.raises(ConfigError, match=r"This key is there already \(at"):
        load(tmp_path / "p.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[mirror"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"p\.toml: not TOML"):
        load(tmp_path / "p.toml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[mirror]\ndirectory = 'mirror%s'", "mirror.directory: has a NUL"),
        ("[mirror]\ncatalog = 'sqlite:///c%s.db'", "mirror.catalog: has a NUL"),
        ("[[upstream]]\nca_file = '%s'", "upstream.0.ca_file: has a NUL"),
        ("[publish]\nchanges = '%s'", "publish.changes: has a NUL"),
        ("[metrics]\ntextfile = '%s.prom'", "metrics.textfile: has a NUL"),
        ("[select]\nprojects = ['six', '-r %s']", "select.projects.1: has a NUL"),
        ("'a%s' = 1", "a\\u0000: has a NUL"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a = " + "{a=" * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("[delete]\nmax_count = " + "9" * 5000, "too many digits"),
        ("[delete]\nmax_count = 0x" + "f" * 5000, "delete.max_count: is a larger number than"),
    ],
)
def test_what_toml_allows_and_nothing_can_use_is_told_as_a_fault_of_the_file(
    tmp_path: Path, text: str, told: str
) -> None:
    message = fault(text.replace("'", '"').replace("%s", "\\u0000"), tmp_path)
    assert message.startswith(f"{tmp_path / 'pypimirror.toml'}: ")
    assert told in message


@pytest.mark.parametrize("value", ["[" * 50_000, '[{"newest": ' + "9" * 5000 + "}]"])
def test_what_json_allows_and_nothing_can_use_is_told_as_a_fault_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PYPIMIRROR_UPSTREAM", value)
    assert fault("", tmp_path).startswith("environment: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory and no file"):
        load(tmp_path)


def test_processes_default_to_the_cores_this_process_may_use() -> None:
    assert parse({}, FILE).processes == module.available_cores() >= 1


# init


@pytest.mark.parametrize(
    ("projects", "upstream", "directory"),
    [
        ((), None, "mirror"),
        (("six", "requests>=2.30", "zope.*", "a==1.*"), None, "/srv/a b/mirror"),
        (("six",), "http://127.0.0.1:8080/simple", 'quo"te\\back'),
        (("six",), "http://[::1]:8080/simple/", "ünïcode \N{GRINNING FACE}"),
        (("six",), "https://Example_Host.test/", "."),
    ],
)
def test_init_writes_a_file_that_loads_as_it_was_asked_for(
    tmp_path: Path, projects: tuple[str, ...], upstream: str | None, directory: str
) -> None:
    file = tmp_path / "new" / "pypimirror.toml"
    write_configuration(file, projects, upstream, Path(directory), force=False)
    config = load(file)
    assert config.select.projects == projects
    assert config.directory == tmp_path / "new" / directory
    (found,) = config.upstream
    assert found.url.rstrip("/") == (upstream or PYPI_SIMPLE_ENDPOINT).rstrip("/")


@pytest.mark.parametrize(
    ("projects", "upstream"),
    [(("six>>1",), None), ((), "nonsense"), ((), "ftp://127.0.0.1/"), (("six\x7f",), None)],
)
def test_init_refuses_what_would_not_load(
    tmp_path: Path, projects: tuple[str, ...], upstream: str | None
) -> None:
    file = tmp_path / "pypimirror.toml"
    with pytest.raises(ConfigError):
        write_configuration(file, projects, upstream, Path("mirror"), force=False)
    assert not file.exists()


def test_init_replaces_only_by_force_and_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "pypimirror.toml"
    file.write_text("# mine\n")
    with pytest.raises(ConfigError, match="--force"):
        write_configuration(file, (), None, Path("mirror"), force=False)
    assert file.read_text() == "# mine\n"
    write_configuration(file, (), None, Path("mirror"), force=True)
    assert (tmp_path / "pypimirror.toml.bak").read_text() == "# mine\n"
    assert load(file).directory == tmp_path / "mirror"


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("sync", " */10  * * * * ", "*/10 * * * *"),
        ("sync", "10m", "10m"),
        ("verify", "", ""),
        ("verify", "30 2 * * SUN", "30 2 * * SUN"),
        ("timezone", "Europe/Paris", "Europe/Paris"),
    ],
)
def test_schedules_are_cron_fields_or_times_or_never(
    key: str, value: str, wanted: str, tmp_path: Path
) -> None:
    config = read(f'[schedule]\n{key} = "{value}"\n', tmp_path)
    assert getattr(config.schedule, key) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[schedule]\nsync = "hourly"', 'schedule.sync: must be five cron fields such as "17'),
        (
            '[schedule]\nsync = "99 * * * *"',
            "schedule.sync: '99' is not a valid minute of cron: 0",
        ),
        (
            '[schedule]\nsync = "0 24 * * *"',
            "schedule.sync: '24' is not a valid hour of cron",
        ),
        ('[schedule]\nsync = "0 0 0 * *"', "'0' is not a valid day of the month of cron: 1 to 31"),
        ('[schedule]\nsync = "0 0 1 foo *"', "'foo' is not a valid month of cron: 1 to 12"),
        (
            '[schedule]\nsync = "0 0 * * mon-8"',
            "'mon-8' is not a valid day of the week of cron",
        ),
        ('[schedule]\nsync = "*/0 * * * *"', "'*/0' is not a valid minute of cron"),
        ('[schedule]\nsync = "0s"', "schedule.sync: must be longer than 0s"),
        ('[schedule]\ntimezone = "Mars/Olympus"', "schedule.timezone: is not a known time zone"),
        ('[schedule]\ntimezone = "../../etc/passwd"', "schedule.timezone: is not a known"),
        ('[alerts]\nwebhook = "ftp://example.org/"', "alerts.webhook: must be an http or https"),
        ('[alerts]\nlate = "5s"', "alerts.late: must be 10s or more"),
        ("[up]\nport = 65536", "up.port: "),
    ],
)
def test_mistakes_about_operation_are_explained(text: str, message: str, tmp_path: Path) -> None:
    assert message in fault(text, tmp_path)


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e308", "0", "86401"])
def test_a_time_out_is_a_time_that_there_is(tmp_path: Path, value: str) -> None:
    (tmp_path / "p.toml").write_text(f"[download]\ntimeout = {value}\n")
    with pytest.raises(ConfigError, match=r"download\.timeout"):
        load(tmp_path / "p.toml")


@pytest.mark.parametrize("contact", ["\u0430@example.org", "a\\nX-Evil: 1", "\U0001f40d"])
def test_a_contact_fits_into_a_header(tmp_path: Path, contact: str) -> None:
    (tmp_path / "p.toml").write_text(f'[download]\ncontact = "{contact}"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"download\.contact: .*header"):
        load(tmp_path / "p.toml")


def test_a_contact_of_latin_letters_is_sent(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[download]\ncontact = "M\u00fcller"\n', encoding="utf-8")
    assert "M\u00fcller" in load(tmp_path / "p.toml").user_agent


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[upstream]\nname = 'x'", "write [[upstream]] in place of [upstream]"),
        ("[select.rules]\nprojects = []", "write [[select.rules]] in place of [select.rules]"),
        ("[[upstream]]\nname = 'My Index'", "may have only small letters, digits"),
    ],
)
def test_what_is_wrong_is_told_in_words_of_the_configuration(
    tmp_path: Path, text: str, told: str
) -> None:
    assert told in fault(text, tmp_path)


def test_a_variable_with_one_underscore_is_no_silent_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYPIMIRROR_DOWNLOAD_MAX_FILE_SIZE", "1")
    assert "did you mean PYPIMIRROR_DOWNLOAD__MAX_FILE_SIZE?" in fault("", tmp_path)
    monkeypatch.delenv("PYPIMIRROR_DOWNLOAD_MAX_FILE_SIZE")
    monkeypatch.setenv("PYPIMIRROR_DOWNLOAD_ELSEWHERE", "another program's")
    read("", tmp_path)


def test_a_tilde_is_the_home_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = read(
        "[mirror]\ndirectory = '~/mirror'\n[download]\nca_file = '~/ca.pem'\n"
        "[publish]\nchanges = '~nobody-here/changes'\n",
        tmp_path,
    )
    assert config.directory == tmp_path / "home/mirror"
    assert config.download.ca_file == tmp_path / "home/ca.pem"
    assert config.publish.changes == tmp_path / "~nobody-here/changes"


@pytest.mark.parametrize(
    ("url", "is_served"),
    [
        ("sqlite:///{root}/simple/c.db", True),
        ("sqlite+pysqlite:///{root}/packages/six/c.db?timeout=5", True),
        ("sqlite:///file:{root}/pypi/c.db?uri=true", True),
        ("sqlite:///{root}/%73imple/c.db", True),
        ("sqlite:///{root}/elsewhere/../simple/c.db", True),
        ("sqlite:///{link}/c.db", True),
        ("sqlite:///{root}/.pypimirror/c.db", False),
        ("sqlite:///{root}/.pypimirror/mine/c.db", False),
        ("sqlite:///{root}/.pypimirror/staging/c.db", True),
        ("sqlite:///{root}/.pypimirror/../c.db", True),
        ("sqlite:///{root}/simpler/c.db", True),
        ("sqlite:///{root}/c.db", True),
        ("sqlite:///{inner}/c.db", True),
        ("sqlite:///{root}-too/c.db", False),
        ("sqlite://", False),
        ("sqlite:///:memory:", False),
        ("postgresql:///simple", False),
    ],
)
def test_no_catalog_is_put_where_it_would_be_served(
    url: str, is_served: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "mirror"
    (root / "simple").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root / "simple")
    (root / "inner").symlink_to(tmp_path)
    monkeypatch.chdir(root / "simple")
    catalog = url.format(root=root, link=tmp_path / "link", inner=root / "inner")
    text = f"[mirror]\ncatalog = '{catalog}'"
    if is_served:
        assert "mirror.catalog: " in (said := fault(text, tmp_path))
        assert "is served" in said or "sweeps" in said
        assert f"write 'sqlite', or name a file outside of {root}" in said
    else:
        assert read(text, tmp_path).mirror.catalog == catalog
