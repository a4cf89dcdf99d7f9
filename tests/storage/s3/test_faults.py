"""A server that fails, refuses or does not answer: what is told, and what is there afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pypimirror.domain.model import Problem, Reason
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.s3 import clients, faults, recent
from pypimirror.storage.s3.objects import PART
from pypimirror.storage.s3.storage import S3Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError
from tests import buckets
from tests.buckets import Proxy
from tests.sampling import sample
from tests.storage.s3.conftest import Open

FILE, PAGE = "packages/six/six-1.0.zip", "simple/six/index.html"


def staged(workspace: Workspace, content: bytes = b"bytes", number: int = 1) -> Path:
    path = workspace.staged(number)
    path.write_bytes(content)
    return path


def conditional(proxy: Proxy) -> int:
    """How many PUTs of served objects came."""
    return sum(method == "PUT" and ".pypimirror" not in path for method, path in proxy.seen)


# One key


def test_a_refusal_of_one_key_stops_no_other_key(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, bucket: Bucket
) -> None:
    proxy.break_("PUT", "six-1.0.zip", status=403, code="AccessDenied")
    blocked: dict[str, Problem] = {}
    first, second = staged(workspace), staged(workspace, b"other", 2)
    storage.place([(first, FILE), (second, "packages/six/other.zip")], blocked)
    assert list(blocked) == [FILE]
    assert blocked[FILE].reason is Reason.DISK
    assert bucket.shown in blocked[FILE].message and "s3:PutObject" in blocked[FILE].message
    assert first.exists() and not second.exists()
    assert buckets.content(bucket) == {"packages/six/other.zip": b"other"}


def test_a_refusal_of_all_keys_ends_the_run(
    storage: S3Storage, workspace: Workspace, proxy: Proxy
) -> None:
    proxy.break_("PUT", status=403, code="AccessDenied", times=99)
    blocked: dict[str, Problem] = {}
    with pytest.raises(StorageError, match=r"denies .* write it\. .*s3:PutObject"):
        storage.place([(staged(workspace), FILE)], blocked)
    assert not blocked and workspace.is_staged(1)


def test_a_key_that_is_too_long_is_a_problem_of_that_key(
    storage: S3Storage, workspace: Workspace, proxy: Proxy
) -> None:
    proxy.break_("PUT", "six-1.0.zip", status=400, code="KeyTooLongError")
    blocked: dict[str, Problem] = {}
    assert storage.write([(FILE, [b"1"]), (PAGE, [b"2"])], blocked) == 1
    assert "KeyTooLongError" in blocked[FILE].message


# Busy servers, and answers that are lost


@pytest.mark.parametrize(
    ("status", "code"), sample([(503, "SlowDown"), (500, "InternalError")], (503, "SlowDown"))
)
def test_a_busy_server_is_asked_again_and_in_the_end_named(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, status: int, code: str
) -> None:
    proxy.break_("PUT", "six", status=status, code=code, times=2)
    storage.place([(staged(workspace), FILE)])
    assert conditional(proxy) == 3
    proxy.break_("PUT", "six", status=status, code=code, times=99)
    with pytest.raises(StorageError, match=code):
        storage.place([(staged(workspace, b"new"), FILE)])
    assert storage.read(FILE) == b"bytes"
    assert workspace.is_staged(1)


def test_a_conflict_is_tried_again(storage: S3Storage, proxy: Proxy) -> None:
    proxy.break_("PUT", "six", status=409, code="ConditionalRequestConflict", times=2)
    assert storage.write([(PAGE, [b"page"])]) == 1
    assert storage.read(PAGE) == b"page"


@pytest.mark.parametrize("times", [1, buckets.HASTY.tries])
def test_a_put_whose_answer_is_lost_is_found_out(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, times: int
) -> None:
    """The object is there. A HEAD proves it; the same PUT would now be refused with 412.

    The library repeats a PUT without an answer, so once is its business, and always is ours.
    """
    proxy.break_("PUT", "six", drop=True, times=times)
    told = storage.place([(staged(workspace), FILE)])
    assert told == {FILE: storage.stamp(FILE)}
    assert storage.read(FILE) == b"bytes"
    assert not workspace.is_staged(1)


def test_a_replaced_page_whose_answer_is_lost_counts_as_written(
    storage: S3Storage, proxy: Proxy
) -> None:
    storage.write([(PAGE, [b"old"])])
    proxy.break_("PUT", "six", drop=True)
    assert storage.write([(PAGE, [b"new"])]) == 1
    assert storage.read(PAGE) == b"new"


def test_bytes_that_were_damaged_on_their_way_are_sent_again(
    storage: S3Storage, workspace: Workspace, proxy: Proxy
) -> None:
    proxy.break_("PUT", "six", status=400, code="BadDigest")
    storage.place([(staged(workspace), FILE)])
    assert storage.read(FILE) == b"bytes"


def test_a_server_that_does_not_answer_is_no_missing_file(
    storage: S3Storage, workspace: Workspace, proxy: Proxy
) -> None:
    """Else its files would be fetched again, and pages would lose them."""
    proxy.break_("HEAD", status=503, times=99)
    proxy.break_("GET", status=503, times=99)
    asking = [storage.size, storage.has, storage.lists, storage.stamp, storage.read, storage.local]
    for ask in asking:
        with pytest.raises(StorageError, match="busy"):
            ask(FILE)


# Two writers


def test_what_another_writer_put_is_replaced_by_its_very_etag(
    storage: S3Storage, opened: Open, proxy: Proxy, bucket: Bucket
) -> None:
    """Between our look and our PUT, another worker writes; ours looks again, and goes on."""
    storage.write([(PAGE, [b"old"])])
    other = opened(bucket)
    proxy.break_("HEAD", "six", then=lambda: other.write([(PAGE, [b"theirs"])]))
    storage._recent.drop(PAGE)
    storage._look = True
    assert storage.write([(PAGE, [b"ours"])]) == 1
    assert buckets.content(bucket)[PAGE] == b"ours"
    assert conditional(proxy) == 3  # the old page, the lost race, and the last


def test_a_worker_that_lost_its_claim_does_not_try_again(
    storage: S3Storage, proxy: Proxy, bucket: Bucket
) -> None:
    class LostError(Exception):
        pass

    def lost() -> None:
        if conditional(proxy):
            raise LostError

    storage.guard = lost
    proxy.break_("PUT", "six", status=412, code="PreconditionFailed")
    with pytest.raises(LostError):
        storage.write([(PAGE, [b"late"])])
    assert buckets.content(bucket) == {}


# Large files


def uploads(bucket: Bucket) -> list[str]:
    told = buckets.client(bucket.endpoint).list_multipart_uploads(Bucket=bucket.name)
    return [up["Key"] for up in told.get("Uploads", ()) if up["Key"].startswith(bucket.prefix)]


def test_a_large_file_goes_in_parts_and_only_once(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, bucket: Bucket
) -> None:
    content = b"large" * (PART // 4)
    told = storage.place([(staged(workspace, content), FILE)])
    assert buckets.content(bucket)[FILE] == content
    assert sum("partNumber" in path for _, path in proxy.seen) == 2
    storage._recent.drop(FILE)
    assert storage.stamp(FILE) == told[FILE]


def test_an_upload_that_never_completes_leaves_nothing_behind(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, bucket: Bucket
) -> None:
    proxy.break_("POST", "uploadId", status=400, code="InvalidPart", times=9)
    source = staged(workspace, b"large" * (PART // 4))
    with pytest.raises(StorageError, match="InvalidPart"):
        storage.place([(source, FILE)])
    assert buckets.content(bucket) == {} and uploads(bucket) == []
    assert source.exists()


def test_a_completed_upload_whose_answer_is_lost_is_found_out(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, bucket: Bucket
) -> None:
    """The library completes it again, and is told that there is no such upload any more."""
    proxy.break_("POST", "uploadId", drop=True)
    proxy.break_("POST", "uploadId", status=404, code="NoSuchUpload")
    content = b"large" * (PART // 4)
    storage.place([(staged(workspace, content), FILE)])
    assert buckets.content(bucket)[FILE] == content
    assert sum("?uploads" in path for _, path in proxy.seen) == 1


def test_a_large_file_that_is_not_what_was_verified_is_given_up_after_its_parts(
    storage: S3Storage, workspace: Workspace, bucket: Bucket
) -> None:
    """It is hashed only while it is sent: nobody may see it before the end."""
    blocked: dict[str, Problem] = {}
    bad, good = staged(workspace, b"large" * (PART // 4)), staged(workspace, b"good", 2)
    digests = {FILE: b"1" * 32}
    storage.place([(bad, FILE), (good, "packages/six/other.zip")], blocked, digests)
    assert "have changed since they were verified" in blocked[FILE].message
    assert buckets.content(bucket) == {"packages/six/other.zip": b"good"}
    assert uploads(bucket) == [] and bad.exists()


def test_an_upload_that_another_writer_overtook_replaces_nothing_unseen(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, bucket: Bucket, opened: Open
) -> None:
    other = opened(bucket)
    proxy.break_("POST", "?uploads", then=lambda: other.write([(FILE, [b"theirs"])]))
    content = b"large" * (PART // 4)
    storage.place([(staged(workspace, content), FILE)])
    assert buckets.content(bucket)[FILE] == content
    assert (
        sum("?uploads" in path for _, path in proxy.seen) == 2
    )  # it was refused, and looked again
    assert uploads(bucket) == []


# Removals


@pytest.mark.parametrize("how", ["remove", "take"])
def test_what_another_writer_has_put_meanwhile_is_not_removed(
    workspace: Workspace, bucket: Bucket, opened: Open, how: str
) -> None:
    """As a worker that was stopped right before it removed, and wakes up when others go on."""
    other = opened(bucket)
    other.write([(FILE, [b"bad"])])

    def meanwhile(what: str, key: str) -> None:
        if what == how:
            other.write([(key, [b"good"])])

    storage = S3Storage(workspace, bucket, meanwhile)
    with pytest.raises(StorageError, match="another process has replaced it") as told:
        if how == "remove":
            storage.remove(FILE)
        else:
            storage.take(FILE, workspace.quarantine / "1")
    assert told.value.is_of_path
    assert buckets.content(bucket) == {FILE: b"good"}


def test_a_removal_whose_answer_is_lost_is_one(
    storage: S3Storage, proxy: Proxy, bucket: Bucket
) -> None:
    """The library repeats it, and then the server finds nothing to compare with."""
    storage.write([(FILE, [b"old"])])
    proxy.break_("DELETE", drop=True)
    storage.remove(FILE)
    assert buckets.content(bucket) == {}


def test_a_server_without_conditions_for_removals_removes(
    storage: S3Storage, proxy: Proxy, bucket: Bucket
) -> None:
    storage.write([(FILE, [b"old"])])
    proxy.break_("DELETE", status=501, code="NotImplemented")
    storage.remove(FILE)
    assert buckets.content(bucket) == {}


# Foreign keys


def test_foreign_keys_are_listed_and_never_stop_anything(
    storage: S3Storage, workspace: Workspace, bucket: Bucket
) -> None:
    store = buckets.client(bucket.endpoint)
    for name in ("packages/six/notes.txt", "packages/six/a b+ü%.txt", "packages/folder/"):
        store.put_object(Bucket=bucket.name, Key=bucket.key(name), Body=b"")
    store.put_object(Bucket=bucket.name, Key=bucket.key("packages-other"), Body=b"x")
    store.put_object(Bucket=bucket.name, Key=bucket.key(FILE), Body=b"foreign")
    storage.place([(staged(workspace), FILE)])
    assert sorted(storage.keys("packages", pytest.fail)) == [
        "packages/six/a b+ü%.txt",
        "packages/six/notes.txt",
        FILE,
    ]
    assert storage.read(FILE) == b"bytes"


# Credentials


def test_credentials_that_are_renewed_are_used(
    storage: S3Storage, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK renews credentials; the requests after that have the new ones."""
    told = tmp_path / "told.json"
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = cat {told}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setattr(clients, "_FRESH", timedelta(0))

    def tell(key: str) -> None:
        ends = datetime.now(UTC) + timedelta(minutes=9)  # within ten minutes, the SDK must renew
        values = {"AccessKeyId": key, "SecretAccessKey": buckets.SECRET, "Version": 1}
        told.write_text(json.dumps(values | {"Expiration": ends.isoformat()}))

    tell(buckets.KEY)
    storage.write([(PAGE, [b"1"])])
    assert set(proxy.keys) == {buckets.KEY}
    tell(buckets.RENEWED)
    proxy.keys.clear()
    storage.write([(PAGE, [b"2"])])
    storage.remove(PAGE)
    assert set(proxy.keys) == {buckets.RENEWED}
    told.write_text("{}")
    with pytest.raises(StorageError, match="no usable credentials"):
        storage.write([(PAGE, [b"3"])])


# Requests that are not needed


def asked(proxy: Proxy) -> list[str]:
    """The methods of the requests since the last call."""
    found = [method for method, _ in proxy.seen]
    proxy.seen.clear()
    return found


def test_a_new_page_costs_one_request_and_an_old_one_is_looked_at_first(
    storage: S3Storage, opened: Open, bucket: Bucket, proxy: Proxy
) -> None:
    pages = [f"simple/project-{number}/index.html" for number in range(4)]
    for key in pages:
        storage.write([(key, [b"1"])])
    assert asked(proxy) == ["PUT"] * 4
    later = opened(buckets.through(bucket, proxy))
    later.write([(pages[0], [b"1"])])  # it knows no better yet
    assert asked(proxy) == ["PUT", "HEAD"]
    later.write([(pages[1], [b"1"])])
    later.write([(pages[2], [b"2"])])
    assert asked(proxy) == ["HEAD", "HEAD", "PUT"]


def test_what_was_learned_a_moment_ago_is_not_asked_again(
    storage: S3Storage, workspace: Workspace, proxy: Proxy
) -> None:
    assert not storage.has("packages/six")
    asked(proxy)
    assert storage.size(FILE) is None  # nothing is below its directory
    storage.place([(staged(workspace), FILE)])
    assert (storage.size(FILE), storage.lists(FILE)) == (5, True)
    assert asked(proxy) == ["PUT"]
    assert storage.size("packages/six/other.zip") is None
    assert asked(proxy) == ["HEAD"]


def test_core_metadata_that_was_just_put_is_not_read_from_the_server(
    storage: S3Storage, workspace: Workspace, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is written notes what the newest release says of itself."""
    key = f"{FILE}.metadata"
    storage.place([(staged(workspace, b"Name: six"), key)])
    asked(proxy)
    assert storage.read(key) == b"Name: six"
    assert storage.read(key, most=3) is None
    assert asked(proxy) == []
    storage.write([(key, [b"Name: other"])])
    assert storage.read(key) == b"Name: other"
    monkeypatch.setattr(recent, "_MOST_KEPT", 10)
    storage.place([(staged(workspace, b"Name: more"), f"{PAGE}.metadata")])
    asked(proxy)
    assert (storage.read(key), storage.read(f"{PAGE}.metadata")) == (b"Name: other", b"Name: more")
    assert asked(proxy) == ["GET"]
    storage.remove(key)
    assert storage.read(key) is None


def test_core_metadata_that_was_only_looked_at_is_read(
    storage: S3Storage, opened: Open, bucket: Bucket
) -> None:
    """Fault: it was taken for empty, so a verification called it changed."""
    key = f"{FILE}.metadata"
    opened(bucket).write([(key, [b"Name: six"])])
    assert storage.size(key) == 9
    assert storage.read(key) == b"Name: six"


def test_core_metadata_that_another_has_replaced_is_read_once_that_is_seen(
    storage: S3Storage, opened: Open, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{FILE}.metadata"
    storage.write([(key, [b"Name: six"])])
    opened(bucket).write([(key, [b"Name: other"])])
    with monkeypatch.context() as patch:
        patch.setattr(recent, "_SECONDS", 0.0)  # a minute later
        assert storage.size(key) == 11
    assert storage.read(key) == b"Name: other"


def test_a_page_that_is_believed_to_be_right_is_still_looked_at(
    storage: S3Storage, opened: Open, bucket: Bucket
) -> None:
    storage.write([(PAGE, [b"right"])])
    opened(bucket).write([(PAGE, [b"wrong"])])
    assert storage.write([(PAGE, [b"right"])]) == 1
    assert buckets.content(bucket)[PAGE] == b"right"


def test_the_cause_of_a_refused_head_is_asked_for(storage: S3Storage, proxy: Proxy) -> None:
    """An answer to HEAD has no body. So an expired token looks like any 400, or any 403."""
    proxy.break_("HEAD", status=400)
    proxy.break_("GET", status=400, code="ExpiredToken")
    with pytest.raises(StorageError, match="have expired"):
        storage.size(FILE)
    proxy.break_("HEAD", status=403)
    proxy.break_("GET", status=403, code="AccessDenied")
    with pytest.raises(StorageError, match="s3:GetObject"):
        storage.size(FILE)


def test_a_quoted_address_without_its_query_keeps_both_quotes() -> None:
    said = 'Could not connect to the endpoint URL: "http://127.0.0.1:9/mirrors?prefix=x"'
    assert faults.of_botocore(ConnectionError(said)).said == said.replace("?prefix=x", "")
