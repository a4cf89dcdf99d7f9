"""Where a mirror is stored: the address of a bucket, and how it is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import ConfigError, parse
from pypimirror.domain.objects.bucket import Bucket

FILE = Path("/somewhere/pypimirror.toml")


def bucket(storage: str, **s3: Any) -> Bucket | None:
    return parse({"mirror": {"storage": storage}, "s3": s3}, FILE).bucket


def test_a_mirror_is_in_its_directory_unless_a_bucket_is_named() -> None:
    assert parse({}, FILE).bucket is None
    found = bucket("s3://mirrors/pypi/all/", endpoint="https://s3.example.org/", connections=4)
    expected = Bucket("mirrors", "pypi/all", "https://s3.example.org", connections=4)
    assert found == expected
    assert found.key("simple/index.html") == "pypi/all/simple/index.html"
    assert found.shown == "s3://mirrors/pypi/all"
    whole = bucket("s3://mirrors")
    assert whole is not None and whole.key("simple/index.html") == "simple/index.html"


def test_only_amazon_is_asked_by_the_name_of_the_bucket_unless_the_operator_says_so() -> None:
    assert bucket("s3://abc").is_virtual  # type: ignore[union-attr]
    assert not bucket("s3://abc", endpoint="http://127.0.0.1:9").is_virtual  # type: ignore[union-attr]
    named = bucket("s3://abc", endpoint="http://127.0.0.1:9", addressing="virtual")
    assert named is not None and named.is_virtual


@pytest.mark.parametrize(
    "storage",
    [
        *("", "mirror", "s3:/abc", "s3://", "s3://ab", "s3://A-B-C", "gs://abc", "s3://abc//x"),
        *("s3://abc/../x", "s3://abc/a b", "s3://abc/a?b", f"s3://abc/{257 * 'x'}", "s3://a_b/ä"),
    ],
)
def test_an_address_that_is_none_is_refused_with_its_form(storage: str) -> None:
    with pytest.raises(ConfigError, match=r"mirror\.storage: .*directory"):
        bucket(storage)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("endpoint", "s3.example.org", "http or https"),
        ("endpoint", "http://me:secret@s3.example.org", "credentials"),
        ("endpoint", "http://s3.example.org/bucket", "mirror.storage"),
        ("endpoint", "http://s3.example.org:99999", "port"),
        ("region", "eu west", "small letters"),
        ("addressing", "host", "path"),
        ("connections", 0, "greater"),
        ("conections", 1, "connections"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_name(key: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"s3\.{key}: .*{told}"):
        bucket("s3://abc", **{key: value})
