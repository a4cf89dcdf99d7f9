"""`pypimirror init`: a configuration to begin with."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pypimirror import regular
from pypimirror.config import ConfigError, parse
from pypimirror.sections import upstream_name
from pypimirror.select.selection import Selection

_TEXT = """\
# The configuration of a pypimirror mirror; every key is explained in docs/configuration.md.

[mirror]
directory = {directory}

{upstream}
[select]
# Names, requirements and globs; empty mirrors everything that the upstream has.
projects = {projects}
"""

_PYPI = """\
[[upstream]]
name = "pypi"
"""

_OTHER = """\
[[upstream]]
name = {name}
url = {url}
"""


def write_configuration(
    file: Path, projects: Sequence[str], upstream: str | None, directory: Path, *, force: bool
) -> None:
    """Write a configuration that is valid; raises `ConfigError` where it would not be."""
    text = _TEXT.format(
        directory=_string(str(directory)),
        upstream=_upstream(upstream),
        projects=json.dumps(list(projects), ensure_ascii=False),
    )
    write(file, text, force=force)


def write(file: Path, text: str, *, force: bool) -> None:
    """Write `text` where it is a valid configuration; raises `ConfigError` where it is not."""
    if file.exists() and not force:
        raise ConfigError(f"{file}: is there already; edit it, or replace it with --force")
    try:
        values, content = tomllib.loads(text), text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{file}: cannot hold this: TOML is UTF-8, a path is not") from error
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


def _upstream(url: str | None) -> str:
    if url is None:
        return _PYPI
    return _OTHER.format(name=_string(upstream_name(url)), url=_string(url))


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
