"""File names of distributions: are they safe, whose are they, of which version.

Lives here: everything that is decided from a file's name alone. Pure functions on strings.
Does not live here: where a name comes from (`pypimirror.upstream`), paths, and which endings there
are (`formats`).

A name that passes `check_filename` is safe as one component of a path on every file system that
a mirror is likely to meet, and can be told from every other accepted name there. The version
rules are wider than today's standards: indexes still offer what the tools of twenty years made.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from packaging.utils import canonicalize_name
from packaging.version import Version

from pypimirror.domain import bounded
from pypimirror.domain.formats import ENDINGS, format_of
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX
from pypimirror.domain.model import Problem, Reason

#: What may stand beside a file under its name plus this; so no file may be called so.
SIDECARS = (METADATA_SUFFIX, PROVENANCE_SUFFIX)

#: Most bytes of a name in UTF-8: 255 is the limit of common file systems, less the longest sidecar.
MAX_BYTES = 255 - max(map(len, SIDECARS))

# The names of nearly all files: nothing in them that needs a closer look.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*+(?<!\.)")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
# Windows opens the device for these names, whatever follows the first dot.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.I)
# A version right behind the project, without a separator: "six1.0.tar.gz".
_GLUED_VERSION = re.compile(r"v?[0-9]+\.[0-9]", re.I)
# Linux distributions call the package of "six" "python3-six".
_SYSTEM_PREFIX = re.compile(r"python[0-9.]*-", re.I)
# What bdist_dumb, bdist_wininst and bdist_msi write behind the version.
_PLATFORM = re.compile(
    r"[.-](?:aix|any|cygwin|darwin|freebsd|irix|linux|macosx|mingw|netbsd|noarch|openbsd|solaris"
    r"|sunos|src|win(?=32|64|-|dows|$))[A-Za-z0-9._-]*$",
    re.I,
)
_PYTHON_TAG = re.compile(r"[.-]py[0-9](?:\.[0-9]+)?$", re.I)


# Of wheels of variants: the tags of interpreters and platforms, and the label behind them.
_PYTHONS = re.compile(r"[a-z]+[0-9]+(?:_[0-9]+)?(?:\.[a-z]+[0-9]+(?:_[0-9]+)?)*")
_PLATFORMS = re.compile(r"any|win32|[a-z0-9]+_[A-Za-z0-9_.]+")
_LABEL = re.compile(r"[0-9a-z._]{1,16}")


def check_filename(filename: str, project: str) -> Problem | None:
    """What is wrong with a file's name, or None.

    `project` is a `ProjectName`. The name must be decoded: a percent-encoding that is still in
    it is refused, so that no later decoding can change its meaning. Reasons: UNSAFE_NAME where it
    cannot be one component of a path, WRONG_PROJECT where it does not start with the project.
    """
    if _is_usual(filename, project):
        return None  # most names; what follows comes to the same, at four times the cost
    fault = _fault(filename)
    reason = Reason.UNSAFE_NAME
    if fault is None:
        if belongs(filename, project):
            return None
        reason = Reason.WRONG_PROJECT
        fault = f"does not start with the name of the project {project}"
    shown = printable(filename)
    return Problem(reason, f"The file name {shown} {fault}.", project=project, file=shown)


def _is_usual(filename: str, project: str) -> bool:
    """Whether a name is one of the plain many. Compiling a pattern for each project costs more."""
    length = len(project)
    return (
        filename[length : length + 1] == "-"
        and filename[:length].lower().replace("_", "-").replace(".", "-") == project
        and len(filename) <= MAX_BYTES
        and filename.endswith((".whl", ".tar.gz", ".zip"))
        and _PLAIN.fullmatch(filename) is not None
        and not _DEVICE.match(filename)
    )


def _fault(filename: str) -> str | None:
    """Why a name cannot be one component of a path, as the end of a sentence."""
    if not _PLAIN.fullmatch(filename) and (fault := _odd_fault(filename)):
        return fault
    if len(filename) > MAX_BYTES or (not filename.isascii() and len(filename.encode()) > MAX_BYTES):
        return f"is longer than {MAX_BYTES} bytes"
    if _DEVICE.match(filename):
        return "is reserved for a device on Windows"
    if fold(filename).endswith(SIDECARS):
        return "is reserved for what stands beside a file"
    return None


def _odd_fault(filename: str) -> str | None:
    """The faults that a name of plain characters cannot have."""
    if not filename:
        return "is empty"
    if filename[0] in ".-" or filename[0] == " ":
        return "starts with a dot, a dash or a space"
    if filename[-1] in ". ":
        return "ends with a dot or a space, which Windows removes"
    if "/" in filename or "\\" in filename:
        return "has a path separator in it"
    # Also false for surrogates and for marks that turn the direction of the text.
    if not filename.isprintable() or "\ufffd" in filename:
        return "has control, invisible or undecodable characters in it"
    if _ENCODED.search(filename):
        return "is still percent-encoded after decoding it once"
    if not unicodedata.is_normalized("NFC", filename):
        return "is not in Unicode normal form C"
    return None


def belongs(filename: str, project: str) -> bool:
    """Whether a name is that of a file of this project, as far as a name can tell.

    Prefixes are all that old files offer ("zope.interface-4.0.win32-py2.7.exe",
    "foo-bar.zip"), so a file of "foo-bar" also passes for "foo".
    """
    return canonicalize_name(filename).startswith(project + "-") or bool(_rest(filename, project))


def fold(filename: str) -> str:
    """The key under which names collide on file systems that ignore case or Unicode form."""
    if filename.isascii():
        return filename.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", filename).casefold())


def is_distribution(filename: str) -> bool:
    """Whether a name ends like a distribution; for pages where other things are linked as well."""
    return filename.endswith((".whl", ".tar.gz")) or filename.lower().endswith(ENDINGS)


def system_prefix(filename: str) -> int:
    """The length of "python3-" and its like, which Linux distributions put before a project."""
    form = format_of(filename)
    if form is None or form.naming not in ("rpm", "deb"):
        return 0
    found = _SYSTEM_PREFIX.match(filename)
    return found.end() if found else 0


def is_variant(filename: str) -> bool:
    """Whether a file is of a release that has variants (PEP 817 and its successors, drafts).

    A wheel of a variant has one more part than others, its label; `<name>-<version>-variants.json`
    says what the labels mean, and may change its bytes. Tools that do not know them stumble.
    """
    if filename.endswith("-variants.json"):
        return True
    parts = filename[:-4].split("-") if filename.endswith(".whl") else []
    if len(parts) == 7:
        del parts[2]  # a build number
    # An ordinary wheel with a build number has six parts, too, and old ones have odd numbers.
    return len(parts) == 6 and bool(
        _PYTHONS.fullmatch(parts[2])
        and _PLATFORMS.fullmatch(parts[4])
        and _LABEL.fullmatch(parts[5])
    )


def printable(text: str, limit: int = 120) -> str:
    """Foreign text for messages: one line, no control characters, at most `limit` characters."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def version_of(filename: str, project: str) -> Version | None:
    """The version that a file's name states; None where none is stated or it does not parse."""
    text = version_text(filename, project)
    return None if text is None else _version(text)


def version_text(filename: str, project: str) -> str | None:
    """The part of a file's name where the version stands, as written; None where there is none.

    Not every such part is a version: "foo-latest.tar.gz" has "latest".
    """
    if filename.endswith(".whl"):
        name, _, rest = filename[:-4].partition("-")
        if canonicalize_name(name) == project:
            return rest.partition("-")[0] or None
    form = format_of(filename)
    rest = _rest(filename, project)
    rest = rest[: max(0, len(rest) - len(form.ending if form else ""))].lstrip("-_.")
    match form.naming if form else "sdist":
        case "dashes" | "rpm":
            rest = rest.partition("-")[0]
        case "deb":  # name_version-revision_architecture
            rest = rest.partition("_")[0]
            rest = rest.rpartition("-")[0] or rest
        case _:
            rest = _PYTHON_TAG.sub("", _PLATFORM.sub("", rest))
    return rest or None


def _rest(filename: str, project: str) -> str:
    """What follows the project in a file's name; "" where the name is not the project's."""
    found = _prefix(project).match(filename)
    if found is None and (start := system_prefix(filename)):
        found = _prefix(project).match(filename, start)
    if found is None:
        return ""
    rest = filename[found.end() :]
    return rest if rest[:1] in ("-", "_", ".") or _GLUED_VERSION.match(rest) else ""


@lru_cache(maxsize=1024)
def _prefix(project: str) -> re.Pattern[str]:
    """Matches all spellings of a normalised project name."""
    return re.compile("[-_.]+".join(map(re.escape, project.split("-"))), re.I | re.A)


@lru_cache(maxsize=4096)
def _version(text: str) -> Version | None:
    """A version as file names write it: "-" escaped to "_", and "~" of Debian."""
    for candidate in (text, text.replace("_", "-").replace("~", "")):
        if (found := bounded.version(candidate)) is not None:
            return found
    return None
