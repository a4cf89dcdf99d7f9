"""Finds the configured Prefect API without importing Prefect, which is slow."""

from __future__ import annotations

import os

from pypimirror.system import regular


def prefect_api() -> str | None:
    """Return the API's URL from the environment or the active Prefect profile; None: not set."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = os.environ.get("PREFECT_HOME") or os.path.join("~", ".prefect")  # noqa: PTH118
    file = os.environ.get("PREFECT_PROFILES_PATH") or os.path.join(home, "profiles.toml")  # noqa: PTH118
    try:
        content = regular.read_written(os.path.expanduser(file))  # noqa: PTH111
    except OSError:
        return None
    import tomllib

    try:
        profiles = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    name = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(name, {}).get("PREFECT_API_URL") or None
