"""A program `keyring` for tests, which speaks as keyring 25.7 does to those who ask as pip does.

It tells a login as JSON with 0, says nothing with 1 where it has none, and needs no Python. It
keeps what it was asked, and complains where it is given anything to read.
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
        """Set what it has, by service and user: `"service"` where it tells a user of its own."""
        cases = "".join(
            f"{shlex.quote(asked)}) echo {shlex.quote(_told(*login))};;\n"
            for asked, login in logins.items()
        )
        self.does(f'case "$*" in\n{cases}*) exit 1;;\nesac')

    def does(self, script: str) -> None:
        """Set what it does with a service, and a user where one is named, as `$1` and `$2`."""
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
        """What it was asked so far: services, with users where they were named."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def _told(user: str, password: str) -> str:
    return json.dumps({"username": user, "password": password})
