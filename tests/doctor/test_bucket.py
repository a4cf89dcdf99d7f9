"""`pypimirror doctor` finds what is wrong with the bucket of a mirror."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.config.settings import load
from pypimirror.doctor import examine
from pypimirror.doctor.finding import Finding, FindingState
from pypimirror.doctor.place import bucket as place
from pypimirror.domain.objects.bucket import Bucket
from tests import buckets
from tests.serve.tree import configure


@pytest.fixture
def proxy(moto: buckets.Server, keys_of_the_bucket: None) -> Iterator[buckets.Proxy]:
    with buckets.proxied(moto) as running:
        yield running


@pytest.fixture
def bucket(proxy: buckets.Proxy, moto: buckets.Server) -> Bucket:
    return moto.bucket(endpoint=proxy.endpoint)


def found(base: Path, bucket: Bucket, *groups: str, more: str = "") -> dict[str, Finding]:
    """What the checks of some groups find, by name."""
    file = base / "pypimirror.toml"
    configure(file, bucket)
    file.write_text(file.read_text() + more)
    (base / "mirror/.pypimirror").mkdir(0o700, parents=True, exist_ok=True)
    checks = ((group, examine.CHECKS[group]) for group in groups)
    config = load(file)
    return {f.name: f for group, check in checks for f in examine._guarded(group, check, config)}


def test_of_a_bucket_that_can_be_used_nothing_is_wrong_and_nothing_is_left_there(
    tmp_path: Path, bucket: Bucket, moto: buckets.Server
) -> None:
    findings = found(tmp_path, bucket, "directory", "bucket", "catalog", "round trip")
    assert {f.state for f in findings.values()} <= {FindingState.OK, FindingState.SKIPPED}, findings
    names = {"credentials", "bucket", "conditions", "clock of the storage", "round trip"}
    assert names <= {name for name, f in findings.items() if f.state is FindingState.OK}
    assert "environment" in findings["credentials"].seen or "env" in findings["credentials"].seen
    assert not {"readers", "names"} & findings.keys()  # a web server reads nothing here
    store = buckets.client(moto.endpoint)
    assert "Contents" not in store.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix)
    assert not list((tmp_path / "mirror/.pypimirror").iterdir())


def test_a_server_that_ignores_conditions_is_told_with_the_next_step(
    tmp_path: Path, bucket: Bucket, proxy: buckets.Proxy
) -> None:
    proxy.break_("PUT", lie=True, times=10)
    wrong = found(tmp_path, bucket, "bucket")["bucket"]
    assert wrong.state is FindingState.FAILED
    assert "ignores the condition" in wrong.seen
    assert "exclusive = true" in wrong.seen
    text = json.dumps(bucket.endpoint)
    more = f"\n[s3]\nendpoint = {text}\nexclusive = true\n"
    file = tmp_path / "pypimirror.toml"
    configure(file, bucket)
    file.write_text(file.read_text().partition("[s3]")[0] + more)
    checks = examine._guarded("bucket", examine.CHECKS["bucket"], load(file))
    assert {f.name: f.state for f in checks}["conditions"] is FindingState.WARNING


def test_a_bucket_that_cannot_be_used_is_told_with_the_cause(
    tmp_path: Path, bucket: Bucket, proxy: buckets.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Bucket("nobody-has-made-this", "pypi", endpoint=bucket.endpoint)
    wrong = found(tmp_path, other, "bucket")["bucket"]
    assert (wrong.state, "does not exist" in wrong.seen) == (FindingState.FAILED, True)
    proxy.break_("PUT", status=403, code="AccessDenied", times=1)
    wrong = found(tmp_path, bucket, "bucket")["bucket"]
    assert (wrong.state, "s3:PutObject" in wrong.seen) == (FindingState.FAILED, True)
    proxy.break_("DELETE", status=403, code="AccessDenied", times=1)
    wrong = found(tmp_path, bucket, "bucket")["bucket"]
    assert (wrong.state, "s3:DeleteObject" in wrong.seen) == (FindingState.FAILED, True)


def test_missing_credentials_are_told(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in buckets.ENVIRONMENT:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    findings = found(tmp_path, bucket, "bucket")
    assert list(findings) == ["credentials"]
    assert findings["credentials"].state is FindingState.FAILED
    assert "AWS_ACCESS_KEY_ID" in findings["credentials"].seen


def test_a_clock_that_differs_from_that_of_the_storage_is_told(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = place.clock.now
    monkeypatch.setattr(place.clock, "now", lambda: real() + 300)
    told = found(tmp_path, bucket, "bucket")["clock of the storage"]
    assert told.state is FindingState.WARNING
    assert "NTP" in told.remedy
