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
- `--json` prints one JSON document on standard output, and nothing else. Logs and progress go to
  standard error. If a command fails before it has a result, the document is
  `{{"error": {{"exit": 2, "message": "…"}}}}`.
- [schemas/](schemas/) has a JSON Schema of each document, made from the code. Later versions may
  add keys, but do not change the meaning of a key. Times are in seconds since the epoch. Keys that
  end in `_iso` have the same time in ISO 8601: `"ended_at": 1767237423.5, "ended_at_iso":
  "2026-01-01T03:17:03.500Z"`.
- Progress bars are shown only on a terminal.
- `-v` and `-q` change the log, and no result.

## Exit codes

{exits}
If an error stops a run, it ends with 3, whatever else failed before. A fault of pypimirror itself
ends with 3 as well, and prints a traceback on standard error.

If standard output cannot be written, as on a full disk, that output is lost, but the work
continues. The exit code of `sync`, `verify` and other commands that do work is that of their work.
A command that only reports, and any command with `--json`, ends with 3. A closed stream, or a
reader that stops reading (`runs | head`), is no failure. If the locale is not UTF-8, letters that
it lacks are written as `\\u0142`; names of files on disk are always UTF-8.

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

`state` is `completed` (exit code 0), `incomplete` (1), `failed` (3) or `cancelled` (130). If a
fault of the configuration ends a run, the run is `failed` with the reason `configuration`, and its
exit code is 2. `denied` lists the files that a policy of the upstream keeps back, in the form of
`failures`. `stage` is one of {stages}. [operations.md](operations.md#reasons) lists the values of
`reason`.

## What `sync --dry-run --json` prints

A plan. `sync --plan FILE` carries it out exactly, or not at all:

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

- `version` grows with each incompatible change of this document.
- `projects` are the projects that the plan is limited to. Empty: all selected projects.
- `fetch` lists the files to download, and `bytes` is their size in all.
- `link` lists files that stay at the upstream: pages lead there.
- `publish` lists the projects whose pages would be rendered.
- `withdraw` lists files that leave their pages, or whose links would lead to the upstream.
- `remove` lists files whose bytes would be removed, and `bytes_removed` is their size in all.
- `reason` of a file to fetch is `wanted`, `failed` or `quarantined` (its state after an earlier
  run). `reason` of a file to withdraw or remove is `upstream`, `claims`, `selection` or
  `quarantine`. `reason` of a linked file, and of one that leaves because it is linked now, is
  `metadata-only`.
- `size` and `sha256` are null if no source gives them.
- `failures` have the same form as above.
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
