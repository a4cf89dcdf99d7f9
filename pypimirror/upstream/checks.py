"""What every form of a project page is checked for, and the collecting of what passes.

Lives here: the rules on links, digests, API versions and duplicate names, the same for JSON and
HTML. Not here: the reading of either, the rules on names (`domain.filenames`), and which hosts are
allowed (`download.http.hosts`).

The rules on one name that a page offers more than once:

* the same digests: one file, kept silently. A claim may also add to the other, as where a page
  links a file with and without its digest: the file must then satisfy both.
  Where it has several links, all are kept: those with a strong digest first, then with a weak
  one, then with none.
* digests that contradict each other: nobody can say which is right, so neither is taken.
* sizes that contradict each other: as digests; where a digest covers both, no size is believed.
* of all else, what the first claim leaves open the later one tells; where they contradict each
  other, the first counts. A mark that a file is yanked counts wherever it stands.
* names that differ only by case or Unicode form: the first stays; some disks cannot hold both.

What a page claims and nobody uses is told in a warning (`Unused`), never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from operator import itemgetter
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import msgspec

from pypimirror.domain.bounded import MAX_SPECIFIER
from pypimirror.domain.filenames import fold, is_variant, printable
from pypimirror.domain.model import (
    ALGORITHMS,
    DETAILS,
    NEWEST_API,
    File,
    Problem,
    ProjectStatus,
    ReadError,
    Reason,
)

#: Problems of one page that are told one by one. The rest is only counted, to save memory.
MAX_PROBLEMS = 1000

#: Names of what a page claims in vain that are told, of each kind.
_MAX_NAMES = 5

#: Links to one file that are kept: more would only be more places to fail at.
MAX_LINKS = 10

# An absolute link that needs no closer look: no credentials, no odd port, nothing to quote.
_CLEAN_URL = re.compile(
    r"https?://[a-z0-9][a-z0-9.-]*+(?::(?:[1-5][0-9]{4}|6[0-4][0-9]{3}|[1-9][0-9]{0,3}))?"
    r"/[A-Za-z0-9._~!$&'()*+,;=:@/%?-]*+"
)
_NOT_IN_URLS = re.compile(r"[\x00-\x1f\x7f\\]")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_CREDENTIALS = re.compile(r"//[^/?#]*@")
_API_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_HEX = re.compile(r"[0-9a-f]*+")
_SHA256 = re.compile(r"[0-9a-f]{64}")

# How Gitea writes the digest in a fragment, and others after the manner of URNs: "sha256-…".
_DASHED = re.compile(r"(\w+)[-:]([0-9a-f]{32,128})", re.I | re.A)
# What a fragment may say besides digests, for pip.
_NO_DIGESTS = frozenset({"egg", "subdirectory"})
#: What may contradict itself in two claims of one file, so that the first is believed.
_FURTHER = (*(name for name in DETAILS if name != "yanked"), "core_metadata", "provenance")


class RefusedError(Exception):
    """One file of a page cannot be used; the others can."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Unused:
    """What a page claims that is not used, by kind: one warning tells of each."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note a claim. `kind` is the beginning of a sentence on all of them."""
        names = self._names.setdefault(kind, {})
        if name in names or len(names) < MAX_PROBLEMS:
            names[name] = names.get(name, 0) + 1

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each kind, without a stop."""
        for kind, names in self._names.items():
            shown = [printable(name, 40) for name in sorted(names)[:_MAX_NAMES]]
            more = [f"and {len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
            yield f"{kind} ({sum(names.values())}): {', '.join([*shown, *more])}"


#: Kinds of what is not used.
UNKNOWN_DIGESTS = "digests of unknown algorithms were left out"
BAD_METADATA = "announcements of core metadata cannot be read and were left out"
UNCHECKED_METADATA = "digests of core metadata are not used, as they are no sha256"
OTHER_METADATA = "two keys announce other core metadata, of which the newer counts"
UNKNOWN_KEYS = "unknown keys were left out"
BAD_TIMES = "upload times are no moments and were left out"
CONTRADICTED = "the page tells two things of one file, of which the first counts"
TWO_SIZES = "the page tells two sizes of one file, of which neither counts"


def unusable(reason: Reason, message: str, *, url: str, project: str = "") -> ReadError:
    """The error that says that a whole page cannot be used. `message` ends without a stop."""
    address = printable(without_credentials(url), 300)
    return ReadError(Problem(reason, f"{address}: {message}.", project=project, url=address))


def without_credentials(url: str) -> str:
    """A URL without user and password: they belong neither into messages nor into links."""
    return _CREDENTIALS.sub("//", url, count=1)


def resolve(link: str, base: str) -> str:
    """The absolute URL of a link on a page at `base`, without its fragment, fit for a request.

    Only http and https, and file on pages that are files themselves. Raises `RefusedError` with
    UNSAFE_URL.
    """
    if _CLEAN_URL.fullmatch(link):
        return link
    # Before urllib, which removes some of these silently.
    if _NOT_IN_URLS.search(link):
        raise RefusedError(Reason.UNSAFE_URL, "its link has control characters or backslashes")
    try:
        parts = urlsplit(urljoin(base, link))
        _ = parts.port  # raises where it is not a number up to 65535
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
        raise RefusedError(Reason.UNSAFE_URL, "its link has credentials in it")
    elif not _AUTHORITY.fullmatch(authority):
        raise RefusedError(Reason.UNSAFE_URL, "its link has no host, or one that is not ASCII")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((parts.scheme, authority, path, query, ""))


def digests_of(claims: Mapping[str, str], unused: Unused | None = None) -> dict[str, str]:
    """The digests of known algorithms, in lower case; unknown algorithms are `unused`.

    Raises `RefusedError` with BAD_DIGEST for a value that is not a digest of its algorithm.
    """
    if len(claims) == 1 and _SHA256.fullmatch(claims.get("sha256", "")):
        return {"sha256": claims["sha256"]}
    digests: dict[str, str] = {}
    for name, value in claims.items():
        algorithm, digest = name.lower(), value.lower()
        # Two names are in use for the 32-byte form: what hashlib calls blake2b is the 64-byte
        # one, but PyPI's upload API and others say "blake2b" of either. The length tells.
        if algorithm == "blake2b" and len(digest) == 2 * ALGORITHMS["blake2b_256"]:
            algorithm = "blake2b_256"
        size = ALGORITHMS.get(algorithm)
        if size is None:
            if unused is not None:
                unused.add(UNKNOWN_DIGESTS, name)
            continue
        if len(digest) != 2 * size or not _HEX.fullmatch(digest):
            raise RefusedError(Reason.BAD_DIGEST, f"its {algorithm} is not one of {size} bytes")
        if digests.setdefault(algorithm, digest) != digest:
            raise RefusedError(Reason.DIGEST_CONFLICT, f"it has two values of {algorithm}")
    return digests


def fragment_digests(fragment: str, unused: Unused | None = None) -> dict[str, str]:
    """The digests in a link's fragment, such as "sha256=…", among whatever else is in it.

    What looks like one in another spelling is one, though pip passes it over.
    """
    if "%" in fragment:
        fragment = unquote(fragment)
    claims: dict[str, str] = {}
    for part in fragment.split("&"):
        name, equals, value = part.partition("=")
        if dashed := _DASHED.fullmatch(part):
            name, equals, value = dashed[1], "=", dashed[2]
        if not equals or name.lower() in _NO_DIGESTS:
            continue
        if claims.setdefault(name, value) != value and digests_of({name: value}):
            raise RefusedError(Reason.DIGEST_CONFLICT, f"its link has two values of {name}")
    return digests_of(claims, unused)


def united(stated: dict[str, str], linked: Mapping[str, str]) -> dict[str, str]:
    """The digests that a page states of a file and those in its link, which must agree."""
    for algorithm, digest in linked.items():
        if stated.get(algorithm, digest) != digest:
            message = f"its {algorithm} is {stated[algorithm]}, and its link says {digest}"
            raise RefusedError(Reason.DIGEST_CONFLICT, message)
    return {**stated, **linked}


def metadata_digests(
    claims: Mapping[str, str], unused: Unused, filename: str
) -> dict[str, str] | None:
    """The digests of core metadata that a page announces; None, and a note, where they are none.

    A wheel is worth more than its announcement: its own core metadata are taken out of it anyhow.
    """
    try:
        digests = digests_of(claims, unused)
    except RefusedError:
        unused.add(BAD_METADATA, filename)
        return None
    if claims and "sha256" not in digests:
        unused.add(UNCHECKED_METADATA, filename)
    return digests


def requires_python(stated: str | None) -> str | None:
    """What a page says of the Pythons that a file needs; None where it says nothing.

    Raises `RefusedError` for text that installers stumble over, with all of the project.
    """
    if stated and len(stated) > MAX_SPECIFIER:
        message = f"its requires-python has {len(stated)} characters"
        raise RefusedError(Reason.BAD_PAGE, message)
    return stated or None


def api_version(
    text: str, *, url: str, project: str = ""
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The version that a page states, and the warnings about it.

    A newer minor version only adds to what is known. A newer major one may change its meaning:
    `ReadError` with API_VERSION.
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
    """A project's status. One that this program does not know is active, with a warning."""
    if not stated:
        return ProjectStatus.ACTIVE
    try:
        return ProjectStatus(stated.strip().lower())
    except ValueError:
        shown = printable(stated, 40)
        warnings.append(f"the status {shown!r} is unknown; the project is taken for active")
        return ProjectStatus.ACTIVE


def rank(digests: Mapping[str, str]) -> int:
    """How well a link is proven that claims these digests: the lower, the better."""
    return next((n for n, name in enumerate(ALGORITHMS) if name in digests), len(ALGORITHMS))


class Collector:
    """The files of one page: those that stay, those refused and why."""

    def __init__(self, project: str, unused: Unused | None = None) -> None:
        self.unused = unused or Unused()
        self._project = project
        self._files: dict[str, File] = {}
        #: Rank and address of the links to files that have several, in the order of the page.
        self._links: dict[str, list[tuple[int, str]]] = {}
        self._by_fold: dict[str, str] = {}
        self._contradicted: set[str] = set()
        self._unsized: set[str] = set()
        self._problems: list[Problem] = []
        self._untold = 0
        #: Names of files that nobody misses and that are not refused: of variants. Not all, where
        #: there are many.
        self.left_out: dict[str, None] = {}

    def add(self, file: File) -> None:
        """Take a file, if its name is still free; what is of a variant is left out."""
        name = file.filename
        if self.leaves_out(name):
            return
        taken = self._by_fold.setdefault(fold(name), name)
        if taken != name:
            other = f"its name differs from {printable(taken)} only by case or Unicode form"
            self.refuse(Reason.DUPLICATE_NAME, other, file=name, url=file.url)
        elif name in self._contradicted:
            return
        elif name not in self._files:
            self._files[name] = file
        else:
            first = self._files[name]
            self._links.setdefault(name, _links_of(first)).extend(_links_of(file))
            self._add_again(first, file)

    def leaves_out(self, name: str) -> bool:
        """Whether a name is that of a file which is left out quietly, whatever is wrong with it."""
        if not is_variant(name):
            return False
        if len(self.left_out) < MAX_PROBLEMS:
            self.left_out.setdefault(printable(name))
        return True

    def _add_again(self, first: File, later: File) -> None:
        name = first.filename
        if fault := _contradiction(first, later):
            message = f"the page offers it twice, with {fault}; neither is taken"
            self.refuse(Reason.DIGEST_CONFLICT, message, file=name, url=first.url)
            self._contradicted.add(name)
            del self._files[name]
            return
        size = later.size if first.size is None and name not in self._unsized else first.size
        if first.size is not None and later.size not in (None, first.size):
            size = None
            self._unsized.add(name)
            self.unused.add(TWO_SIZES, name)
        for field in _FURTHER:
            one, other = getattr(first, field), getattr(later, field)
            if one is not None and other is not None and one != other:
                self.unused.add(CONTRADICTED, f"{field.replace('_', '-')} of {name}")
        told = {field: getattr(first, field) for field in (*_FURTHER, "yanked")}
        told = {f: getattr(later, f) if value is None else value for f, value in told.items()}
        digests = {**first.digests, **later.digests}
        self._files[name] = msgspec.structs.replace(first, digests=digests, size=size, **told)

    def refuse(self, reason: Reason, fault: str, *, file: str = "", url: str = "") -> None:
        """Note that a file was refused. `fault` is a clause on the file, without a stop."""
        shown = printable(file) or "A file without a name"
        address = printable(without_credentials(url), 300)
        problem = Problem(reason, f"{shown}: {fault}.", self._project, printable(file), address)
        self.refuse_for(problem)

    def refuse_for(self, problem: Problem) -> None:
        """Note a problem of one file."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._untold += 1

    @property
    def files(self) -> tuple[File, ...]:
        """The files that stay, in the order of the page."""
        for name, links in self._links.items():
            if name in self._files:
                ranked = dict.fromkeys(url for _, url in sorted(links, key=itemgetter(0)))
                url, *others = list(ranked)[:MAX_LINKS]
                self._files[name] = msgspec.structs.replace(
                    self._files[name], url=url, other_urls=tuple(others)
                )
        return tuple(self._files.values())

    @property
    def is_partial(self) -> bool:
        """Whether files were refused whose names nobody is told."""
        return self._untold > 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One problem for each refused file, up to `MAX_PROBLEMS`, and one for all others."""
        if not self._untold:
            return tuple(self._problems)
        message = f"{self._untold} more files of this page were refused."
        return (*self._problems, Problem(Reason.BAD_PAGE, message, self._project))


def _links_of(file: File) -> list[tuple[int, str]]:
    first = rank(file.digests)
    return [(first, url) for url in (file.url, *file.other_urls)]


def _contradiction(first: File, later: File) -> str:
    """How two claims cannot be about the same bytes; "" where they can."""
    for algorithm, digest in first.digests.items():
        if (other := later.digests.get(algorithm, digest)) != digest:
            return f"{algorithm} {digest} at {first.url} and {other} at {later.url}"
    if first.size is None or later.size in (None, first.size):
        return ""
    if not first.digests.keys().isdisjoint(later.digests):
        return ""  # they are, and one of the sizes is wrong
    return f"{first.size} bytes at {first.url} and {later.size} at {later.url}"
