"""The contract of a storage, for every implementation; `storage.storage` has the rules."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from pathlib import Path

import pytest

from pypimirror.storage import many
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.s3.clients import Clients
from pypimirror.storage.s3.storage import S3Storage
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError
from tests import buckets
from tests.sampling import sample
from tests.storages import Damaging, MemoryStorage

PAGE = "simple/a/index.html"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "mirror")
    made.create()
    return made


#: Each kind of object storage: the fixture of its server, and whether it is reached over TLS.
BUCKETS = {
    "seaweed": ("seaweed", False),
    "tls": ("seaweed", True),
    "moto": ("moto", False),
    "s3rver": ("s3rver", False),
}


#: `make test-thorough` does the others.
OFTEN = ("posix", "memory", "wrapped", "seaweed")


def in_bucket(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> Storage:
    fixture, tls = BUCKETS[request.param]
    request.getfixturevalue("keys_of_the_bucket")
    server: buckets.Server = request.getfixturevalue(fixture)
    if tls:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(server.ca))
    bucket = server.bucket(endpoint=server.tls if tls else server.endpoint)
    return S3Storage(workspace, bucket, clients=Clients(bucket, buckets.HASTY))


@pytest.fixture(params=sample(["posix", "memory", "wrapped", *BUCKETS], *OFTEN))
def storage(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> Storage:
    makers = {
        "posix": PosixStorage,
        "memory": MemoryStorage,
        "wrapped": lambda w: Damaging(MemoryStorage(w)),
        **dict.fromkeys(BUCKETS, partial(in_bucket, request, monkeypatch)),
    }
    made: Storage = makers[request.param](workspace)
    made.create()
    return made


def keys(storage: Storage, prefix: str) -> list[str]:
    return sorted(storage.keys(prefix, pytest.fail))


def put(storage: Storage, workspace: Workspace, key: str, content: bytes) -> None:
    workspace.staged(1).write_bytes(content)
    storage.place([(workspace.staged(1), key)])


def test_what_is_placed_is_there_and_gone_from_staging(
    storage: Storage, workspace: Workspace
) -> None:
    put(storage, workspace, "packages/six/six-1.0.zip", b"bytes")
    assert storage.read("packages/six/six-1.0.zip") == b"bytes"
    assert storage.size("packages/six/six-1.0.zip") == 5
    assert storage.has("packages/six") and storage.has("packages/six/six-1.0.zip")
    assert storage.has_below("packages/six") and not storage.has_below("packages/si")
    assert storage.lists("packages/six/six-1.0.zip")
    assert not workspace.is_staged(1)
    assert keys(storage, "packages") == ["packages/six/six-1.0.zip"]
    assert keys(storage, "simple") == []


def test_what_is_not_there_is_told_by_each_in_its_way(storage: Storage) -> None:
    assert storage.read(PAGE) is None
    assert storage.size(PAGE) is None
    assert not storage.has(PAGE)
    assert not storage.lists(PAGE)
    assert not storage.says(PAGE, [b""])
    assert storage.stamp_of_all([PAGE]) is None
    assert storage.sha256_of_all([PAGE]) is None
    with pytest.raises(OSError):
        storage.stamp(PAGE)
    storage.remove(PAGE)


def test_a_page_is_written_only_where_it_says_something_else(storage: Storage) -> None:
    assert storage.write([(PAGE, [b"o", b"ne"]), ("simple/b/index.html", [b"b"])]) == 2
    before = storage.stamp(PAGE), storage.stamp("simple/b/index.html")
    assert storage.write([(PAGE, [b"one"]), ("simple/b/index.html", [b"B"])]) == 1
    assert storage.stamp(PAGE) == before[0]
    assert storage.stamp("simple/b/index.html") != before[1]
    assert storage.says(PAGE, [b"on", b"e"])
    assert not storage.says(PAGE, [b"one", b"more"])
    assert not storage.says(PAGE, [b"on"])


def test_what_is_replaced_has_another_stamp(storage: Storage, workspace: Workspace) -> None:
    put(storage, workspace, "packages/a/1", b"same")
    put(storage, workspace, "packages/a/2", b"other")
    first, together = (
        storage.stamp("packages/a/1"),
        storage.stamp_of_all(["packages/a/1", "packages/a/2"]),
    )
    put(storage, workspace, "packages/a/1", b"new!")
    assert storage.stamp("packages/a/1") != first
    assert storage.stamp_of_all(["packages/a/1", "packages/a/2"]) != together


def test_a_reader_sees_an_old_page_or_a_new_one_and_never_part_of_one(
    storage: Storage, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["storage"] == "s3rver":
        pytest.skip("s3rver writes over the file that it sends: no client can change that")
    old, new = b"o" * 300_000, b"n" * 200_000
    storage.write([(PAGE, [old])])
    seen, done = set[bytes | None](), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(storage.read(PAGE))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        storage.write([(PAGE, [new])])
        storage.write([(PAGE, [old])])
    done.set()
    reader.join()
    assert seen <= {old, new}


def test_pages_that_fail_half_way_show_nothing(storage: Storage) -> None:
    storage.write([(PAGE, [b"old"])])

    def chunks() -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        storage.write([(PAGE, chunks())])  # type: ignore[list-item]
    assert storage.read(PAGE) == b"old"


def test_bytes_that_are_not_there_cannot_be_placed(storage: Storage, workspace: Workspace) -> None:
    with pytest.raises(StorageError, match=r"six-1\.0\.zip"):
        storage.place([(workspace.staged(9), "packages/six/six-1.0.zip")])
    assert not storage.has("packages/six/six-1.0.zip")


def test_what_is_removed_is_gone_and_what_is_beside_it_stays(storage: Storage) -> None:
    storage.write([(PAGE, [b"1"]), ("simple/a/index.v1_json", [b"2"])])
    storage.remove(PAGE)
    assert keys(storage, "simple") == ["simple/a/index.v1_json"]
    storage.remove("simple/a/index.v1_json")
    assert keys(storage, "simple") == []
    assert storage.write([(PAGE, [b"again"])]) == 1


def test_a_directory_known_to_be_empty_is_not_when_something_was_put_there(
    storage: Storage,
) -> None:
    assert not storage.has_below("simple/six")
    storage.write([("simple/six/index.html", [b"1"])])
    assert storage.has_below("simple/six")


def test_what_is_taken_out_lies_at_the_path_and_is_served_no_more(
    storage: Storage, workspace: Workspace
) -> None:
    put(storage, workspace, "packages/a/1", b"bad")
    workspace.set_aside(lambda target: storage.take("packages/a/1", target), "1", b"{}")
    assert (workspace.quarantine / "1").read_bytes() == b"bad"
    assert not storage.has("packages/a/1")
    workspace.set_aside(lambda target: storage.take("packages/a/1", target), "2", b"{}")
    assert not (workspace.quarantine / "2").exists()


def test_a_file_can_be_read_where_it_says(storage: Storage, workspace: Workspace) -> None:
    put(storage, workspace, "packages/a/1", b"bytes")
    path, root, stamp, is_copy = storage.local("packages/a/1")
    assert Path(path).read_bytes() == b"bytes"
    assert path.startswith(root)
    assert stamp == (storage.stamp("packages/a/1") if is_copy else None)
    assert not Path(storage.local("packages/a/2").path).exists()


def test_what_is_known_without_reading_agrees_with_what_is_read(
    storage: Storage, workspace: Workspace
) -> None:
    content = b"bytes" * 400_000
    put(storage, workspace, "packages/a/1", content)
    seen, chunks = storage.opened("packages/a/1")
    assert b"".join(chunks) == content
    assert seen == storage.seen("packages/a/1")
    assert (seen.size, seen.stamp) == (len(content), storage.stamp("packages/a/1"))
    assert seen.sha256 in (None, hashlib.sha256(content).digest())
    assert storage.seen("packages/a/2") is None
    with pytest.raises(FileNotFoundError):
        list(storage.opened("packages/a/2")[1])


def test_many_questions_are_answered_in_their_order(storage: Storage, workspace: Workspace) -> None:
    keys = [f"packages/a/{number}" for number in range(50)]
    for number, key in enumerate(keys[:40]):
        put(storage, workspace, key, b"x" * number)
    found = many.ask(storage, storage.size, keys)
    assert found == [*range(40), *[None] * 10]
    assert many.ask(storage, storage.size, []) == []


def test_of_many_keys_those_with_an_object_are_told(storage: Storage) -> None:
    """A few of a directory are asked for one by one; many of one by a list of it."""
    many_files = [f"packages/many/{number}.whl" for number in range(12)]
    held = [*many_files[::2], "packages/few/1.whl", "packages/many/below/1.whl"]
    storage.write([(key, [b"x"]) for key in held])
    asked = [*many_files, "packages/few/1.whl", "packages/few/2.whl", "packages/none/1.whl"]
    assert many.present(storage, asked) == {*many_files[::2], "packages/few/1.whl"}
    assert many.present(storage, []) == set()


def test_a_file_keeps_its_stamp_when_it_is_placed_or_the_new_one_is_told(
    storage: Storage, workspace: Workspace
) -> None:
    workspace.staged(1).write_bytes(b"bytes")
    before = workspace.staged_stamp(1)
    told = storage.place([(workspace.staged(1), "packages/a/1")])
    assert storage.stamp("packages/a/1") == told.get("packages/a/1", before)


def test_more_bytes_than_were_asked_for_are_not_read(
    storage: Storage, workspace: Workspace
) -> None:
    put(storage, workspace, "packages/a/1", b"12345")
    assert storage.read("packages/a/1", 4) is None
    assert storage.read("packages/a/1", 5) == b"12345"
    expected = hashlib.sha256(b"1234512345").digest()
    assert storage.sha256_of_all(["packages/a/1"] * 2) == expected


def test_whoever_may_not_write_any_more_changes_nothing(
    storage: Storage, workspace: Workspace
) -> None:
    class LostError(Exception):
        pass

    def lost() -> None:
        raise LostError

    put(storage, workspace, "packages/a/1", b"1")
    storage.guard = lost
    workspace.staged(1).write_bytes(b"2")
    changes = [
        lambda: storage.place([(workspace.staged(1), "packages/a/1")]),
        lambda: storage.write([(PAGE, [b"page"])]),
        lambda: storage.remove("packages/a/1"),
        lambda: storage.take("packages/a/1", workspace.quarantine / "1"),
        storage.flush,
        lambda: storage.write_note("generation", "2"),
    ]
    for change in changes:
        with pytest.raises(LostError):
            change()
    assert storage.read("packages/a/1") == b"1"
    assert not storage.has(PAGE)
    assert storage.note("generation") is None


def test_a_note_is_read_as_it_was_written_and_is_nothing_that_is_served(storage: Storage) -> None:
    assert storage.note("generation") is None
    storage.write_note("generation", "1-ä\nsqlite\n")
    storage.write_note("identity", "other", durable=True)
    assert storage.note("generation") == "1-ä\nsqlite\n"
    storage.write_note("generation", "2\n")
    storage.flush()
    assert storage.note("generation") == "2\n"
    assert storage.note("identity") == "other"
    assert keys(storage, "simple") == keys(storage, "packages") == []
