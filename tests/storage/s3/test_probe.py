"""What a run asks a bucket before it changes anything, and what it says if it cannot use it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.s3.storage import S3Storage
from pypimirror.system.disk_errors import StorageError
from tests import buckets
from tests.buckets import Proxy
from tests.sampling import sample
from tests.storage.s3.conftest import Open

#: Status and code of an answer, with the cause and the next step.
ANSWERS = [
    (403, "RequestTimeTooSkewed", "clock of this machine", "NTP"),
    (301, "PermanentRedirect", "another region", "s3.region"),
    (400, "AuthorizationHeaderMalformed", "another region", "s3.region"),
    (400, "ExpiredToken", "have expired", "aws sso login"),
]


def refused(storage: S3Storage) -> str:
    """Return why a storage cannot be used. Nothing of the probe may stay."""
    with pytest.raises(StorageError) as caught:
        storage.create()
    return str(caught.value)


def left(bucket: Bucket) -> int:
    """How many objects are there, private ones too."""
    told = buckets.client(bucket.endpoint).list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix)
    return int(told["KeyCount"])


def test_a_bucket_that_can_be_used_is_left_as_it_was(storage: S3Storage, bucket: Bucket) -> None:
    storage.create()
    storage.create()
    assert left(bucket) == 0


def test_a_bucket_that_is_not_there_is_named(opened: Open, bucket: Bucket) -> None:
    told = refused(opened(replace(bucket, name="no-such-bucket")))
    assert told.startswith("s3://no-such-bucket/") and "does not exist" in told
    assert "mirror.storage" in told


def test_a_server_that_is_not_there_is_named(opened: Open, bucket: Bucket) -> None:
    told = refused(opened(replace(bucket, endpoint="http://127.0.0.1:1")))
    assert "no answer" in told and "s3.endpoint" in told


def test_who_may_only_read_is_told_what_is_missing(
    opened: Open, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", buckets.READER)
    told = refused(opened(bucket))
    assert "denies these credentials to write" in told and "s3:PutObject" in told


def test_who_may_write_and_not_remove_is_told_before_anything_is_written(
    storage: S3Storage, proxy: Proxy
) -> None:
    """Else files and pages that must go would stay for ever, run after run."""
    proxy.break_("DELETE", status=403, code="AccessDenied", times=9)
    told = refused(storage)
    assert "denies these credentials to remove" in told and "s3:DeleteObject" in told


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "secret key is wrong"),
        ("AWS_ACCESS_KEY_ID", "nobody", "does not know this access key"),
    ],
)
def test_wrong_credentials_are_told_from_missing_permissions(
    opened: Open,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    cause: str,
) -> None:
    monkeypatch.setenv(variable, value)
    told = refused(opened(bucket))
    assert cause in told and "AWS SDK" in told


def test_missing_credentials_are_told_with_where_to_put_them(
    opened: Open, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_ACCESS_KEY_ID" in refused(opened(bucket))


@pytest.mark.parametrize(
    ("status", "code", "cause", "step"),
    sample(ANSWERS, ANSWERS[0]),
)
def test_what_a_server_says_becomes_a_cause_and_a_next_step(
    storage: S3Storage, proxy: Proxy, status: int, code: str, cause: str, step: str
) -> None:
    proxy.break_("PUT", status=status, code=code, times=99)
    told = refused(storage)
    assert cause in told and step in told


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_server_that_ignores_a_condition_is_refused_with_the_reason(
    storage: S3Storage, opened: Open, bucket: Bucket, proxy: Proxy, ignored: str
) -> None:
    """Such servers exist: they take any condition, and overwrite what another worker has put."""
    number = {"If-None-Match": 1, "If-Match": 2}[ignored]
    puts: list[str] = []

    def fits(path: str) -> bool:
        puts.append(path)
        return len(puts) - 1 == number

    proxy.rules.append(buckets.Rule("PUT", fits, times=1, lie=True))
    told = refused(storage)
    assert f"ignores the condition {ignored} of a write" in told and "s3.exclusive" in told
    assert left(bucket) == 0


def test_a_server_without_conditions_is_used_if_the_operator_promises_to_be_alone(
    opened: Open, bucket: Bucket, proxy: Proxy
) -> None:
    proxy.break_("PUT", lie=True, times=99)
    storage = opened(replace(buckets.through(bucket, proxy), exclusive=True))
    storage.create()
    assert storage.write([("simple/six/index.html", [b"1"])]) == 1
    assert storage.write([("simple/six/index.html", [b"1"])]) == 0
    assert storage.write([("simple/six/index.html", [b"2"])]) == 1
    assert buckets.content(bucket) == {"simple/six/index.html": b"2"}
