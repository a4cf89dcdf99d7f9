"""Writes what the code knows best into the documentation: `make docs`.

Whole files: `configuration.md` from the pydantic models, `commands.md` from the typer app. In
other files, the tables between `<!-- generated: NAME -->` and `<!-- end -->`. With `--check`
nothing is written, and the exit code is 1 where a file is not what it should be.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from pypimirror.bandersnatch.filters import PATHS
from pypimirror.bandersnatch.translate import OPTIONS
from pypimirror.catalog.states import MOVES, State
from pypimirror.cli.errors import Exit
from pypimirror.cli.main import app
from pypimirror.config import Config
from pypimirror.durations import Duration
from pypimirror.model import Reason, Stage
from pypimirror.sections import IndexUrl
from pypimirror.select.keys import MetadataKeys, Moment
from pypimirror.stages.summary import COUNTS
from pypimirror.up.keys import OptionalAddress, Patience, Schedule, TimeZone

DOCS = Path(__file__).resolve().parent

_NOTICE = "<!-- Written by docs/generate.py from the code; change it there, then `make docs`. -->"
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMENT = re.compile(r"^ +(\w+) = .*?#: (.+)$", re.MULTILINE)
_SIZES = ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

#: The order in which a section's keys come is that of the models; so is the sections'.
_CONFIGURATION = """\
# Configuration

{notice}

The configuration is one TOML file: the one that `--config` names, else `pypimirror.toml` in the
current directory. `pypimirror init` writes one to begin with. Every key has a default, so an
empty file is a valid one: it mirrors all of PyPI.

- A key that is not listed here is an error, which names the nearest key that is.
- A relative path is relative to the configuration file.
- The environment wins over the file. Values that are lists are written as JSON there:
  `PYPIMIRROR_SELECT__PROJECTS='["six"]'`.
- Each command reads it anew.

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
older_than = "3d"           # what is younger waits

[[select.rules]]
projects = ["nightly-*"]
latest = 5
prereleases = true

[download]
connections = 16
contact = "mirror-admin@example.org"
"""

_COMMANDS = """\
# Commands

{notice}

Every command takes these options:

{common}
- `--json` prints one JSON document on standard output, and nothing else goes there; logs and
  progress are on standard error. An error before there is a result is
  `{{"error": {{"exit": 2, "message": "…"}}}}`.
- Progress bars are shown on a terminal only.
- `-v` and `-q` are about the log; they change no result.

## Exit codes

{exits}
A run that was stopped ends with 3, whatever else failed before it was stopped. A fault of
pypimirror itself ends with 3 as well, and with a traceback on standard error.

## What `sync --json` prints

```json
{{
  "run": "20260101-031700-2f6c",
  "state": "completed",
  "counts": {{
{counts}
  }},
  "seconds": 1.2,
  "failures": [
    {{"project": "six", "file": "six-1.16.0.tar.gz", "stage": "download",
     "reason": "timeout", "message": "..."}}
  ]
}}
```

`state` is `completed` (exit code 0), `incomplete` (1), `failed` (3) or `cancelled` (130).
`stage` is one of {stages}. `reason` is one of the list in
[operations.md](operations.md#reasons).

## What `sync --dry-run --json` prints

A plan, which `sync --plan FILE` carries out exactly, or not at all:

```json
{{
  "version": 1,
  "projects": [],
  "fetch": [
    {{"project": "six", "file": "six-1.17.0.tar.gz", "size": 34031, "reason": "wanted",
     "sha256": "ff70..."}}
  ],
  "publish": ["six"],
  "withdraw": [],
  "remove": [],
  "bytes": 34031,
  "bytes_removed": 0,
  "failures": []
}}
```

`version` changes when a reader could trip over a change. `projects` are those that the plan is
limited to; empty: all that are selected. `fetch` is what would be downloaded, `bytes` in all;
`publish` the projects whose pages would be rendered; `withdraw` the files that leave pages, and
`remove` those whose bytes go, `bytes_removed` in all. `reason` is `wanted`, `failed` or
`quarantined` (by an earlier run) of what is fetched, and `upstream`, `selection` or `quarantine` of
what goes. `size` and `sha256` are null where nobody says. `failures` are as above.
"""


def configuration() -> str:
    """Return `configuration.md`."""
    parts = [_CONFIGURATION.format(notice=_NOTICE, example=_EXAMPLE)]
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
    model: type[BaseModel], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel], bool, list[str]]]:
    """Yield the names of each section, its model, whether there may be several, and its keys.

    A key that the section above has as well is told there.
    """
    for name, field in model.model_fields.items():
        inner, is_list = _section(field)
        if inner is not None:
            keys = {key for key, field in inner.model_fields.items() if not _section(field)[0]}
            told = set(model.model_fields) - set(inner.__annotations__)
            own = [key for key in inner.model_fields if key in keys - told]
            yield (*above, name), inner, is_list, own
            yield from sections(inner, (*above, name))


def _section(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """Return the model of a section, if a field is one, and whether there may be several."""
    is_list = get_origin(field.annotation) is tuple
    model = get_args(field.annotation)[0] if is_list else field.annotation
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    return model if is_model else None, is_list


def _keys_table(section: str, model: type[BaseModel], keys: Iterable[str], *, is_list: bool) -> str:
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


def _kind(hint: Any, field: FieldInfo) -> str:
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
        Duration: 'duration: number and `s`, `m`, `h`, `d` or `w`, as in `"24h"`',
        Moment: "date, or date and time",
        ByteSize: 'size, as in `"5 GiB"`',
        Patience: "duration",
        Schedule: "cron fields, or duration",
        TimeZone: "name of a time zone",
        OptionalAddress: "http or https address",
        bool: "`true` or `false`",
        Path: "path",
        int: "whole number",
        float: "number",
        str: "text",
    }
    bounds = [
        f"{words} {getattr(item, name)}"
        for item in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(item, name, None) is not None
    ]
    return ", ".join([named[hint], *bounds])


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default is None:
        return ""
    return f"`{_toml(field.get_default(call_default_factory=True))}`"


def _toml(value: object) -> str:
    match value:
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


def commands() -> str:
    """Return `commands.md`."""
    found = list(walk())
    common = frozenset.intersection(*(frozenset(p.name for p in ps) for _, _, ps in found))
    options = [_parameter(p) for p in found[0][2] if p.name in common]
    head = {"notice": _NOTICE, "common": table(["option", "meaning"], options)}
    counts = COUNTS["sync"] if isinstance(COUNTS, dict) else COUNTS
    head["counts"] = ",\n".join(f'    "{name}": 0' for name in counts)
    head["stages"] = ", ".join(f"`{stage.value}`" for stage in Stage)
    parts = [_COMMANDS.format(**head, exits=exit_codes())]
    for path, command, parameters in found:
        parts.append(f"## `{path}`\n\n{inspect.cleandoc(command.help)}\n")
        parts.append(f"```text\n{_usage(path, parameters)}\n```\n")
        rows = [_parameter(p) for p in parameters if p.name not in common]
        if rows:
            parts.append(table(["argument or option", "meaning"], rows))
        if examples := _examples(command.epilog):
            parts.append("```sh\n" + "\n".join(examples) + "\n```\n")
    return "\n".join(parts)


def walk() -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield each command that does something: how it is called, itself, its parameters."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        yield from _walk(command, f"pypimirror {name}")


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any, list[Any]]]:
    if command.callback is not None:
        yield path, command, [p for p in command.params if p.name != "help"]
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, f"{path} {name}")


# Not typer's own words for these: they change with its version.
def _usage(path: str, parameters: Iterable[Any]) -> str:
    arguments = [_argument(p) for p in parameters if p.param_type_name == "argument"]
    return " ".join([path, "[OPTIONS]", *arguments])


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _parameter(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [f"`{_argument(parameter)}`", parameter.help or ""]
    names = ", ".join(parameter.opts)
    if parameter.secondary_opts:
        names += " / " + ", ".join(parameter.secondary_opts)
    if parameter.is_flag or parameter.count:
        return [f"`{names}`", parameter.help]
    value = parameter.metavar or parameter.name.upper()
    default = "" if parameter.default is None else f" Default: `{parameter.default}`."
    return [f"`{names} {value}`", f"{parameter.help}{default}"]


def _examples(epilog: str | None) -> list[str]:
    _, _, text = (epilog or "").partition(": ")
    return [example.strip() for example in text.split(";") if example.strip()]


def exit_codes() -> str:
    """Return the table of exit codes."""
    said = comments(Exit)
    rows = [[f"{code.value}", said.get(code.name, code.name.lower())] for code in Exit]
    return table(["code", "meaning"], rows)


def moves() -> str:
    """Return the table of a file's states and the moves between them."""
    said = comments(State)
    rows = [
        [
            f"`{state.label}`",
            said[state.name],
            ", ".join(f"`{target.label}`" for target in sorted(MOVES[state])),
        ]
        for state in State
    ]
    return table(["state", "meaning", "may become"], rows)


def reasons() -> str:
    """Return the table of reasons."""
    said = comments(Reason)
    rows = [[f"`{r.value}`", said.get(r.name, r.value.replace("-", " "))] for r in Reason]
    return table(["reason", "meaning"], rows)


def bandersnatch() -> str:
    """Return the table of bandersnatch's options."""
    rows = [
        [f"`[{o.section}] {o.name}`", f"{'' if o.take else f'{o.outcome}: '}{o.meaning}"]
        for o in OPTIONS
    ]
    paths = [[f"`[{section}]` paths", meaning] for section, (_, meaning) in PATHS.items()]
    return table(["option of bandersnatch", "becomes"], [*rows, *paths])


def comments(enum: type[Enum]) -> dict[str, str]:
    """Return what stands behind `#:` beside each member of an enum, by name."""
    return dict(_COMMENT.findall(inspect.getsource(enum)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n"
                   for line in lines)  # fmt: skip


FILES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "commands.md": commands}
BLOCKS: dict[str, Callable[[], str]] = {
    "moves": moves,
    "reasons": reasons,
    "exit-codes": exit_codes,
    "bandersnatch": bandersnatch,
}


def fill(text: str) -> str:
    """Return `text` with its generated tables as they should be."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]()}\n{match[3]}", text)


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield each file that holds something generated, with what it should say."""
    for name, write in FILES.items():
        yield DOCS / name, write()
    for path in sorted(DOCS.glob("*.md")):
        if path.name not in FILES and "<!-- generated:" in (text := path.read_text("utf-8")):
            yield path, fill(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them; the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated documentation.")
    parser.add_argument("--check", action="store_true", help="only say what is not current")
    check = parser.parse_args(arguments).check
    stale = 0
    for path, text in wanted():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{path.name} is not current; run `make docs`", file=sys.stderr)
        else:
            path.write_text(text, "utf-8")
            print(f"Wrote {path.name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
