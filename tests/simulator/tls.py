"""Certificates for a simulated upstream over TLS: its own CA, made once in each process."""

from __future__ import annotations

import atexit
import functools
import ssl
import subprocess
import tempfile
from pathlib import Path

COMMAND = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    " -subj /CN=simulated-upstream -keyout key.pem -out ca.pem"
)
NAMES = "subjectAltName=IP:127.0.0.1,IP:127.0.0.2,DNS:localhost"


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """Return the directory of the certificate, which exists until the process ends."""
    directory = tempfile.TemporaryDirectory(prefix="simulator-tls-")
    subprocess.run(
        f"{COMMAND} -addext {NAMES}".split(),
        cwd=directory.name,
        check=True,
        capture_output=True,
    )
    atexit.register(directory.cleanup)
    return directory


def make_context() -> tuple[ssl.SSLContext, Path]:
    """Return a server's context, and the file with the CA that clients must trust."""
    directory = Path(_directory().name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ca.pem", directory / "key.pem")
    return context, directory / "ca.pem"
