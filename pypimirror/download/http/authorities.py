"""Choose the trusted CA certificates. Parent and child both use this: no gevent, no requests."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def authorities(ca_file: str = "") -> str | None:
    """Return the file or directory of trusted CA certificates, None for OpenSSL's own choice.

    The first of: `ca_file` of the configuration; REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE; those of the
    system, unless SSL_CERT_FILE and SSL_CERT_DIR name others; those of certifi.
    """
    for trust in (ca_file, *map(os.environ.get, _BUNDLES)):
        if trust:
            return trust
    if os.environ.get("SSL_CERT_FILE"):
        return None
    paths = ssl.get_default_verify_paths()
    if paths.cafile or _has_entries(paths.capath):
        return None
    import certifi

    return certifi.where()


def named_by(ca_file: str = "") -> str:
    """Return which setting names the CA certificates, for messages."""
    if ca_file:
        return "`ca_file`"
    return next((name for name in _BUNDLES if os.environ.get(name)), "SSL_CERT_FILE")


def trusted(trust: str | None) -> dict[str, Any]:
    """Return the result of `authorities` as arguments for `ssl.create_default_context`."""
    if trust is None:
        return {}
    return {"capath" if Path(trust).is_dir() else "cafile": trust}


def _has_entries(directory: str | None) -> bool:
    return directory is not None and Path(directory).is_dir() and any(Path(directory).iterdir())
