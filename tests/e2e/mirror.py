"""A mirror as its operator has it: a configuration file and the command line, in processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.environment import isolated

PATIENCE = 300.0  #: seconds until a command has to be done


@dataclass
class Mirror:
    """A mirror in a directory of its own."""

    home: Path
    upstream: str
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        defaults: dict[str, dict[str, Any]] = {"download": {"processes": 1, "connections": 16}}
        self.sections = defaults | self.sections
        if not self.config.exists():  # or another test process has made it
            self.configure()

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.home / "pypimirror.toml"

    @property
    def root(self) -> Path:
        """The mirror root."""
        return self.home / "mirror"

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Change sections of the configuration and write it."""
        for name, values in sections.items():
            self.sections[name] = {**self.sections.get(name, {}), **values}
        lines = ["[[upstream]]", 'name = "upstream"', f"url = {json.dumps(self.upstream)}"]
        for name, values in self.sections.items():
            lines.append(f"[{name}]")
            # What JSON writes of strings, numbers, booleans and lists is TOML, too.
            lines.extend(f"{key} = {json.dumps(value)}" for key, value in values.items())
        self.config.write_text("\n".join(lines) + "\n")

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the program to its end."""
        return subprocess.run(
            [*program(command), "--config", str(self.config), *arguments],
            env=isolated(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def sync(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Sync; the summary. The exit code has to be this one."""
        done = self.run("sync", "--json", *arguments)
        assert done.returncode == code, f"sync ended with {done.returncode}\n{done.stderr}"
        summary: dict[str, Any] = json.loads(done.stdout)
        if code == 0:
            assert summary["state"] == "completed" and summary["failures"] == []
        return summary


def program(command: str) -> list[str]:
    """How to call a command of the program, from any directory."""
    return [sys.executable, "-m", "pypimirror", command]


def simple_page(mirror: Mirror, project: str) -> dict[str, Any]:
    """A project's page in JSON, as it is on disk."""
    page: dict[str, Any] = json.loads((mirror.root / f"simple/{project}/index.v1_json").read_text())
    return page
