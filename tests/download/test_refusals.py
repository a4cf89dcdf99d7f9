"""What an answer that refuses something says about why."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import Reason
from pypimirror.download.refusals import MOST_READ, MOST_SAID, said, told
from tests import simulator as faults
from tests.download.conftest import Lab, problem
from tests.simulator import IndexFile, Simulator

ARTIFACTORY = {
    "errors": [
        {
            "status": 403,
            "message": "Package six:1.0 download was blocked by JFrog Packages Curation service "
            "due to the following policies violated {malicious,Malicious package}",
        }
    ]
}
NEXUS = (
    "<!DOCTYPE html><html><head><title>403 - Nexus Repository Manager</title>"
    "<style>a { color: red }</style><script>alert(1)</script></head><body>"
    "<h1>REQUESTED ITEM IS QUARANTINED</h1><p>FOR DETAILS SEE&nbsp;http://127.0.0.1/q/1</p>"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (json.dumps(ARTIFACTORY), ARTIFACTORY["errors"][0]["message"]),
        (
            NEXUS,
            "403 - Nexus Repository Manager REQUESTED ITEM IS QUARANTINED FOR DETAILS SEE "
            "http://127.0.0.1/q/1",
        ),
        ('{"detail": "blocked by policy"}', "blocked by policy"),
        (
            '{"errors": [{"title": "Forbidden"}, {"detail": "held for 7 days"}]}',
            "Forbidden; held for 7 days",
        ),
        ('["no", "way"]', "no; way"),
        ('{"code": 7}', '{"code": 7}'),
        ("{broken", "{broken"),
        ("[" * 5000, ("[" * 297) + "..."),
        (
            "blocked\r\n by\tpolicy \x1b[31mred\x1b[0m \u202egnol\u200b",
            "blocked by policy [31mred [0m gnol",
        ),
        ("see http://me:secret@127.0.0.1/x", "see http://127.0.0.1/x"),
        ('{"error": {"code": "X", "msg": "blocked: CVE-1"}}', "blocked: CVE-1"),
        (f"<style>{'x' * 20_000}</style><p>held", "held"),
        (f"<p>held<style>{'x' * 200_000}", "held"),
        ("", ""),
        (" \n", ""),
        ("x" * 5000, "x" * 297 + "..."),
    ],
)
def test_it_is_told_in_a_line(body: str, expected: str) -> None:
    assert said(body.encode()) == expected


def test_letters_that_are_no_utf_8_are_those_of_windows() -> None:
    assert said("für später".encode("windows-1252")) == "für später"
    assert said(("x" * (MOST_READ - 1) + "ü").encode()).startswith("xxx")  # cut in a letter


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]
)
def test_it_is_read_in_any_unicode_encoding(encoding: str) -> None:
    """As .NET and PowerShell write it."""
    assert said('{"message": "für später"}'.encode(encoding)) == "für später"
    assert said("<p>held</p>".encode(encoding)) == "held"
    assert told(404, "Not Found", "<p>Oh no</p>".encode(encoding)) == ""
    assert said(("x" * MOST_READ).encode(encoding)).startswith("xxx")  # cut in a letter


@given(
    st.binary(max_size=400) | st.text(alphabet='<>/script {}[]":,a\n', max_size=400).map(str.encode)
)
def test_whatever_it_is_it_is_one_short_line(body: bytes) -> None:
    line = said(body)
    assert len(line) <= MOST_SAID
    assert line == "" or line.isprintable()


@pytest.mark.parametrize("hostile", [b"<script", b"<", b"<!--", b'{"a":', b"&#", b"<style><"])
def test_no_more_than_the_beginning_is_looked_at(hostile: bytes) -> None:
    assert len(said(hostile * 100_000)) <= MOST_SAID
    assert said(b" " * MOST_READ + b"late") == ""


@pytest.mark.parametrize("status", [403, 451])
def test_a_file_that_is_kept_back_is_told_with_what_is_said_and_no_login_is_blamed(
    lab: Lab, simulator: Simulator, six: IndexFile, status: int
) -> None:
    simulator.fault(six, faults.Status(status, body=json.dumps(ARTIFACTORY).encode()))
    message = problem(lab.file(six), Reason.DENIED).message
    assert "JFrog Packages Curation" in message and f"status {status}" in message
    assert "login" not in message and "password" not in message and "\n" not in message
    assert len(simulator.requests) == 1


def test_a_file_that_wants_a_login_says_so(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Status(401, body=b"who are you?"))
    message = problem(lab.file(six), Reason.HTTP_STATUS).message
    assert "who are you?" in message and "login" in message


def test_a_page_that_is_refused_may_want_a_login_and_says_what_it_said(
    lab: Lab, simulator: Simulator
) -> None:
    simulator.fault("/simple/six/", faults.Status(403, body=b"not for you"))
    message = problem(lab.page(), Reason.HTTP_STATUS).message
    assert "not for you" in message and "login" in message


def test_other_refusals_say_what_they_say(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Status(402, body=b"the quota of this month is used up"))
    assert "the quota of this month" in problem(lab.file(six), Reason.HTTP_STATUS).message


def test_an_endless_body_is_cut_and_the_connection_given_up(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.EndlessChunked(body=True))
    simulator.fault(six, faults.Status(403))
    assert len(problem(lab.file(six), Reason.DENIED).message) < MOST_SAID + 200


@pytest.mark.parametrize("label", ["gzip", "deflate", "aws-chunked"])
def test_a_refusal_that_comes_packed_is_told(lab: Lab, simulator: Simulator, label: str) -> None:
    body = b"not before Monday"
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(label, bytes)(body)
    simulator.fault("/simple/six/", faults.Status(403, body=packed))
    simulator.fault("/simple/six/", faults.SetHeaders({"Content-Encoding": label}))
    assert "not before Monday" in problem(lab.page(), Reason.HTTP_STATUS).message


@pytest.mark.parametrize(
    ("status", "phrase", "body", "expected"),
    [
        (403, "Forbidden", b"blocked", "blocked"),
        (403, "", b"blocked", "blocked"),
        (403, "403", b"", ""),
        (403, "Requested item is quarantined", b"", "Requested item is quarantined"),
        (403, "Quarantined", b"<h1>403 Forbidden</h1>", "Quarantined: 403 Forbidden"),
        (403, "QUARANTINED", b"It is quarantined.", "It is quarantined."),
        (403, "a" * 400, b"b" * 400, "a" * 297 + "..."),
        (404, "Not Found", b'{"detail": "blocked: malware"}', "blocked: malware"),
        (404, "Not Found", b" <html><h1>404 Not Found</h1>", ""),
        (410, "Gone", b"<html><h1>410 Gone</h1>", ""),
    ],
)
def test_the_phrase_behind_the_status_may_be_the_reason(
    status: int, phrase: str, body: bytes, expected: str
) -> None:
    assert told(status, phrase, body) == expected


def test_a_file_that_is_not_there_by_policy_says_so(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.Status(404, body=b'{"detail": "blocked: malware"}'))
    assert "blocked: malware" in problem(lab.file(six), Reason.MISSING).message
