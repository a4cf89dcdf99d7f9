"""What the workers of one run must agree on, and what each machine may have of its own."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import Config, parse
from tests.config.complete import COMPLETE, complete, unset

#: Other values for keys that may differ: one for each kind of reason.
MAY_DIFFER: list[tuple[str, dict[str, Any]]] = [
    (
        "mirror",
        {"directory": "elsewhere", "catalog": "sqlite", "durability": "batch", "reserve": 7},
    ),
    ("s3", {"endpoint": "", "addressing": "auto", "connections": 9}),
    ("download", {"processes": 1, "connections": 1, "timeout": 9, "tries": 9, "contact": "you"}),
    ("download", {"proxy": "", "ca_file": "other.pem"}),
    ("quarantine", {"max_size": "2 MiB"}),
    ("publish", {"changes": "other", "changes_format": "json"}),
    ("history", {"keep_runs": 9}),
    ("metrics", {"serve": True, "textfile": "other.prom"}),
    ("schedule", {"sync": "9 * * * *"}),
    ("alerts", {"late": "9h"}),
    ("serve", {"redirect": False}),
    ("on_demand", {"fresh": "9m", "max_size": "9 GiB", "keep": "0s"}),
    ("up", {"port": 9}),
    ("prefect", {"port": 9}),
    ("workers", {"shards": 9}),
]

MUST_AGREE: list[tuple[str, dict[str, Any]]] = [
    ("mirror", {"storage": "directory"}),
    ("s3", {"region": ""}),
    ("select", {"exclude": []}),
    ("select", {"rules": []}),
    ("verify", {"accept": "shared"}),
    ("download", {"max_file_size": "9 MiB"}),
    ("download", {"denied": "tell"}),
    ("publish", {"formats": ["html"]}),
    ("publish", {"base_url": ""}),
    ("publish", {"provenance": True}),
    ("delete", {"keep": False}),
    ("on_demand", {"projects": []}),
]


def changed(base: Path, section: str, values: dict[str, Any]) -> Config:
    """Return the complete configuration with other values in a section, or in one upstream."""
    found = deepcopy(COMPLETE)
    place = found[section]
    (place[0] if isinstance(place, list) else place).update(values)
    return parse(found, base / "pypimirror.toml")


def test_the_complete_configuration_is_complete(tmp_path: Path) -> None:
    """Else a new key would be in none of the tests that use it."""
    assert list(unset(Config, [complete(tmp_path)])) == []


@pytest.mark.parametrize(("section", "values"), MAY_DIFFER)
def test_each_machine_has_its_own_ways(
    section: str, values: dict[str, Any], tmp_path: Path
) -> None:
    whole = complete(tmp_path).digests_of_work()
    assert changed(tmp_path, section, values).digests_of_work() == whole


@pytest.mark.parametrize(
    "values",
    [
        {"username": "you", "password": "another"},
        {"proxy": "none", "ca_file": "other.pem"},
        {"alternates": []},
    ],
    ids=lambda values: next(iter(values)),
)
def test_each_machine_reaches_an_upstream_in_its_own_way(
    values: dict[str, Any], tmp_path: Path
) -> None:
    whole = complete(tmp_path).digests_of_work()
    assert changed(tmp_path, "upstream", values).digests_of_work() == whole


@pytest.mark.parametrize(
    ("section", "values"),
    [*MUST_AGREE, ("upstream", {"hosts": []}), ("upstream", {"url": "http://127.0.0.9/links"})],
)
def test_what_decides_on_files_and_pages_must_agree(
    section: str, values: dict[str, Any], tmp_path: Path
) -> None:
    whole = complete(tmp_path).digests_of_work()
    other = changed(tmp_path, section, values).digests_of_work()
    assert {name for name in whole if whole[name] != other[name]} == {section}


def test_the_layout_of_files_must_agree(tmp_path: Path) -> None:
    files = [changed(tmp_path, "on_demand", {"projects": []}) for _ in range(2)]
    files[1] = files[1].model_copy(
        update={"mirror": files[1].mirror.model_copy(update={"layout": "pypi"})}
    )
    one, other = (each.digests_of_work() for each in files)
    assert {name for name in one if one[name] != other[name]} == {"mirror"}


def test_a_digest_shows_no_secret_and_depends_on_none(tmp_path: Path) -> None:
    found = complete(tmp_path).digests_of_work()
    assert all(len(each) == 16 for each in found.values())
    assert "secret" not in repr(found)
