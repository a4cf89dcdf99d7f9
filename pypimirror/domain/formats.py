"""Formats of distributions: the only table of the kinds of files that indexes offer.

File names, selection, pages, the web server and verification all use it. The readers are not here:
`pypimirror/verify/structure.py` finds the reader of a container, and `KINDS` in
`pypimirror/verify/archives/streams.py` has the reader of a compression.

To add a format, add a line to `FORMATS` here. If its container or compression is new, add the
reader there; without a reader, the format is known but cannot be checked. CONTRIBUTING.md has the
full recipe.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: The type of a file for the selection: the words of `[select] types`.
FileType = Literal["wheel", "sdist", "other"]

#: The container of a file, without its compression. "opaque": this program cannot read it.
Container = Literal["wheel", "egg", "zip", "tar", "opaque"]

#: The form of a file's name.
#: "sdist": NAME-VERSION, maybe with a platform or a Python, which old tools wrote in many ways.
#: "dashes": NAME-VERSION-MORE, with no dash in any part.
#: "rpm": NAME-VERSION-RELEASE, "deb": NAME_VERSION-REVISION; both may put "python3-" in front.
Naming = Literal["sdist", "dashes", "rpm", "deb"]


class Compression(Struct, frozen=True):
    """A way to compress a whole file."""

    name: str
    media_type: str
    starts: tuple[bytes, ...] = ()  #: possible first bytes of a stream; empty: unknown


# Skippable frames of zstd start with one of sixteen numbers.
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i, 0x2A, 0x4D, 0x18]) for i in range(16)))

NONE = Compression("none", "application/x-tar")
GZIP = Compression("gzip", "application/gzip", (b"\x1f\x8b",))
BZIP2 = Compression("bzip2", "application/x-bzip2", (b"BZh",))
XZ = Compression("xz", "application/x-xz", (b"\xfd7zXZ\x00",))
ZSTD = Compression("zstd", "application/zstd", _ZSTD)
LZMA = Compression("lzma", "application/x-lzma")
LZIP = Compression("lzip", "application/x-lzip", (b"LZIP",))
COMPRESS = Compression("compress", "application/x-compress", (b"\x1f\x9d",))
#: The ending .tlz was used for lzip and for lzma.
LZIP_OR_LZMA = Compression("lzip or lzma", "application/octet-stream")

_ZIP = (b"PK\3\4", b"PK\5\6")
_MEDIA_TYPES = dict.fromkeys(("wheel", "egg", "zip"), "application/zip")


class Format(Struct, frozen=True):
    """One kind of file, known by the ending of its name. The defaults are those of a tar sdist."""

    ending: str  #: lower case, of one or two parts; no ending ends with another
    compression: Compression = NONE
    container: Container = "tar"
    starts: tuple[bytes, ...] = ()  #: possible first bytes of an uncompressed file, if known
    type: FileType = "sdist"
    packagetype: str = "sdist"  #: as in PyPI's JSON
    naming: Naming = "sdist"

    @property
    def media_type(self) -> str:
        """The content type that a web server sends."""
        if self.container == "tar":
            return self.compression.media_type
        return _MEDIA_TYPES.get(self.container, "application/octet-stream")

    @property
    def magics(self) -> tuple[bytes, ...]:
        """The possible first bytes of a file; empty if they are unknown."""
        return self.compression.starts or self.starts


def _system(ending: str, packagetype: str, naming: Naming, *starts: bytes) -> Format:
    """Return the format of an installer or a package of an operating system."""
    return Format(ending, NONE, "opaque", starts, "other", packagetype, naming)


#: The most frequent comes first. With a platform before its ending, an sdist may be a dumb binary.
#: These are rare and cannot be recognised with certainty.
FORMATS = (
    Format(".tar.gz", GZIP),
    Format(".zip", NONE, "zip", _ZIP),
    Format(".tgz", GZIP),
    Format(".tar.bz2", BZIP2),
    Format(".tbz2", BZIP2),
    Format(".tbz", BZIP2),
    Format(".tar.xz", XZ),
    Format(".txz", XZ),
    Format(".tar.zst", ZSTD),
    Format(".tar.lzma", LZMA),
    Format(".tar.lz", LZIP),
    Format(".tlz", LZIP_OR_LZMA),
    Format(".tar.z", COMPRESS),
    Format(".tar"),
    Format(".whl", NONE, "wheel", _ZIP, "wheel", "bdist_wheel", "dashes"),
    # An egg may be a script followed by a zip.
    Format(".egg", NONE, "egg", (*_ZIP, b"#!"), "other", "bdist_egg", "dashes"),
    _system(".exe", "bdist_wininst", "sdist", b"MZ"),
    _system(".msi", "bdist_msi", "sdist", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _system(".rpm", "bdist_rpm", "rpm", b"\xed\xab\xee\xdb"),
    _system(".deb", "bdist_dumb", "deb", b"!<arch>\n"),
    _system(".dmg", "bdist_dmg", "sdist"),
)

_BY_ENDING = {each.ending: each for each in FORMATS}

#: Endings of all formats, and of sdists. All lower case.
ENDINGS = tuple(_BY_ENDING)
SDIST_ENDINGS = tuple(each.ending for each in FORMATS if each.type == "sdist")


def format_of(filename: str) -> Format | None:
    """Return the format of a file by the ending of its name, in any case."""
    lower = filename.lower()
    end = lower.rfind(".")
    before = lower.rfind(".", 0, max(end, 0))
    for at in (end, before):
        if at >= 0 and (found := _BY_ENDING.get(lower[at:])):
            return found
    return None
