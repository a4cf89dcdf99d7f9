"""Which authorities are trusted to certify hosts. No gevent, no requests: both sides ask."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any


def authorities() -> str | None:
    """Return the file or directory of trusted authorities, None for OpenSSL's own choice.

    REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE where set; else the system's, which SSL_CERT_FILE and
    SSL_CERT_DIR override; else certifi's.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        return bundle
    paths = ssl.get_default_verify_paths()
    if paths.cafile or _has_entries(paths.capath):
        return None
    import certifi

    return certifi.where()


def trusted(trust: str | None) -> dict[str, Any]:
    """Return what `authorities` says as `ssl.create_default_context` takes it."""
    if trust is None:
        return {}
    return {"capath" if Path(trust).is_dir() else "cafile": trust}


def _has_entries(directory: str | None) -> bool:
    return directory is not None and Path(directory).is_dir() and any(Path(directory).iterdir())
