"""The rules on links, API versions and statuses, the same for every form of a project page.

Not here: the parsing of either form, the rules on digests (`pypimirror.upstream.claims`), the
collecting of files (`pypimirror.upstream.collecting`), the rules on names (`domain.filenames`), and
which hosts are allowed (`download.http.hosts`).

A claim on a page that is not used is reported in a warning (`Unused`), never dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from pypimirror.domain.filenames import printable
from pypimirror.domain.model import NEWEST_API, Problem, ProjectStatus, ReadError, Reason

#: Most problems of one page that are reported one by one. The rest is only counted, to save memory.
MAX_PROBLEMS = 1000

#: Most names of each kind that a warning about unused claims shows.
_MAX_NAMES = 5

# An absolute link that needs no further check: no credentials, no odd port, nothing to quote.
_CLEAN_URL = re.compile(
    r"https?://[a-z0-9][a-z0-9.-]*+(?::(?:[1-5][0-9]{4}|6[0-4][0-9]{3}|[1-9][0-9]{0,3}))?"
    r"/[A-Za-z0-9._~!$&'()*+,;=:@/%?-]*+"
)
# A link to a place below or beside the page, without dots as segments, and with nothing to quote.
_PLAIN_LINK = re.compile(
    r"(?P<up>(?:\.\./)*+)"
    r"(?P<rest>(?:[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*+/)*+[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*+)"
)
_NOT_IN_URLS = re.compile(r"[\x00-\x1f\x7f\\]")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_CREDENTIALS = re.compile(r"//[^/?#]*@")
_API_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")


class RefusedError(Exception):
    """One file of a page cannot be used. The others can."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Unused:
    """Claims of a page that are not used. There is one warning for each kind."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note an unused claim. `kind` is the beginning of the warning."""
        names = self._names.setdefault(kind, {})
        if name in names or len(names) < MAX_PROBLEMS:
            names[name] = names.get(name, 0) + 1

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each kind, without a full stop."""
        for kind, names in self._names.items():
            shown = [printable(name, 40) for name in sorted(names)[:_MAX_NAMES]]
            more = [f"and {len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
            yield f"{kind} ({sum(names.values())}): {', '.join([*shown, *more])}"


#: Kinds of unused claims.
UNKNOWN_KEYS = "unknown keys were left out"
BAD_TIMES = "upload times are not valid and were left out"


def unusable(reason: Reason, message: str, *, url: str, project: str = "") -> ReadError:
    """Return the error that a whole page cannot be used. `message` has no full stop."""
    address = printable(without_credentials(url), 300)
    return ReadError(Problem(reason, f"{address}: {message}.", project=project, url=address))


def without_credentials(url: str) -> str:
    """Return a URL without user and password, which must not be in messages or links."""
    return _CREDENTIALS.sub("//", url, count=1)


def resolve(link: str, base: str) -> str:
    """Return the absolute URL of a link on a page at `base`, without fragment, ready for a request.

    Only http and https are allowed, and file on pages that are files themselves. Raises
    `RefusedError` with UNSAFE_URL.
    """
    if _CLEAN_URL.fullmatch(link):
        return link
    if plain := _PLAIN_LINK.fullmatch(link):
        return _directory(plain["up"], base) + plain["rest"]
    return _joined(link, base)


@lru_cache(256)  # most links of a page lead to the same place
def _directory(up: str, base: str) -> str:
    """Return what a link of `up` and a name has before the name."""
    return _joined(f"{up}x", base)[:-1]


def _joined(link: str, base: str) -> str:
    # Check this before urllib, which removes some of these characters silently.
    if _NOT_IN_URLS.search(link):
        raise RefusedError(Reason.UNSAFE_URL, "its link contains control characters or backslashes")
    try:
        parts = urlsplit(urljoin(base, link))
        _ = parts.port  # raises an error if it is not a number up to 65535
    except ValueError as error:
        raise RefusedError(Reason.UNSAFE_URL, f"its link is malformed ({error})") from None
    authority = parts.netloc
    if parts.scheme == "file":
        if not base.lower().startswith("file:") or authority not in ("", "localhost"):
            raise RefusedError(Reason.UNSAFE_URL, "its link leads to a file of this machine")
    elif parts.scheme not in ("http", "https"):
        scheme = printable(parts.scheme, 20)
        raise RefusedError(Reason.UNSAFE_URL, f"its link is {scheme}:, not http: or https:")
    elif "@" in authority:
        raise RefusedError(Reason.UNSAFE_URL, "its link contains credentials")
    elif not _AUTHORITY.fullmatch(authority):
        raise RefusedError(Reason.UNSAFE_URL, "its link has no host, or one that is not ASCII")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((parts.scheme, authority, path, query, ""))


def api_version(
    text: str, *, url: str, project: str = ""
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the version that a page states, and warnings about it.

    A newer minor version only adds something. A newer major version may change the meaning of the
    page, so it raises `ReadError` with API_VERSION.
    """
    found = _API_VERSION.fullmatch(text.strip())
    if found is None:
        message = f"its API version is {printable(text, 40)!r}, not two numbers"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    version = int(found[1]), int(found[2])  # no more than four digits
    if version[0] != NEWEST_API[0]:
        message = (
            f"it is of version {version[0]}.{version[1]} of the simple API; this program reads"
            f" version {NEWEST_API[0]}. Look for a newer pypimirror"
        )
        raise unusable(Reason.API_VERSION, message, url=url, project=project)
    if version > NEWEST_API:
        known = f"{NEWEST_API[0]}.{NEWEST_API[1]}"
        return version, (f"{text.strip()} is a newer API version than {known}",)
    return version, ()


def status_of(stated: str | None, warnings: list[str]) -> ProjectStatus:
    """Return a project's status. An unknown status counts as active, with a warning."""
    if not stated:
        return ProjectStatus.ACTIVE
    try:
        return ProjectStatus(stated.strip().lower())
    except ValueError:
        shown = printable(stated, 40)
        warnings.append(f"the status {shown!r} is unknown; the project counts as active")
        return ProjectStatus.ACTIVE
