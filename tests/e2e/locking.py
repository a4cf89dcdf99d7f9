"""Projects of real tools: each locks the application, and installs what it has locked."""

from __future__ import annotations

from pathlib import Path

import uv

from tests import tools
from tests.corpus import application

DEPENDENCIES = ", ".join(f'"{name}"' for name in application.own())

PROJECT = f"""\
[project]
name = "application"
version = "1.0"
requires-python = ">=3.11"
dependencies = [{DEPENDENCIES}]
"""

#: What each tool wants to be told besides, and how it makes its lock.
SETTINGS = {
    "uv": '[[tool.uv.index]]\nurl = "{index}"\ndefault = true\n',
    "poetry": "[tool.poetry]\npackage-mode = false\n"
    '[[tool.poetry.source]]\nname = "local"\nurl = "{index}"\npriority = "primary"\n',
    "pdm": "[tool.pdm]\ndistribution = false\n"
    '[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\n',
}
PIPFILE = """\
[[source]]
url = "{index}"
verify_ssl = false
name = "local"
[packages]
"""


def lock(tool: str, base: Path, index: str) -> None:
    """Make the project of a tool, and have the tool lock it."""
    at, home = base / tool, base / "homes" / f"{tool}-lock"
    at.mkdir()
    if tool in SETTINGS:
        (at / "pyproject.toml").write_text(PROJECT + SETTINGS[tool].format(index=index))
    if tool == "uv":
        tools.run(Path(uv.find_uv_bin()), "lock", at=at, home=home)
        export = ("export", "--quiet", "--format", "pylock.toml", "--output-file", "pylock.toml")
        tools.run(Path(uv.find_uv_bin()), *export, at=at, home=home)
    elif tool == "pip-tools":
        (at / "requirements.in").write_text("\n".join(application.own()))
        options = ("--quiet", "--generate-hashes", "--index-url", index)
        tools.run(tool, *options, "requirements.in", at=at, home=home)
    elif tool == "pipenv":
        lines = "".join(f'{name} = "*"\n' for name in application.own())
        (at / "Pipfile").write_text(PIPFILE.format(index=index) + lines)
        tools.run(tool, "lock", at=at, home=home)
    else:
        tools.run(tool, "lock", at=at, home=home)


def install(tool: str, at: Path, home: Path) -> Path:
    """Have poetry or pdm install its lock; return the Python of the environment that it makes."""
    tools.run(tool, "install" if tool == "poetry" else "sync", at=at, home=home)
    return at / ".venv" / "bin" / "python"
