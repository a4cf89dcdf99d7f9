"""What an answer that refuses something says about why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.download.refusals import MOST_READ, MOST_SAID, said
from pypimirror.model import Reason
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
        ("", ""),
        (" \n", ""),
        ("x" * 5000, "x" * 297 + "..."),
    ],
)
def test_it_is_told_in_a_line(body: str, expected: str) -> None:
    assert said(body.encode()) == expected


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
    told = problem(lab.file(six), Reason.DENIED).message
    assert "JFrog Packages Curation" in told and f"status {status}" in told
    assert "login" not in told and "password" not in told and "\n" not in told
    assert len(simulator.requests) == 1


def test_a_file_that_wants_a_login_says_so(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Status(401, body=b"who are you?"))
    told = problem(lab.file(six), Reason.HTTP_STATUS).message
    assert "who are you?" in told and "login" in told


def test_a_page_that_is_refused_may_want_a_login_and_says_what_it_said(
    lab: Lab, simulator: Simulator
) -> None:
    simulator.fault("/simple/six/", faults.Status(403, body=b"not for you"))
    told = problem(lab.page(), Reason.HTTP_STATUS).message
    assert "not for you" in told and "login" in told


def test_other_refusals_say_what_they_say(lab: Lab, simulator: Simulator, six: IndexFile) -> None:
    simulator.fault(six, faults.Status(402, body=b"the quota of this month is used up"))
    assert "the quota of this month" in problem(lab.file(six), Reason.HTTP_STATUS).message


def test_an_endless_body_is_cut_and_the_connection_given_up(
    lab: Lab, simulator: Simulator, six: IndexFile
) -> None:
    simulator.fault(six, faults.EndlessChunked(body=True))
    simulator.fault(six, faults.Status(403))
    assert len(problem(lab.file(six), Reason.DENIED).message) < MOST_SAID + 200
