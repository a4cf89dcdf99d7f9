"""Text files of people, in the encodings that their editors and shells write.

What pip reads is read, in the same way: a byte order mark says which encoding it is, or else a
coding line among the first two; without either it is UTF-8, and where it cannot be, the locale's.
Windows' editors write the mark, `>` of its shell UTF-16.
Source: https://pip.pypa.io/en/stable/reference/requirements-file-format/#encoding
"""

from __future__ import annotations

import codecs
import locale
import re
from pathlib import Path

from pypimirror.system import regular

#: UTF-32's first: that of UTF-16 is how one of them begins.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")


class TextError(ValueError):
    """A file cannot be read as text; the message says why, and what to do, but not which file."""


def read(path: Path) -> str:
    """Read a file as text; raises `TextError`."""
    try:
        return decode(regular.read_written(path))
    except OSError as error:
        raise TextError(f"cannot be read: {error.strerror}") from error


def decode(data: bytes) -> str:
    """Return the text that these bytes are; raises `TextError` where they are none."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding)
    for line in data.split(b"\n", 2)[:2]:
        if line.startswith(b"#") and (found := _CODING.search(line)):
            return _decoded(data, found[1].decode("ascii"))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _decoded(data, locale.getencoding())


def _decoded(data: bytes, encoding: str) -> str:
    try:
        codec = codecs.lookup(encoding)
        if not codec._is_text_encoding:
            raise LookupError
    except LookupError:
        raise TextError(f"its coding line says {encoding!r}, which is no encoding") from None
    try:
        return codec.decode(data)[0]
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        wrong = f"line {line} has the byte 0x{byte:02x}"
        raise TextError(f"{wrong}, which is not {codec.name}; save it as UTF-8") from error
    except UnicodeError as error:
        raise TextError(f"it is not {codec.name}: {error}; save it as UTF-8") from error
