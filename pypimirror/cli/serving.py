"""`pypimirror serve`: replace this process by the web server."""

from __future__ import annotations

import os
import sys

from pypimirror.config import Config, ConfigError


def serve_mirror(config: Config, host: str, port: int, *, as_json: bool, verbose: bool) -> None:
    """Become the web server; it runs on gevent, which must come before everything else."""
    if not (config.directory / "simple").is_dir():
        raise ConfigError(f"{config.directory}: holds no mirror yet; make one with pypimirror sync")
    arguments = ["--directory", str(config.directory), "--host", host, "--port", str(port)]
    if verbose:
        arguments.append("-v")
    if as_json:
        arguments.append("--json")
    sys.stdout.flush()
    os.execv(  # noqa: S606 - this very Python
        sys.executable, [sys.executable, "-P", "-m", "pypimirror.serve.server", *arguments]
    )
