"""Installers for Windows: programs with a zip behind them, and Windows Installer packages.

Lives here: what surrounds the contents of what `bdist_wininst` made, and the verdict on what
`bdist_msi` made. Does not live here: zip (`zips`), and the inside of an .msi (`compound`).

An .exe of bdist_wininst is, in this order and with nothing else: a program; a bitmap; settings
that name the project and the version; twelve bytes that give the lengths of these two; a zip.
The program is the same in all of them and has no checksum.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from pypimirror.verify.archives.compound import read_compound
from pypimirror.verify.archives.limits import ArchiveError, Meter
from pypimirror.verify.archives.zip_directory import read_directory
from pypimirror.verify.archives.zips import walk_zip
from pypimirror.verify.identity import Identity
from pypimirror.verify.sdists import NO_IDENTITY

STUB = "the program in front of its zip has no checksum"
_NO_ZIP = "it is an installer of a kind whose contents cannot be read"
_TABLES = "its tables have no checksum, so that changed bytes in them would go unseen"

_TRAILER = struct.Struct("<iii")
_TAGS = range(0x12345679, 0x1234567C)  # of three generations
_WININST = re.compile(rb"[\x79-\x7b]\x56\x34\x12.{8}PK\x03\x04", re.S)
_SETTING = re.compile(r"^(name|version)=(.*?)\r?$", re.M)

#: Bytes behind a program in which the zip of bdist_wininst starts, if there is one.
_MAX_SETTINGS = 4 << 20


def check_exe(stream: BinaryIO, size: int, identity: Identity, meter: Meter) -> list[str]:
    """Read an installer to its end; return what could not be checked."""
    program = _program_end(stream, size)
    stream.seek(program)
    if not _WININST.search(stream.read(_MAX_SETTINGS)):
        return [_NO_ZIP, NO_IDENTITY]
    directory = read_directory(stream, size, meter)
    prefix = directory.entries[0].offset
    unchecked = _settings(stream, program, prefix, identity)
    walk_zip(stream, directory, meter, lambda _: None, prefix=prefix)
    return [*unchecked, STUB]


def _program_end(stream: BinaryIO, size: int) -> int:
    """Where the last section of a program ends, in the file."""
    stream.seek(0)
    start = stream.read(64)
    at = int.from_bytes(start[60:64], "little")
    if len(start) < 64 or at > size:
        raise ArchiveError("is no program for Windows, or truncated")
    stream.seek(at)
    header = stream.read(24)
    if len(header) < 24 or header[:4] != b"PE\0\0":
        raise ArchiveError("is no program for Windows, or truncated")
    sections, optional = struct.unpack("<H12xH", header[6:22])
    stream.seek(at + 24 + optional)
    table = stream.read(40 * sections)
    if not sections or len(table) < 40 * sections:
        raise ArchiveError("is truncated in the header of its program")
    end: int = at + 24 + optional + len(table)
    for length, offset in struct.iter_unpack("<16xLL16x", table):
        if length:
            end = max(end, offset + length)
    if end > size:
        raise ArchiveError("is truncated in its program")
    return end


def _settings(stream: BinaryIO, program: int, prefix: int, identity: Identity) -> list[str]:
    """Read what stands between the program and the zip; return what could not be checked."""
    if prefix - _TRAILER.size < program:
        raise ArchiveError("has a zip that starts within its program")
    stream.seek(prefix - _TRAILER.size)
    tag, length, bitmap = _TRAILER.unpack(stream.read(_TRAILER.size))
    start = prefix - _TRAILER.size - length
    if tag not in _TAGS or min(length, bitmap) < 0 or start - bitmap != program:
        raise ArchiveError("has something unaccounted for between its program and its zip")
    if length > _MAX_SETTINGS:
        raise ArchiveError("has settings of an impossible size")
    stream.seek(start)
    settings = stream.read(length).partition(b"\0")[0].decode("utf-8", "replace")
    found = dict(_SETTING.findall(settings.partition("[Setup]")[0]))
    if found.keys() != {"name", "version"}:
        return [NO_IDENTITY]
    identity.check(found["name"], found["version"], "settings")
    return []


def check_msi(stream: BinaryIO, size: int, identity: Identity, meter: Meter) -> list[str]:
    """Read a Windows Installer package to its end; return what could not be checked."""
    del identity  # it stands in tables whose format is not public
    return [*read_compound(stream, size, meter), _TABLES, NO_IDENTITY]
