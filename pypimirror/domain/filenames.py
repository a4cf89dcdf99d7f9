"""File names of distributions: whether they are safe, and their project and version.

Everything that is decided from a file's name alone is here, as pure functions on strings. Not here:
the source of a name (`pypimirror.upstream`), paths, and the list of endings (`formats`).

A name that passes `check_filename` is safe as one component of a path on every common file system,
and is different from every other accepted name there. The rules on versions are wider than today's
standards, because indexes still offer files from the tools of twenty years.
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

#: Suffixes of files beside a distribution. No distribution may have such a name.
SIDECARS = (METADATA_SUFFIX, PROVENANCE_SUFFIX)

#: Most bytes of a name in UTF-8: the limit of common file systems, 255, minus the longest sidecar.
MAX_BYTES = 255 - max(map(len, SIDECARS))

# Nearly all file names match this and need no further check.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*+(?<!\.)")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
# Windows opens the device for these names, whatever follows the first dot.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.I)
# A version directly after the project, without a separator: "six1.0.tar.gz".
_GLUED_VERSION = re.compile(r"v?[0-9]+\.[0-9]", re.I)
# In Linux distributions, the package of "six" is "python3-six".
_SYSTEM_PREFIX = re.compile(r"python[0-9.]*-", re.I)
# The platform that bdist_dumb, bdist_wininst and bdist_msi write after the version.
_PLATFORM = re.compile(
    r"[.-](?:aix|any|cygwin|darwin|freebsd|irix|linux|macosx|mingw|netbsd|noarch|openbsd|solaris"
    r"|sunos|src|win(?=32|64|-|dows|$))[A-Za-z0-9._-]*$",
    re.I,
)
_PYTHON_TAG = re.compile(r"[.-]py[0-9](?:\.[0-9]+)?$", re.I)
#: Versions of most sdists, as they are written.
_USUAL_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc|\.dev|\.post)[0-9]+)?")


# Parts of the names of variant wheels: interpreter tags, platform tags, and the label after them.
_PYTHONS = re.compile(r"[a-z]+[0-9]+(?:_[0-9]+)?(?:\.[a-z]+[0-9]+(?:_[0-9]+)?)*")
_PLATFORMS = re.compile(r"any|win32|[a-z0-9]+_[A-Za-z0-9_.]+")
_LABEL = re.compile(r"[0-9a-z._]{1,16}")


def check_filename(filename: str, project: str) -> Problem | None:
    """Return what is wrong with a file's name, or None.

    `project` is a `ProjectName`. The name must be decoded: if it still has a percent-encoding it is
    refused, so that no later decoding can change its meaning. The reason is UNSAFE_NAME if it
    cannot be one component of a path, and WRONG_PROJECT if it does not start with the project.
    """
    if _is_usual(filename, project):
        return None  # most names; the code below has the same result, but takes four times longer
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
    """Whether a name is a common plain one. Compiling a pattern for each project would be
    slower.
    """
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
    """Return why a name cannot be one component of a path, as the end of a sentence."""
    if not _PLAIN.fullmatch(filename) and (fault := _odd_fault(filename)):
        return fault
    if len(filename) > MAX_BYTES or (not filename.isascii() and len(filename.encode()) > MAX_BYTES):
        return f"is longer than {MAX_BYTES} bytes"
    if _DEVICE.match(filename):
        return "is reserved for a device on Windows"
    if fold(filename).endswith(SIDECARS):
        return "is reserved for files beside a distribution"
    return None


def _odd_fault(filename: str) -> str | None:
    """Return the faults that a name of plain characters cannot have."""
    if not filename:
        return "is empty"
    if filename[0] in ".-" or filename[0] == " ":
        return "starts with a dot, a dash or a space"
    if filename[-1] in ". ":
        return "ends with a dot or a space, which Windows removes"
    if "/" in filename or "\\" in filename:
        return "contains a path separator"
    # This is also false for surrogates and for marks that change the direction of text.
    if not filename.isprintable() or "\ufffd" in filename:
        return "contains control, invisible or undecodable characters"
    if _ENCODED.search(filename):
        return "is still percent-encoded after decoding it once"
    if not unicodedata.is_normalized("NFC", filename):
        return "is not in Unicode normal form C"
    return None


def belongs(filename: str, project: str) -> bool:
    """Whether a file may belong to this project, as far as its name can tell.

    Old files only offer a prefix ("zope.interface-4.0.win32-py2.7.exe", "foo-bar.zip"), so a file
    of "foo-bar" also passes for "foo".
    """
    return canonicalize_name(filename).startswith(project + "-") or bool(_rest(filename, project))


def fold(filename: str) -> str:
    """Return the key that names share if they collide on file systems that ignore case or Unicode
    form.
    """
    if filename.isascii():
        return filename.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", filename).casefold())


def is_distribution(filename: str) -> bool:
    """Whether a name ends like a distribution. For pages that also link to other things."""
    return filename.endswith((".whl", ".tar.gz")) or filename.lower().endswith(ENDINGS)


def system_prefix(filename: str) -> int:
    """Return the length of a prefix such as "python3-" that Linux distributions add to a
    project.
    """
    form = format_of(filename)
    if form is None or form.naming not in ("rpm", "deb"):
        return 0
    found = _SYSTEM_PREFIX.match(filename)
    return found.end() if found else 0


def is_variant(filename: str) -> bool:
    """Whether a file belongs to a release with variants (PEP 817 and its successors, drafts).

    A variant wheel has one more part than other wheels, its label. `<name>-<version>-variants.json`
    explains the labels, and its bytes may change. Tools that do not know these files fail on them.
    """
    if filename.endswith("-variants.json"):
        return True
    if filename.count("-") < 5:  # most files
        return False
    parts = filename[:-4].split("-") if filename.endswith(".whl") else []
    if len(parts) == 7:
        del parts[2]  # a build number
    # An ordinary wheel with a build number also has six parts, and old ones have odd numbers.
    return len(parts) == 6 and bool(
        _PYTHONS.fullmatch(parts[2])
        and _PLATFORMS.fullmatch(parts[4])
        and _LABEL.fullmatch(parts[5])
    )


def printable(text: str, limit: int = 120) -> str:
    """Return foreign text for messages: one line, no control characters, at most `limit`
    characters.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def version_of(filename: str, project: str) -> Version | None:
    """Return the version in a file's name; None if there is none or it is not valid."""
    text = version_text(filename, project)
    return None if text is None else _version(text)


def version_text(filename: str, project: str) -> str | None:
    """Return the part of a file's name where the version is, as written; None if there is none.

    Not every such part is a version: "foo-latest.tar.gz" has "latest".
    """
    length = len(project)
    spelt = filename[:length].lower().replace("_", "-").replace(".", "-")
    if spelt == project and filename[length : length + 1] == "-":  # most names
        rest = filename[length + 1 :]
        if rest.endswith(".whl"):
            return rest[:-4].partition("-")[0] or None
        if rest.endswith(".tar.gz") and _USUAL_VERSION.fullmatch(rest, 0, len(rest) - 7):
            return rest[:-7]
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
    """Return what follows the project in a file's name; "" if the name is not the project's."""
    found = _prefix(project).match(filename)
    if found is None and (start := system_prefix(filename)):
        found = _prefix(project).match(filename, start)
    if found is None:
        return ""
    rest = filename[found.end() :]
    return rest if rest[:1] in ("-", "_", ".") or _GLUED_VERSION.match(rest) else ""


@lru_cache(maxsize=1024)
def _prefix(project: str) -> re.Pattern[str]:
    """Return a pattern for all spellings of a normalised project name."""
    return re.compile("[-_.]+".join(map(re.escape, project.split("-"))), re.I | re.A)


@lru_cache(maxsize=4096)
def _version(text: str) -> Version | None:
    """Parse a version as file names have it: with "_" for "-", and Debian's "~"."""
    for candidate in (text, text.replace("_", "-").replace("~", "")):
        if (found := bounded.version(candidate)) is not None:
            return found
    return None
