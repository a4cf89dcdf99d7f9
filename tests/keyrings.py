"""A program `keyring` for tests that answers pip's questions as keyring 25.7 does.

It prints a login as JSON and ends with 0; without a login it prints nothing and ends with 1. It
needs no Python. It records the questions, and complains about any input.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest


class KeyringProgram:
    """The program, in a directory of its own that is first on the PATH."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = directory / "bin" / "keyring"
        self.log = directory / "asked"
        self.file.parent.mkdir(parents=True)
        monkeypatch.setenv("PATH", f"{self.file.parent}{os.pathsep}{os.environ['PATH']}")
        self.has({})

    def has(self, logins: dict[str, tuple[str, str]]) -> None:
        """Set its logins, by service and user; for `"service"` alone, it names its own user."""
        cases = "".join(
            f"{shlex.quote(asked)}) echo {shlex.quote(_told(*login))};;\n"
            for asked, login in logins.items()
        )
        self.does(f'case "$*" in\n{cases}*) exit 1;;\nesac')

    def does(self, script: str) -> None:
        """Set the shell code that it runs; `$1` is the service, `$2` the user if one is named."""
        self.file.write_text(
            "#!/bin/sh\n"
            'if [ "$1 $2 $3" != "--mode=creds --output=json get" ]; then exit 2; fi\n'
            "shift 3\n"
            f'echo "$*" >> {shlex.quote(str(self.log))}\n'
            'if read -r line; then echo "there is input: $line" >&2; exit 3; fi\n'
            f"{script}\n"
        )
        self.file.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        """The questions so far: services, with users if they were named."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def _told(user: str, password: str) -> str:
    return json.dumps({"username": user, "password": password})
