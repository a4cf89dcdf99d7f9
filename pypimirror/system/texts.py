"""Text files of people, in the encodings that editors and shells write.

They are decoded in the same way as in pip. A byte order mark gives the encoding, or else a coding
line among the first two lines. Without either it is UTF-8, or the locale's encoding if it is not
valid UTF-8. Windows editors write the mark, and `>` of the Windows shell writes UTF-16. Source:
https://pip.pypa.io/en/stable/reference/requirements-file-format/#encoding
"""

from __future__ import annotations

import codecs
import locale
import re
from pathlib import Path

from pypimirror.system import regular

#: The marks of UTF-32 come first, because one of them begins with a mark of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")


class TextError(ValueError):
    """A file cannot be read as text. The message has the cause and the next step, not the file
    name.
    """


def read(path: Path) -> str:
    """Read a text file. Raises `TextError`."""
    try:
        return decode(regular.read_written(path))
    except OSError as error:
        raise TextError(f"cannot be read: {error.strerror}") from error


def decode(data: bytes) -> str:
    """Decode the bytes of a text file. Raises `TextError`."""
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
        raise TextError(f"its coding line says {encoding!r}, which is not an encoding") from None
    try:
        return codec.decode(data)[0]
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        wrong = f"line {line} has the byte 0x{byte:02x}"
        raise TextError(f"{wrong}, which is not {codec.name}; save it as UTF-8") from error
    except UnicodeError as error:
        raise TextError(f"it is not {codec.name}: {error}; save it as UTF-8") from error
