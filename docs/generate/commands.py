"""`commands.md`, from the typer app."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from docs.generate.tables import NOTICE, exit_codes, table
from pypimirror.cli.commands import app
from pypimirror.domain.model import Stage
from pypimirror.pipeline.summary import COUNTS

_COMMANDS = """\
# Commands

{notice}

Every command takes these options:

{common}
- `--json` prints one JSON document on standard output, and nothing else goes there; logs and
  progress are on standard error. An error before there is a result is
  `{{"error": {{"exit": 2, "message": "…"}}}}`.
- [schemas/](schemas/) has a JSON Schema of each document, made from the code: later versions may
  add keys, and change the meaning of none. Times are in seconds since the epoch, and, with
  `_iso` behind the name, in ISO 8601: `"ended_at": 1767237423.5, "ended_at_iso":
  "2026-01-01T03:17:03.500Z"`.
- Progress bars are shown on a terminal only.
- `-v` and `-q` are about the log; they change no result.

## Exit codes

{exits}
A run that was stopped ends with 3, whatever else failed before it was stopped. A fault of
pypimirror itself ends with 3 as well, and with a traceback on standard error.

What cannot be written to standard output is lost, and ends no work. `sync`, `verify` and the other
commands that do something end as their work did; a command that only answers, and any with
`--json`, ends with 3 where its answer is lost on a full disk. A closed stream, and a reader that
goes (`runs | head`), are no failures. In a locale that is not UTF-8, letters that it lacks are
written as `\\u0142`, and names of files are UTF-8 on disk all the same.

## What `sync --json` prints

```json
{{
  "run": "20260101-031700-2f6c1b",
  "state": "completed",
  "counts": {{
{counts}
  }},
  "seconds": 1.2,
  "failures": [
    {{"project": "six", "file": "six-1.16.0.tar.gz", "stage": "download",
     "reason": "timeout", "message": "..."}}
  ],
  "denied": []
}}
```

`state` is `completed` (exit code 0), `incomplete` (1), `failed` (3) or `cancelled` (130). A run
that the configuration ends is `failed` with the reason `configuration`, and its exit code is 2.
`denied` has what a policy of the upstream keeps back, told as failures are.
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
  "link": [],
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
`publish` the projects whose pages would be rendered, and `link` what those lead to at the upstream,
which is never fetched; `withdraw` the files that leave pages, or whose pages lead elsewhere now,
and `remove` those whose bytes go, `bytes_removed` in all. `reason` is `wanted`, `failed` or
`quarantined` (by an earlier run) of what is fetched, `upstream`, `claims`, `selection` or
`quarantine` of what goes, and `metadata-only` of what is linked, and of what goes because of that.
`size` and `sha256` are null where nobody says. `failures` are as above.
"""


def commands() -> str:
    """Return `commands.md`."""
    found = list(walk())
    common = frozenset.intersection(*(frozenset(p.name for p in ps) for _, _, ps in found))
    options = [_parameter(p) for p in found[0][2] if p.name in common]
    head = {"notice": NOTICE, "common": table(["option", "meaning"], options)}
    head["counts"] = ",\n".join(f'    "{name}": 0' for name in COUNTS["sync"])
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
