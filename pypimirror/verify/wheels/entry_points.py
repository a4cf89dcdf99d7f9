"""entry_points.txt of a wheel: could an installer install it? Pure.

pip and uv each read this file in their own way, and refuse a wheel if they cannot. A wheel is
refused here if neither of them installs it (tried with pip 26.3 and uv 0.13.9). It passes if one of
them does, even if the other refuses it or makes different scripts:

* pip ignores all text before the first section, also a byte order mark. It accepts sections and
  options that repeat, and any text after `module:attribute`.
* uv takes lines that begin with `;` for comments, and indented lines for more of a value.

Only groups of scripts matter: installers ignore the others.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from pypimirror.domain.filenames import printable

#: Characters of the longest line that is judged.
_LONGEST = 500
#: Bytes of the longest component of a path.
_NAME = 255

_SCRIPTS = frozenset(("console_scripts", "gui_scripts"))

# How pip's distlib reads a script: it looks at the beginning only.
_PIP_SCRIPT = re.compile(
    r"[^\[]\S*\s*=\s*(?P<reference>\w+(?:[:.]\w+)*)\s*"
    r"(?P<extras>\[\s*[\w-]+(?:=\w+)?(?:,\s*\w+(?:=\w+)?)*\s*\])?"
)
# What uv accepts: the value as a whole, and any spelling of a module.
_UV_SCRIPT = re.compile(r"[\w.-]+\s*:\s*[\w.-]+\s*(?:\[[^\]]*\])?")
_LINES = re.compile(r"\r\n|\r|\n")


def fault(content: bytes) -> str | None:
    """Return why neither pip nor uv installs a wheel with this text, as the end of a sentence."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    if any(len(line) > _LONGEST for line in _LINES.split(text)):
        return None
    found = next(_pip_faults(text), None)
    return found if found and next(_uv_faults(text), None) else None


def _pip_faults(text: str) -> Iterator[str]:
    section = None
    scripts = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section is not None:
            name, equals, value = line.partition("=")
            if not equals:
                yield f"has a line {number} that is neither a section nor an entry"
            elif section in _SCRIPTS:
                scripts[section, name.strip()] = value.strip()
    for (_, name), value in scripts.items():
        spec = f"{name} = {value}"
        found = _PIP_SCRIPT.search(spec)
        has_brackets = "[" in spec or "]" in spec
        is_read = found is not None and found["reference"].count(":") == 1
        if not is_read or (has_brackets and found is not None and not found["extras"]):
            yield f"has a script {printable(name)!r} that leads to no function"
        elif not _is_place(name or " "):
            yield f"has a script {printable(name)!r}, which is no name of a file"


def _uv_faults(text: str) -> Iterator[str]:
    sections: dict[str, dict[str, str]] = {}
    section = option = None
    for line in _LINES.split(text):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        name, equals, value = (part.strip() for part in stripped.partition("="))
        if section is not None and option is not None and line[0].isspace():
            sections[section][option] += f"\n{stripped}"
        elif stripped[0] == "[" and stripped.find("]") > 1:
            section, option = stripped[1:].partition("]")[0], None
            if section in sections:
                yield "has a section twice"
            sections[section] = {}
        elif section is None or not equals or not name or name in sections[section]:
            yield "has a line that is no entry"
        else:
            option = name
            sections[section][name] = value
    for each in _SCRIPTS & sections.keys():
        for name, value in sections[each].items():
            if not _UV_SCRIPT.fullmatch(value) or not _is_place(name):
                yield "has a script that leads nowhere"


def _is_place(name: str) -> bool:
    """Whether a directory of scripts can have a file with this name."""
    path = posixpath.normpath(posixpath.join("/scripts", name))
    fits = all(len(part.encode()) <= _NAME for part in name.split("/"))
    return fits and "\0" not in name and path.startswith("/scripts/")
