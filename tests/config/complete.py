"""A configuration that sets every key to another value than its default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pypimirror.config.environment import is_section
from pypimirror.config.model import Model
from pypimirror.config.settings import Config, parse

_RULE: dict[str, Any] = {
    "files": ["*.whl"],
    "exclude_files": ["*win*"],
    "versions": [">=1"],
    "exclude_versions": ["/rc/"],
    "types": ["wheel"],
    "python": ["3.11", "3.12"],
    "platforms": ["manylinux_2_28_x86_64"],
    "abi": ["cp312"],
    "prereleases": False,
    "yanked": False,
    "older_than": "1d",
    "younger_than": "90d",
    "uploaded_after": "2020-01-01",
    "uploaded_before": "2030-01-01T00:00:00Z",
    "max_file_size": "1 GiB",
    "metadata": {"license": ["MIT*"]},
    "exclude_metadata": {"classifier": ["Private ::*"]},
    "at_least": 1,
    "latest": 2,
    "latest_by": "time",
    "min_versions": 1,
    "max_versions": 9,
    "max_project_size": "2 GiB",
}

COMPLETE: dict[str, Any] = {
    "mirror": {
        "directory": "served",
        "catalog": "postgresql://me:secret-of-the-catalog@127.0.0.1/base",
        "layout": "project",  # [on_demand] needs it
        "storage": "s3://mirrors/pypi",
        "durability": "file",
        "reserve": "1 MiB",
    },
    "s3": {
        "endpoint": "http://127.0.0.1:8333",
        "region": "eu-west-1",
        "addressing": "path",
        "connections": 7,
        "exclusive": True,
    },
    "upstream": [
        {
            "name": "one",
            "url": "http://127.0.0.1:8080/links",
            "kind": "links",
            "follow_external": True,
            "has_list": False,
            "hosts": ["files.test", "other.test:81"],
            "newest": 3,
            "max_links": 4,
            "recheck": "1d",
            "alternates": ["http://me:secret-of-the-alternate@127.0.0.2/simple/"],
            "reserved": ["acme-*"],
            "authoritative": True,
            "username": "me",
            "password": "secret-of-one",
            "proxy": "http://me:secret-of-the-proxy@127.0.0.1:3128",
            "ca_file": "own.pem",
        },
        {"name": "two", "url": "http://127.0.0.1:8081/simple/", "token": "secret-of-two"},
        {"name": "three", "url": "http://index.test/simple/", "login": "pip"},
    ],
    "select": {
        **_RULE,
        "projects": ["six", "zope.*", "/^acme-/", "requests>=2.30", "@names.txt"],
        "exclude": ["idna==1"],
        "metadata_only": ["six"],
        "locks": ["pylock.toml"],
        "check": True,
        "dependencies": "all",
        "build_dependencies": True,
        "max_dependencies": 7,
        "rules": [{**_RULE, "projects": ["zope.*"], "metadata_only": True}],
    },
    "on_demand": {"projects": ["flask"], "fresh": "1m", "max_size": "1 GiB", "keep": "9d"},
    "verify": {"accept": "digest", "on_changed": "replace"},
    "quarantine": {"max_age": "1w", "max_size": "1 MiB"},
    "download": {
        "processes": 3,
        "connections": 7,
        "timeout": 1.5,
        "tries": 2,
        "max_file_size": "10 MiB",
        "denied": "fail",
        "contact": "me@test",
        "proxy": "none",
        "ca_file": "all.pem",
    },
    "publish": {
        "formats": ["json"],
        "base_url": "/mirror/",
        "provenance": False,
        "changes": "changes-{run}",
        "changes_format": "nul",
    },
    "delete": {"grace": "90m", "max_share": 0.5, "max_count": 3, "keep": True},
    "workers": {"shards": 3},
    "history": {"keep_runs": 3, "keep_for": "9d"},
    "metrics": {"serve": False, "textfile": "mirror.prom"},
    "schedule": {"sync": "1 * * * *", "verify": "2 3 * * *", "timezone": "Europe/Berlin"},
    "alerts": {"webhook": "http://127.0.0.1:9/hook", "late": "1h", "stuck": "2h"},
    "serve": {
        "pages": False,
        "status": "off",
        "processes": 2,
        "redirect": True,
        "redirect_for": "1h",
    },
    "up": {"web": False, "host": "127.0.0.2", "port": 81},
    "prefect": {"host": "127.0.0.3", "port": 82, "database": "postgresql+asyncpg://127.0.0.1/p"},
}

_LOCK = """
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "attrs"
version = "1.0"
[[packages.wheels]]
name = "attrs-1.0-py3-none-any.whl"
url = "http://127.0.0.1/attrs-1.0-py3-none-any.whl"
hashes = { sha256 = "%s" }
"""


def complete(base: Path) -> Config:
    """Return this configuration as if it was read from a file in the directory `base`."""
    (base / "names.txt").write_text("flask\njinja2>=3\n")
    (base / "pylock.toml").write_text(_LOCK % ("0" * 64))
    return parse(COMPLETE, base / "pypimirror.toml")


def unset(model: type[Model], found: list[Model], where: str = "") -> Iterator[str]:
    """Yield the keys that none of the sections in `found` sets."""
    for name, key in model.model_fields.items():
        values = [getattr(section, name) for section in found if name in section.model_fields_set]
        if not values:
            yield f"{where}{name}"
        inner = key.annotation
        while hasattr(inner, "__args__"):
            inner = inner.__args__[0]
        if is_section(inner):
            each = [v for value in values for v in (value if isinstance(value, tuple) else [value])]
            yield from unset(inner, each, f"{where}{name}.")
