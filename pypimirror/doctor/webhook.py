"""Checks that the address for alerts answers. It sends no alert."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, warning

_NAME = "webhook"
_TIMEOUT = 5.0  # seconds
_ABSENT = (404, 410)
_REFUSED = (401, 403)


def check(config: Config) -> Iterator[Finding]:
    """Check that the address answers. Its path is a secret, so no finding shows it."""
    address = config.alerts.webhook
    if not address:
        return
    parts = urlsplit(address)
    shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    try:
        with urlopen(Request(address, method="HEAD"), timeout=_TIMEOUT) as answer:  # noqa: S310
            status = answer.status
    except HTTPError as error:
        status = error.code
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        remedy = "Set [alerts] webhook to an address that answers: until then alerts are lost"
        yield failed(_NAME, f"{shown}: does not answer: {reason}", remedy)
        return
    if status in _ABSENT:
        remedy = "Check the path in [alerts] webhook; some servers answer so to all but POST"
        yield warning(_NAME, f"{shown}: answers, but has nothing there (HTTP {status})", remedy)
    elif status in _REFUSED or status >= 500:
        remedy = "Check that it takes a POST; if it does not, alerts are lost"
        yield warning(_NAME, f"{shown}: answers with HTTP {status}", remedy)
    else:
        yield ok(_NAME, f"{shown}: answers (HTTP {status}); no alert was sent")
