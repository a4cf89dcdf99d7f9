"""`configuration.md`, from the classes of its sections."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docs.generate.tables import NOTICE, table
from pypimirror.config.access import Endpoint, StorageAddress
from pypimirror.config.model import Key, Model
from pypimirror.config.scheduling import OptionalAddress, Patience, Schedule, TimeZone
from pypimirror.config.sections import IndexUrl
from pypimirror.config.selecting import MetadataKeys, Moment
from pypimirror.config.settings import Config
from pypimirror.config.values import SecretStr
from pypimirror.domain.durations import Duration
from pypimirror.domain.sizes import ByteSize, Size

_SIZES = ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most"}

#: Sections, and the keys of each, have the order of the models.
_CONFIGURATION = """\
# Configuration

{notice}

The configuration is one TOML file: the one that `--config` names, else `pypimirror.toml` in the
current directory. `pypimirror init` writes a first one. Every key has a default, so an empty file
is valid: it mirrors all of PyPI.

- An unknown key is an error, and the message names the nearest known key.
- A relative path starts at the directory of the configuration file.
- Variables of the environment win over the file. Lists are written as JSON there:
  `PYPIMIRROR_SELECT__PROJECTS='["six"]'`.
- Each command reads the file when it starts.

```toml
{example}```
"""

_EXAMPLE = """\
[mirror]
directory = "/srv/mirror"

[[upstream]]
name = "pypi"               # no address: PyPI

[[upstream]]
name = "internal"
url = "https://packages.example.org/simple/"

[select]
projects = ["six", "requests>=2.30", "zope.*", "-r requirements.txt"]
exclude = ["zope.testing"]
python = ["3.11", "3.14"]
platforms = ["manylinux_2_28_x86_64", "macosx_14_0_arm64", "any"]
older_than = "3d"           # younger files wait

[[select.rules]]
projects = ["nightly-*"]
latest = 5
prereleases = true

[download]
connections = 16
contact = "mirror-admin@example.org"
"""


def configuration() -> str:
    """Return `configuration.md`."""
    parts = [_CONFIGURATION.format(notice=NOTICE, example=_EXAMPLE)]
    for names, model, is_list, own in sections(Config):
        name = ".".join(names)
        title = f"[[{name}]]" if is_list else f"[{name}]"
        parts.append(f"## `{title}`\n\n{inspect.cleandoc(model.__doc__ or '')}\n")
        if is_list:
            parts.append(
                f"In the environment: all of them at once, as a JSON list, in "
                f"`{_environment(*names)}`.\n"
            )
        parts.append(_keys_table(name, model, own, is_list=is_list))
    return "\n".join(parts)


def sections(
    model: type[Model], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Model], bool, list[str]]]:
    """Yield the names of each section, its model, whether there may be several, and its keys.

    A key that the section above has as well is told there.
    """
    for name, field in model.model_fields.items():
        inner, is_list = _section(field)
        if inner is not None:
            keys = {key for key, field in inner.model_fields.items() if not _section(field)[0]}
            told = set(model.model_fields) - set(inner.__annotations__)
            own = [key for key in inner.model_fields if key in keys - told]
            own.sort(key=lambda key: key not in inner.__annotations__)  # what it inherits, last
            yield (*above, name), inner, is_list, own
            yield from sections(inner, (*above, name))


def _section(field: Key) -> tuple[type[Model] | None, bool]:
    """Return the model of a section, if a field is one, and whether there may be several."""
    is_list = get_origin(field.annotation) is tuple
    model = get_args(field.annotation)[0] if is_list else field.annotation
    is_model = isinstance(model, type) and issubclass(model, Model)
    return model if is_model else None, is_list


def _keys_table(section: str, model: type[Model], keys: Iterable[str], *, is_list: bool) -> str:
    hints = get_type_hints(model, include_extras=True)
    rows = []
    for key in keys:
        field = model.model_fields[key]
        row = [f"`{key}`", _kind(hints[key], field), _default(field), field.description or ""]
        if not is_list:
            row.append(f"`{_environment(section, key)}`")
        rows.append(row)
    head = ["key", "type", "default", "meaning"]
    return table(head if is_list else [*head, "environment"], rows)


def _environment(*names: str) -> str:
    return "PYPIMIRROR_" + "__".join(names).upper()


def _kind(hint: Any, field: Key) -> str:
    """Say in words what a value may be."""
    if get_origin(hint) is tuple:
        return f"list of {_kind(get_args(hint)[0], field)}"
    if hint is MetadataKeys:
        return "table of lists of text"
    if get_origin(hint) is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in get_args(hint))
    if get_origin(hint) is UnionType or get_origin(hint) is Union:
        return _kind(get_args(hint)[0], field)
    named = {
        IndexUrl: "http, https or file address",
        StorageAddress: "`directory` or address of a bucket",
        Endpoint: "http or https address",
        Duration: 'duration: number and `s`, `m`, `h`, `d` or `w`, as in `"24h"`',
        Moment: "date, or date and time",
        Size: 'size, as in `"5 GiB"`',
        Patience: "duration",
        Schedule: "cron fields, or duration",
        TimeZone: "name of a time zone",
        OptionalAddress: "http or https address",
        bool: "`true` or `false`",
        Path: "path",
        SecretStr: "text",
        int: "whole number",
        float: "number",
        str: "text",
    }
    bounds = [
        f"{words} {field.bounds[name]}"
        for name, words in _BOUNDS.items()
        if field.bounds[name] is not None
    ]
    return ", ".join([named[hint], *bounds])


def _default(field: Key) -> str:
    if field.is_required or field.default is None:
        return ""
    return f"`{_toml(field.default)}`"


def _toml(value: object) -> str:
    match value:
        case SecretStr():
            return json.dumps(value.get_secret_value())
        case bool() | str() | Path():
            return json.dumps(value if isinstance(value, bool) else str(value))
        case ByteSize():
            unit, factor = next(entry for entry in _SIZES if value % entry[1] == 0)
            return json.dumps(f"{value // factor} {unit}")
        case timedelta():
            hours = value.total_seconds() / 3600
            days = hours / 24
            if hours < 1:
                return json.dumps(f"{hours * 60:g}m")
            return json.dumps(f"{days:g}d" if days.is_integer() and days > 1 else f"{hours:g}h")
        case dict() if not value:
            return "{}"
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
    return str(value)
