"""Every way in which a transport goes wrong, over every way to an upstream: one reason for each.

The table says what is met, and where it is tested at length. What each costs the rest of a run is
in `tests/hostile`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.protocol import Remote
from tests import simulator as faults
from tests.download.conftest import BODY, MakeLab, good
from tests.download.proxying import TestProxy
from tests.simulator import Simulator
from tests.simulator.faults import Fault

SECONDS = 0.4  #: the time-out of those that wait

#: By case: the fault, the reason (None: it works all the same), and the test that has more.
CASES: dict[str, tuple[Fault, Reason | None, str]] = {
    "reset": (faults.Reset(), Reason.CONNECTION, "faults.test_reset"),
    "closed unanswered": (
        faults.Hangup(),
        Reason.CONNECTION,
        "faults.test_what_is_not_http",
    ),
    "time-out before the body": (
        faults.Stall(),
        Reason.TIMEOUT,
        "faults.test_timeout_before_the_answer",
    ),
    "time-out in the body": (
        faults.Stall(after=100),
        Reason.TIMEOUT,
        "faults.test_timeout_before_the_answer",
    ),
    "slow drip": (faults.Drip(), Reason.TIMEOUT, "faults.test_slow_drip"),
    "truncated body": (faults.Truncate(at=100), Reason.TRUNCATED, "faults.test_truncated"),
    "longer than said": (faults.Padded(), Reason.SIZE_MISMATCH, "faults.test_longer_than_said"),
    "missing length": (
        faults.MissingLength(),
        None,
        "faults.test_missing_content_length",
    ),
    "lying length": (
        faults.LyingLength("1e3"),
        Reason.BAD_RESPONSE,
        "faults.test_content_length_that_is_no_number",
    ),
    "chunks without end": (
        faults.EndlessChunked(),
        Reason.SIZE_MISMATCH,
        "faults.test_chunked_without_end",
    ),
    "chunks cut off": (
        faults.Chunked(cut=True),
        Reason.TRUNCATED,
        "faults.test_chunked_without_last_chunk",
    ),
    "206 without having asked": (
        faults.WrongRange(shift=0),
        Reason.BAD_RESPONSE,
        "faults.test_partial_content_without_having_asked",
    ),
    "304 without having asked": (
        faults.NotModified(),
        Reason.BAD_RESPONSE,
        "faults.test_not_modified_without_having_asked",
    ),
    "redirect loop": (faults.RedirectLoop(), Reason.REDIRECT, "redirects.test_redirect_loop"),
    "redirect to file:": (
        faults.Redirect("file:///etc/passwd"),
        Reason.REDIRECT,
        "redirects.test_redirect_to_another_scheme",
    ),
    "redirect to a private address": (
        faults.Redirect("https://10.0.0.1/x"),
        Reason.HOST_NOT_ALLOWED,
        "redirects.test_redirect_to_a_private_address",
    ),
    "429": (faults.Status(429), Reason.HTTP_STATUS, "faults.test_status_that_is_tried_again"),
    "503 with Retry-After": (
        faults.Status(503, 0),
        Reason.HTTP_STATUS,
        "faults.test_status_that_is_tried_again",
    ),
    "HTML in place of a file": (
        faults.HtmlError(),
        Reason.BAD_RESPONSE,
        "faults.test_html_error_page",
    ),
    "gzip bomb": (
        faults.GzipBomb(size=1 << 20),
        Reason.DIGEST_MISMATCH,
        "faults.test_gzip_bomb_as_a_file",
    ),
    "header flood": (
        faults.HeaderFlood(count=None),
        Reason.BAD_RESPONSE,
        "faults.test_header_flood",
    ),
    "keep-alive closed while idle": (
        faults.CloseIdle(),
        None,
        "faults.test_keep_alive_closed_while_idle",
    ),
}

#: Those that need more than one fault on one request.
ELSEWHERE = (
    "transport.test_https_to_http_redirect",
    "resume.test_partial_content_from_another_offset",
    "resume.test_partial_content_from_another_offset_that_lies",
    "dates.test_retry_after",
    "pages.test_gzip_bomb",
    "faults.test_refused",
)
DOWNLOAD = Path(__file__).parents[1]
WAYS = ("plain", "tls", "http proxy", "connect", "socks5h")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_case(
    make_lab: MakeLab,
    simulator: Simulator,
    secure: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    way: str,
) -> None:
    fault, reason, _ = CASES[case]
    upstream = secure if way in ("tls", "connect") else simulator
    file = upstream.add_file("six", "six-1.0.tar.gz", BODY)
    kinds = {"http proxy": "http", "connect": "http", "socks5h": "socks5h"}
    with TestProxy() as proxy:
        remote = Remote(
            "sim",
            upstream.url,
            proxy=proxy.url(kinds[way]) if way in kinds else "none",
            ca_file=str(secure.ca_file),
        )
        waits = reason is Reason.TIMEOUT
        lab = make_lab(
            simulator=upstream, remotes=(remote,), tries=1, timeout=SECONDS if waits else 10.0
        )
        rule = upstream.fault(file, fault)
        for _ in range(2 if reason is None else 1):
            result = lab.file(file)
            if reason is None:
                good(result, lab.path())
            else:
                assert result.problem is not None
                assert result.problem.reason is reason, result.problem
        upstream.heal(rule)
        good(lab.file(file), lab.path())  # nobody else pays for it
        assert bool(proxy.asked) == (way in kinds)


@pytest.mark.parametrize("name", [*(more for _, _, more in CASES.values()), *ELSEWHERE])
def test_what_has_more_is_there(name: str) -> None:
    module, _, function = name.partition(".")
    (file,) = DOWNLOAD.rglob(f"test_{module}.py")
    assert f"\ndef {function}(" in file.read_text()
