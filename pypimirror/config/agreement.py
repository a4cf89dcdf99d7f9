"""The keys on which all workers of a run must agree, if each machine has its own configuration.

A key is left out if it only says how one machine works: where its files are, how it reaches an
upstream, how much it does at once. Keys for the process that leads the run are left out as well. A
new key counts until this module names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: Sections that only concern one machine, or the process that leads the run.
_SECTIONS = frozenset(
    {"quarantine", "history", "metrics", "workers", "schedule", "alerts", "serve", "up", "prefect"}
)

#: Keys that only concern one machine, by section.
_KEYS = {
    "mirror": frozenset({"directory", "catalog", "durability", "reserve"}),
    "s3": frozenset({"endpoint", "addressing", "connections"}),
    "upstream": frozenset(
        {"alternates", "username", "password", "token", "login", "proxy", "ca_file"}
    ),
    "download": frozenset(
        {"processes", "connections", "timeout", "tries", "contact", "proxy", "ca_file"}
    ),
    "publish": frozenset({"changes", "changes_format"}),
    "on_demand": frozenset({"fresh", "max_size", "keep"}),
}


def digests(values: Mapping[str, Any]) -> dict[str, str]:
    """Return a short digest of the keys that must agree, by section.

    `values` is a configuration as JSON values. The files that `[select]` names are not read:
    `Selection.digest` covers their contents.
    """
    return {
        section: _digest(_shared(found, _KEYS.get(section, frozenset())))
        for section, found in values.items()
        if section not in _SECTIONS
    }


def _shared(found: Any, local: frozenset[str]) -> Any:
    if isinstance(found, list):
        return [_shared(each, local) for each in found]
    return {key: value for key, value in found.items() if key not in local}


def _digest(value: Any) -> str:
    import hashlib  # imported here because it loads OpenSSL, which takes 2 ms

    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
