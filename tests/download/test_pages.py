"""Pages and lists: asked for conditionally, bounded after decompression."""

from __future__ import annotations

import hashlib
import json
import zlib

import pytest

from pypimirror.domain.model import Reason
from tests import simulator as faults
from tests.download.conftest import Lab, MakeLab, problem
from tests.simulator import IndexFile, Simulator

PAGE = "/simple/six/"


def test_page(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    result = lab.page()
    assert result.problem is None
    assert result.page is not None
    assert [file.filename for file in result.page.files] == ["six-1.0.tar.gz"]
    assert result.page.files[0].url == lab.url(six)
    assert result.serial == six.project.serial
    assert result.etag
    accept = simulator.requests[0].headers["accept"]
    assert accept.startswith("application/vnd.pypi.simple.v1+json")


def test_digest_is_of_the_decoded_body(lab: Lab, simulator: Simulator) -> None:
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "six", "files": []})
    simulator.page("six", body)
    expected = hashlib.sha256(body.encode()).hexdigest()
    assert lab.page().digest == expected
    simulator.fault(PAGE, faults.Encoded())
    assert lab.page().digest == expected


def test_not_modified(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    first = lab.page()
    second = lab.page(etag=first.etag)
    assert second.not_modified
    assert (second.page, second.problem) == (None, None)
    assert (second.etag, second.serial) == (first.etag, first.serial)
    simulator.add_file("six", "six-2.0.tar.gz", b"x")
    assert not lab.page(etag=first.etag).not_modified


def test_not_modified_since(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.etags, simulator.last_modified = False, True
    first = lab.page()
    assert first.last_modified
    assert lab.page(last_modified=first.last_modified).not_modified


def test_not_modified_without_having_asked(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(PAGE, faults.NotModified())
    problem(lab.page(), Reason.BAD_RESPONSE)


def test_missing(lab: Lab) -> None:
    found = problem(lab.page(), Reason.MISSING)
    assert (found.project, found.attempts) == ("six", 1)


def test_gone(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(PAGE, faults.Status(410))
    problem(lab.page(), Reason.MISSING)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed(lab: Lab, simulator: Simulator, six: IndexFile, encoding: str) -> None:
    simulator.fault(PAGE, faults.Encoded(encoding))
    assert lab.page().page is not None


def test_compressed_in_chunks(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(PAGE, faults.Encoded())
    simulator.fault(PAGE, faults.Chunked(size=7))
    assert lab.page().page is not None


def test_broken_compression(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(PAGE, faults.Encoded(broken=True))
    found = lab.page().problem
    assert found is not None
    assert found.reason in (Reason.BAD_RESPONSE, Reason.TRUNCATED)


def test_compression_that_is_none(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(PAGE, faults.SetHeaders({"Content-Encoding": "gzip"}))
    problem(lab.page(), Reason.BAD_RESPONSE)


def test_compression_that_ends_early(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    import gzip

    simulator.fault(PAGE, faults.Replace(gzip.compress(b"x" * 1000)[:-10]))
    simulator.fault(PAGE, faults.SetHeaders({"Content-Encoding": "gzip"}))
    problem(lab.page(), Reason.TRUNCATED)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "rot13", "utf-8, br"])
def test_encoding_that_was_not_asked_for(
    lab: Lab, simulator: Simulator, six: IndexFile, encoding: str
) -> None:
    simulator.fault(PAGE, faults.SetHeaders({"Content-Encoding": encoding}))
    problem(lab.page(), Reason.BAD_RESPONSE)


def test_gzip_bomb(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(max_page_size=1 << 20, max_list_size=1 << 20)
    for path, fetch in ((PAGE, lab.page), ("/simple/", lab.list)):
        simulator.fault(path, faults.GzipBomb(size=1 << 24))
        assert problem(fetch(), Reason.TOO_LARGE).attempts == 1


def test_page_that_is_too_large(make_lab: MakeLab, simulator: Simulator, six: IndexFile) -> None:
    lab = make_lab(max_page_size=100, max_list_size=10)
    problem(lab.page(), Reason.TOO_LARGE)
    problem(lab.list(), Reason.TOO_LARGE)
    simulator.fault("*", faults.MissingLength())
    problem(lab.page(), Reason.TOO_LARGE)
    problem(lab.list(), Reason.TOO_LARGE)


def test_page_longer_than_said(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(PAGE, faults.LyingLength(20))
    problem(lab.page(), Reason.TOO_LARGE)


def test_page_that_cannot_be_read(lab: Lab, simulator: Simulator) -> None:
    simulator.page("six", b"{")
    problem(lab.page(), Reason.BAD_PAGE)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Truncate(at=10), Reason.TRUNCATED),
        (faults.Stall(), Reason.TIMEOUT),
        (faults.Stall(after=10), Reason.TIMEOUT),
        (faults.Hangup(), Reason.CONNECTION),
        (faults.HeaderFlood(), Reason.BAD_RESPONSE),
        (faults.Status(500), Reason.HTTP_STATUS),
        (faults.RedirectLoop(), Reason.REDIRECT),
        (faults.Chunked(cut=True), Reason.TRUNCATED),
    ],
)
def test_faults_of_the_transport(
    make_lab: MakeLab, simulator: Simulator, six: IndexFile, fault: faults.Fault, reason: Reason
) -> None:
    lab = make_lab(timeout=0.3 if reason is Reason.TIMEOUT else 10.0)
    simulator.fault("*", fault)
    problem(lab.page(), reason)
    problem(lab.list(), reason)


def test_list(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    result = lab.list()
    assert result.problem is None
    data = lab.path("list").read_bytes()
    assert result.size == len(data)
    assert json.loads(data)["projects"][0]["name"] == "six"
    assert result.content_type == "application/vnd.pypi.simple.v1+json"
    assert result.url == simulator.url
    again = lab.list(etag=result.etag)
    assert again.not_modified
    assert again.etag == result.etag


def test_list_is_stored_decompressed(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault("/simple/", faults.Encoded())
    assert lab.list().problem is None
    assert json.loads(lab.path("list").read_bytes())


def test_list_that_cannot_be_written(lab: Lab, six: IndexFile) -> None:
    lab.path("list").mkdir()
    problem(lab.list(), Reason.FOREIGN)


def test_list_is_tried_again(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault("/simple/", faults.Truncate(at=10), nth=1)
    assert lab.list().problem is None
    assert json.loads(lab.path("list").read_bytes())


@pytest.mark.parametrize(
    "label", ["aws-chunked", "identity", "Identity, aws-chunked", "UTF-8", "none"]
)
def test_a_label_that_says_nothing_is_none(
    lab: Lab, simulator: Simulator, six: IndexFile, label: str
) -> None:
    simulator.fault(PAGE, faults.SetHeaders({"Content-Encoding": label}))
    assert lab.page().page is not None


def test_deflate_without_its_header_is_read_as_clients_do(lab: Lab, simulator: Simulator) -> None:
    document = json.dumps({"meta": {"api-version": "1.0"}, "name": "six", "files": []}).encode()
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    simulator.page("six", packer.compress(document) + packer.flush())
    simulator.fault(PAGE, faults.SetHeaders({"Content-Encoding": "deflate"}))
    assert lab.page().digest == hashlib.sha256(document).hexdigest()


def test_what_a_proxy_has_changed_is_read(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "six", "files": []}).encode()
    simulator.fault(PAGE, faults.Status(203, body=body))
    assert lab.page().page is not None
