"""Files that are not held: a client gets the right bytes, or no complete answer."""

from __future__ import annotations

import http.client
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypimirror.on_demand.messages import Absent, Away, Failed, FileQuestion, Here, Refused, Used
from tests.serve.demand.conftest import LONG, Serve, Site

SMALL = b"small" * 1000
LARGE = bytes(range(256)) * (9 << 12)  # 9 MiB
PATH = "/packages/six/six-1.17.0.tar.gz"
HELD = "/packages/six/six-1.16.0-py3-none-any.whl"
HELD_BACK = 64 * 1024


def is_cut(response: http.client.HTTPResponse) -> bool:
    """Read to the end; whether the client sees that the answer is not complete."""
    try:
        response.read()
    except http.client.IncompleteRead:
        return True
    return False


def raw(site: Site, request: bytes) -> bytes:
    """Send a request, and return all bytes until the end of the connection."""
    with socket.create_connection((site.server.host, site.server.port), timeout=LONG) as client:
        client.sendall(request)
        with client.makefile("rb") as stream:
            return stream.read()


def test_a_held_file_is_served_and_the_fetcher_is_not_asked(serve: Serve) -> None:
    site = serve()
    assert site.server.get(HELD)[0] == 200
    site.server.process.terminate()
    assert site.puppet.hears() == Used([("six", "six-1.16.0-py3-none-any.whl")])
    assert site.puppet.hears_nothing_more()


def test_a_small_file_is_verified_before_its_first_byte(serve: Serve) -> None:
    site = serve(files_SOON=LONG)
    client = site.ask(PATH)
    file = site.arriving(SMALL, size=len(SMALL))
    file.comes()
    site.puppet.say(Failed(file.id, "The file has another digest."))
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (502, b"The file has another digest.\n")


def test_a_file_that_is_here_is_sent_as_files_of_the_tree_are(serve: Serve) -> None:
    site = serve()
    client = site.ask(PATH, Range="bytes=5-9")
    site.arriving(SMALL).is_here()
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (206, b"small")
    assert answer.headers["ETag"]


def test_the_core_metadata_of_a_file_can_be_asked_for(serve: Serve) -> None:
    site = serve()
    client = site.ask(f"{HELD[:-12]}-py2-none-any.whl.metadata")
    site.arriving(b"Name: six").is_here()
    answer = client.getresponse()
    assert answer.read() == b"Name: six"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["size", "no size"])
def test_a_large_file_is_streamed_but_for_its_end(serve: Serve, size: int | None) -> None:
    site = serve()
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=size)
    file.comes()
    answer = client.getresponse()
    assert answer.status == 200
    start = answer.read(len(LARGE) - HELD_BACK)
    file.is_here()
    assert start + answer.read() == LARGE


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["size", "no size"])
@pytest.mark.parametrize("end", [Failed(0, "wrong"), Away(0, "away")], ids=["proven wrong", "away"])
def test_a_stream_that_fails_is_cut(serve: Serve, size: int | None, end: Failed | Away) -> None:
    """Not one byte too many: neither the whole length, nor a last chunk."""
    site = serve()
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=size)
    file.comes()
    answer = client.getresponse()
    site.puppet.say(replace(end, id=file.id))
    assert is_cut(answer)


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["size", "no size"])
def test_what_was_sent_is_hashed_by_the_server(serve: Serve, size: int | None) -> None:
    """A fetcher that begins again with right bytes does not make the first ones right."""
    site = serve()
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=size)
    file.comes(content=b"x" + LARGE[1:])
    answer = client.getresponse()
    assert answer.read(1) == b"x"
    file.is_here()
    assert is_cut(answer)


@pytest.mark.parametrize("lie", [-1, 1, -HELD_BACK, HELD_BACK], ids=str)
def test_an_answer_is_cut_if_the_size_was_a_lie(serve: Serve, lie: int) -> None:
    site = serve()
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE) + lie)
    file.comes()
    answer = client.getresponse()
    file.is_here()
    assert is_cut(answer)


def test_a_chunked_answer_that_fails_has_no_last_chunk(serve: Serve) -> None:
    site = serve()
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(raw, site, f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        file = site.arriving(LARGE)
        file.comes()
        site.puppet.say(Failed(file.id, "wrong"))
        data = whole.result()
    assert b"Transfer-Encoding: chunked\r\n" in data
    assert not data.endswith(b"\r\n0\r\n\r\n")


def test_a_client_without_chunks_waits_if_the_size_is_unknown(serve: Serve) -> None:
    """In HTTP/1.0, the end of the connection would look like the end of the file."""
    site = serve(files_SOON=0)
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(raw, site, f"GET {PATH} HTTP/1.0\r\n\r\n".encode())
        file = site.arriving(LARGE)
        file.comes()
        site.puppet.say(Failed(file.id, "wrong"))
        assert b" 502 " in whole.result().partition(b"\r\n")[0]


def test_a_slow_small_file_is_streamed_after_a_while(serve: Serve) -> None:
    site = serve(files_SOON=0)
    client = site.ask(PATH)
    file = site.arriving(SMALL, size=len(SMALL))
    file.comes(0)
    answer = client.getresponse()  # the headers are here before the first byte
    assert answer.headers["Content-Length"] == str(len(SMALL))
    file.comes(len(SMALL))
    file.is_here()
    assert answer.read() == SMALL


def test_a_byte_now_and_then_keeps_a_client_waiting(serve: Serve) -> None:
    """A client's time-out is for each read: pip's is 15 seconds."""
    site = serve(streaming_PAUSE=0.05)
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes(HELD_BACK)
    answer = client.getresponse()
    assert answer.read(3) == LARGE[:3]
    site.puppet.say(Failed(file.id, "wrong"))
    assert is_cut(answer)


def test_a_client_of_a_slow_upstream_hears_something_before_much_is_here(serve: Serve) -> None:
    site = serve(streaming_PAUSE=0.05)
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes(2)
    answer = client.getresponse()
    assert answer.read(1) == LARGE[:1]
    file.path.write_bytes(LARGE[:10])  # and nobody tells
    assert answer.read(8) == LARGE[1:9]
    file.comes()
    file.is_here()
    assert answer.read() == LARGE[9:]


def test_a_stream_follows_a_part_that_grows_though_nobody_tells(serve: Serve) -> None:
    site = serve(streaming_PAUSE=3600)
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes(len(LARGE) // 2)
    answer = client.getresponse()
    start = answer.read(len(LARGE) // 2 - HELD_BACK)
    file.path.write_bytes(LARGE)
    start += answer.read(len(LARGE) // 2)
    file.is_here()
    assert start + answer.read() == LARGE


def test_nothing_is_complete_before_it_is_verified_however_long_it_takes(serve: Serve) -> None:
    site = serve(files_SOON=0, streaming_PAUSE=0.001)
    client = site.ask(PATH)
    file = site.arriving(b"tiny", size=4)
    file.comes()
    answer = client.getresponse()
    assert answer.read(3) == b"tin"
    site.puppet.say(Failed(file.id, "wrong"))
    assert is_cut(answer)


UNPROVEN = pytest.mark.parametrize(
    "digests", [{}, {"md5": "0" * 32}, {"sha1": "0" * 40}], ids=["none", "md5", "sha1"]
)


@UNPROVEN
@pytest.mark.parametrize("size", [len(LARGE), None], ids=["size", "no size"])
def test_of_what_no_claim_proves_single_bytes_go_out_until_it_has_its_place(
    serve: Serve, digests: dict[str, str], size: int | None
) -> None:
    site = serve(files_SOON=0, files_PATIENCE=0.5, streaming_PAUSE=0.05)
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=size, digests=digests)
    file.comes()
    answer = client.getresponse()
    assert answer.status == 200
    start = answer.read(3)
    select.select([client.sock], [], [], LONG)
    assert len(client.sock.recv(1 << 20, socket.MSG_PEEK)) < 1000
    file.is_here()
    assert start + answer.read() == LARGE


def test_what_no_claim_proves_is_cut_if_it_fails(serve: Serve) -> None:
    site = serve(files_SOON=0, files_PATIENCE=0.5, streaming_PAUSE=0.05)
    client = site.ask(PATH)
    file = site.arriving(LARGE, digests={})
    file.comes()
    answer = client.getresponse()
    assert answer.read(1) == LARGE[:1]
    site.puppet.say(Failed(file.id, "wrong"))
    assert is_cut(answer)


def test_what_no_claim_proves_is_cut_if_its_place_has_other_bytes(serve: Serve) -> None:
    site = serve(files_SOON=0, files_PATIENCE=0.5, streaming_PAUSE=0.05)
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE), digests={})
    file.comes(content=b"x" + LARGE[1:])
    answer = client.getresponse()
    assert answer.read(1) == b"x"
    file.is_here()
    assert is_cut(answer)


def test_what_no_claim_proves_is_cut_if_it_is_nowhere(serve: Serve) -> None:
    """The bytes that arrived are not those of a file that has its place."""
    site = serve(files_SOON=0, files_PATIENCE=0.5, streaming_PAUSE=0.05)
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE), digests={})
    file.comes()
    answer = client.getresponse()
    assert answer.read(1) == LARGE[:1]
    site.puppet.say(Here(file.id))
    assert is_cut(answer)


def test_what_no_claim_proves_and_nobody_could_cut_is_asked_for_again(serve: Serve) -> None:
    """HEAD must not promise a file that may be wrong."""
    site = serve(files_SOON=0, files_PATIENCE=0.5)
    client = site.ask(PATH, "HEAD")
    file = site.arriving(LARGE, size=len(LARGE), digests={})
    file.comes()
    answer = client.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


def test_an_empty_file_is_not_streamed(serve: Serve) -> None:
    """Nothing of it can be held back."""
    site = serve(files_SOON=0)
    client = site.ask(PATH)
    file = site.arriving(b"", size=0)
    file.comes()
    site.puppet.say(Failed(file.id, "wrong"))
    assert client.getresponse().status == 502


def test_a_part_that_begins_again_with_the_same_bytes_goes_on(serve: Serve) -> None:
    site = serve()
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes(1 << 20)
    answer = client.getresponse()
    start = answer.read((1 << 20) - HELD_BACK)
    file.path.unlink()  # another file has the name now
    file.comes(1000)
    file.comes(2 << 20)
    start += answer.read(1 << 20)
    file.is_here()
    assert start + answer.read() == LARGE


def test_a_file_that_has_moved_on_into_the_tree_is_found_there(serve: Serve) -> None:
    site = serve()
    small = site.ask(PATH)
    file = site.arriving(SMALL)
    placed = site.root / PATH[1:]
    placed.write_bytes(SMALL)
    site.puppet.say(Here(file.id, str(file.place)))
    assert small.getresponse().read() == SMALL
    large = site.ask("/packages/six/six-9.tar.gz")
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes(1 << 20)
    answer = large.getresponse()
    (placed.parent / "six-9.tar.gz").write_bytes(LARGE)
    site.puppet.say(Here(file.id))
    assert answer.read() == LARGE


def test_a_stream_goes_on_from_its_open_part_if_the_file_is_nowhere_else(serve: Serve) -> None:
    """A slow client, after the file was put into a bucket and evicted again."""
    site = serve()
    client = site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes()
    answer = client.getresponse()
    start = answer.read(1)
    file.path.unlink()
    site.puppet.say(Here(file.id, str(file.place)))
    assert start + answer.read() == LARGE


def test_clients_that_ask_for_the_same_file_share_one_question(serve: Serve) -> None:
    site = serve()
    clients = [site.ask(PATH) for _ in range(50)]
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes()
    answers = [client.getresponse() for client in clients]
    file.is_here()
    assert all(answer.read() == LARGE for answer in answers)
    site.server.process.terminate()
    assert site.puppet.hears_nothing_more()


def test_a_client_that_goes_away_changes_nothing_for_others(serve: Serve) -> None:
    site = serve()
    gone, stays = site.ask(PATH), site.ask(PATH)
    file = site.arriving(LARGE, size=len(LARGE))
    gone.close()
    leaves, answer = site.ask(PATH), stays
    file.comes(1 << 20)
    started = leaves.getresponse()
    started.read(1000)
    started.close()
    leaves.close()
    file.comes()
    file.is_here()
    assert answer.getresponse().read() == LARGE
    site.server.process.terminate()
    assert site.puppet.hears_nothing_more()


def test_a_range_of_a_file_under_way_is_answered_with_the_whole(serve: Serve) -> None:
    site = serve()
    client = site.ask(PATH, Range="bytes=-100")
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes()
    answer = client.getresponse()
    file.is_here()
    assert (answer.status, answer.read()) == (200, LARGE)


def test_head_of_a_file_under_way_has_its_size_and_no_body(serve: Serve) -> None:
    site = serve()
    client = site.ask(PATH, "HEAD")
    file = site.arriving(LARGE, size=len(LARGE))
    file.comes(0)
    answer = client.getresponse()
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(LARGE)))
    assert answer.read() == b""
    client.request("GET", HELD)  # the connection can be used for the next request
    assert client.getresponse().read() == (site.root / HELD[1:]).read_bytes()


def test_head_without_a_size_waits(serve: Serve) -> None:
    """pywsgi would end the body of a chunked answer, which an answer to HEAD does not have."""
    site = serve(files_SOON=0)
    client = site.ask(PATH, "HEAD")
    file = site.arriving(LARGE)
    file.comes()
    file.is_here()
    assert client.getresponse().headers["Content-Length"] == str(len(LARGE))


@pytest.mark.parametrize(
    ("final", "status"),
    [
        (Refused(0, "[select] exclude has it."), 403),
        (Absent(0, "Nobody has it.", 300), 404),
        (Away(0, "pypi refused the connection."), 502),
        (Failed(0, "It has another digest."), 502),
    ],
    ids=["refused", "absent", "away", "failed"],
)
def test_what_cannot_be_had_is_told_in_a_sentence(
    serve: Serve, final: Refused | Absent | Away | Failed, status: int
) -> None:
    site = serve()
    client = site.ask(PATH)
    site.puppet.say(replace(final, id=site.puppet.hears_file().id))
    answer = client.getresponse()
    assert (answer.status, answer.read().decode()) == (status, f"{final.reason}\n")


def test_a_file_that_takes_too_long_is_asked_for_again(serve: Serve) -> None:
    site = serve(files_PATIENCE=0.05)
    answer, _ = site.get(PATH)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    site.arriving(SMALL).is_here()
    page = site.ask("/simple/six/")
    site.puppet.say(Here(site.puppet.hears_page().id))
    assert page.getresponse().status == 200
    again = site.ask(PATH)
    site.arriving(SMALL).is_here()
    assert again.getresponse().read() == SMALL


def test_an_absent_file_is_asked_for_once(serve: Serve) -> None:
    site = serve()
    client = site.ask(PATH)
    site.puppet.say(Absent(site.puppet.hears_file().id, "Nobody has it.", 300))
    assert client.getresponse().status == 404
    assert site.server.get(PATH) == (404, b"Nobody has it.\n")
    site.server.process.terminate()
    assert site.puppet.hears_nothing_more()


@pytest.mark.parametrize(
    "path",
    [
        "/packages/six",
        "/packages/six/",
        "/packages/Six/six-2.tar.gz",
        "/packages/six/other-2.tar.gz",
        "/packages/six/six-2.tar.gz/x",
        "/packages/six/.six-2.tar.gz",
        "/packages/six/..%2Fsix-2.tar.gz",
        "/packages/six/six-2.tar.gz.provenance",
        "/packages/six/six-2.tar.gz.metadata.metadata",
        f"/packages/six/six-{'2' * 300}.tar.gz",
        "/packages/%2e%2e/six-2.tar.gz",
    ],
)
def test_nobody_is_asked_for_what_cannot_be_a_file(serve: Serve, path: str) -> None:
    site = serve()
    assert site.server.get(path)[0] == 404
    site.server.process.terminate()
    assert site.puppet.hears_nothing_more()


def test_a_fetcher_that_dies_cuts_streams_and_lets_others_ask_again(serve: Serve) -> None:
    site = serve(keeping_FIRST=0.01)
    streaming, waiting = site.ask(PATH), site.ask("/packages/six/six-2.tar.gz")
    file = site.arriving(LARGE, size=len(LARGE))
    other = site.puppet.hears()
    assert isinstance(other, FileQuestion)
    if other.filename == "six-1.17.0.tar.gz":  # they arrived in the other order
        file.id = other.id
    file.comes(1 << 20)
    answer = streaming.getresponse()
    site.puppet.kill()
    assert is_cut(answer)
    refused = waiting.getresponse()
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert site.server.get(HELD)[0] == 200
    site.puppet.begins()
    again = site.ask(PATH)
    site.arriving(SMALL).is_here()
    assert again.getresponse().read() == SMALL


def test_files_that_were_served_are_told_in_one_message(serve: Serve) -> None:
    site = serve(usage_USED=0.2)
    for _ in range(3):
        assert site.server.get(HELD)[0] == 200
    assert site.puppet.hears() == Used([("six", Path(HELD).name)])
