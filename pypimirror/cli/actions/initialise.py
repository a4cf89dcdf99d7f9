"""`pypimirror init`: write a first configuration."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pypimirror.cli.display.hints import command
from pypimirror.cli.display.output import out, print_json
from pypimirror.config.found_logins import keyring_of
from pypimirror.config.installers import InstallerError, MachineIndex, machine_index
from pypimirror.config.sections import UpstreamSection, pypi_address, upstream_name
from pypimirror.config.settings import ConfigError, parse
from pypimirror.config.values import ValidationError
from pypimirror.domain.addresses import NONE, parse_proxy, redacted, without_login
from pypimirror.select.selection import Selection
from pypimirror.system import logins, regular

_TEXT = """\
# The configuration of a pypimirror mirror; every key is explained in docs/configuration.md.

[mirror]
directory = {directory}

{upstream}
[select]
# Names, requirements and globs{empty}
projects = {projects}
{more}"""

_PYPI = """\
[[upstream]]
name = "pypi"
"""

_OTHER = """\
[[upstream]]
name = {name}
url = {url}
"""


_LONG = 80  #: characters


#: The lines of a mirror that fetches what clients ask for.
_ON_DEMAND = ["", "[on_demand]", "# Which projects clients may ask for", 'projects = ["*"]']


def perform(
    file: Path,
    projects: Sequence[str],
    *,
    upstream: str | None,
    everything: bool,
    on_demand: bool,
    files: Sequence[Path],
    locks: Sequence[Path],
    from_environment: bool,
    directory: Path,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do what `pypimirror init` is asked for: write `file`, and say so."""
    more: list[str] = []
    application_locks: Sequence[str] = ()
    notes: Sequence[str] = ()
    if files or locks or from_environment:
        from pypimirror.cli.actions.applications import starting

        application = starting.read(file, files, locks, from_environment=from_environment)
        projects = [*projects, *application.projects]
        application_locks, notes = application.locks, application.notes
        more += application.lines()
    named = [*projects, *application_locks]
    _check_extent(named, everything=everything, on_demand=on_demand)
    source = upstream or _of_this_machine()
    more += _ON_DEMAND if on_demand else []
    write_configuration(file, projects, source, directory, force=force, more=more)
    if as_json:
        print_json({"config": str(file.absolute()), **_document(source)})
    elif not quiet:
        if not isinstance(source, str):
            out.print(_told(source), markup=False)
        for note in notes:
            out.print(f"Not taken: {note}.", markup=False)
        if (file.parent / directory / ".pypimirror").exists():
            out.print(
                f"{directory} has a mirror already: a sync with {file} takes away what {file} does "
                "not select. For a mirror of its own, name another --directory.",
                markup=False,
            )
        next_command = "serve" if on_demand and not named else "sync"
        out.print(f"Wrote {file}. Next: {command(next_command)}", markup=False)


def _check_extent(projects: Sequence[str], *, everything: bool, on_demand: bool = False) -> None:
    """Raise `ConfigError` unless names, `--all` or `--on-demand` say how much to mirror."""
    if projects and everything:
        raise ConfigError("init: --all mirrors everything; leave it out, or leave out the names")
    if everything and on_demand:
        raise ConfigError("init: --all mirrors everything, so nothing is left to fetch on demand")
    if not projects and not everything and not on_demand:
        raise ConfigError(
            "init: say what to mirror, as in 'pypimirror init six requests' or 'pypimirror init -r "
            "requirements.txt'; or fetch what clients ask for, with --on-demand. To mirror "
            "everything that the index has, say --all: PyPI, or an index that stands in for it, "
            "has more than 700,000 projects and some 30 TB"
        )


def _of_this_machine() -> MachineIndex:
    """Return the index that this machine installs from.

    Raises `ConfigError` if pip's or uv's settings are unusable, or the index cannot be mirrored.
    """
    try:
        found = machine_index()
        _of_machine(found)
    except InstallerError as error:
        raise ConfigError(f"{error}. Fix that, or name the index with --upstream") from error
    except ValueError as error:  # the address is not usable
        said = _cause(error)
        raise ConfigError(
            f"the index that this machine installs from cannot be mirrored: {said}. Name one with "
            "--upstream"
        ) from error
    return found


def _document(upstream: str | MachineIndex) -> dict[str, Any]:
    """Return what `--json` says about the chosen upstream."""
    if isinstance(upstream, str):
        return {"upstream": without_login(upstream)}
    return {
        "upstream": upstream.url or pypi_address(),
        "taken_from": upstream.source,
        "not_taken": list(upstream.left),
    }


def write_configuration(
    file: Path,
    projects: Sequence[str],
    upstream: str | MachineIndex | None,
    directory: Path,
    *,
    force: bool,
    more: Iterable[str] = (),
) -> None:
    """Write a configuration for these choices; raises `ConfigError` if it would be invalid."""
    further = list(more)
    text = _TEXT.format(
        directory=_string(str(directory)),
        upstream=_upstream(upstream),
        empty=_meaning_of_empty(further),
        projects=_listed(projects),
        more="".join(f"{line}\n" for line in further),
    )
    write(file, text, force=force)


def _meaning_of_empty(further: Sequence[str]) -> str:
    """Return the end of the comment above `projects`."""
    if not further:
        return "; empty mirrors everything that the upstream has."
    return "; empty: only what clients ask for." if "[on_demand]" in further else ""


def _listed(texts: Sequence[str]) -> str:
    """Return a list in TOML: a long one with one text to a line."""
    line = json.dumps(list(texts), ensure_ascii=False)
    if len(line) < _LONG:
        return line
    return "".join(["[\n", *(f"    {_string(text)},\n" for text in texts), "]"])


def write(file: Path, text: str, *, force: bool) -> None:
    """Write `text` to `file`; raises `ConfigError` if it is no valid configuration.

    `force` replaces an existing file and keeps its content as `*.bak`.
    """
    if file.is_dir():
        raise ConfigError(f"{file}: is a directory and no file; name the configuration itself")
    if file.exists() and not force:
        raise ConfigError(f"{file}: exists already; edit it, or replace it with --force")
    try:
        values, content = tomllib.loads(text), text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{file}: cannot hold this path: TOML is UTF-8, the path is not"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: cannot hold this: {error}") from error
    Selection(parse(values, file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and regular.read_written(file) != content:
            shutil.copy2(file, file.with_name(file.name + ".bak"))
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


def _upstream(upstream: str | MachineIndex | None) -> str:
    if isinstance(upstream, MachineIndex):
        return _of_machine(upstream)
    if upstream is None:
        return _PYPI
    try:
        found = UpstreamSection.model_validate({"name": "x", "url": upstream})
    except ValueError as error:
        raise ConfigError(f"--upstream {redacted(upstream)}: {_cause(error)}") from error
    name = upstream_name(found.url)
    if found.authorization:
        variable = f"PYPIMIRROR_UPSTREAM_{re.sub('[^A-Z0-9]+', '_', name.upper()).strip('_')}"
        raise ConfigError(
            f"--upstream: logins are not written into the file; give {found.url}, and the login in "
            f"{variable}_USERNAME and {variable}_PASSWORD, or in a netrc file"
        )
    return _OTHER.format(name=_string(name), url=_string(upstream))


def _of_machine(index: MachineIndex) -> str:
    """Return the section for the index of this machine. No login is written."""
    url = index.url and UpstreamSection.model_validate({"url": index.url}).url
    if not url or url == pypi_address():
        lines = ["[[upstream]]", 'name = "pypi"']
    else:
        lines = [
            f"# The index that {index.by} uses on this machine, from {_string(index.source)[1:-1]}."
            f" Like {index.by}, this follows links to other hosts.",
            "[[upstream]]",
            f"name = {_string(upstream_name(url))}",
            f"url = {_string(url)}",
            'hosts = ["*"]',
        ]
    if index.ca_file:
        lines.append(f"ca_file = {_string(str(Path(index.ca_file).expanduser().absolute()))}")
    if index.proxy:
        shown = NONE if index.proxy == NONE else parse_proxy(index.proxy).shown
        lines.append(f"proxy = {_string(shown)}")
    if _has_login(index) or _may_ask_keyring(index):
        lines.append(f"login = {_string(index.by)}")
    return "\n".join([*lines, ""])


def _has_login(index: MachineIndex) -> bool:
    """Whether an index or its proxy has a login."""
    return bool(index.login or (index.proxy and parse_proxy(index.proxy).login))


def _may_ask_keyring(index: MachineIndex) -> bool:
    """Whether a keyring, configured or only installed, may hold the login of an index.

    PyPI needs no login.
    """
    user, password = index.login or ("", None)
    if index.url.rstrip("/") in ("", pypi_address().rstrip("/")) or password is not None:
        return False
    asked = keyring_of(index, user)
    return asked is not None and bool(asked.demanded_by or logins.keyring_program())


def _told(index: MachineIndex) -> str:
    """Return the line that says which index of this machine is mirrored, and why."""
    if not index.url:
        line = "Mirrors PyPI: neither pip nor uv uses another index on this machine."
    else:
        line = f"Mirrors {index.url}, which {index.by} uses on this machine ({index.source})."
    proxy = "no-proxy-env" if index.proxy == NONE else "proxy"
    way = [
        f"its `{key}`" for key, value in (("cert", index.ca_file), (proxy, index.proxy)) if value
    ]
    if way:
        line += f" Also taken from pip: {' and '.join(way)}."
    if _has_login(index):
        line += " The login is not written: each run looks it up there."
    if _may_ask_keyring(index):
        line += f" If the index refuses, each run asks the keyring, as {index.by} does."
    if index.left:
        line += f" Not taken: {', '.join(index.left)}."
    return line


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _cause(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return error.faults[0].message
    return str(error)
